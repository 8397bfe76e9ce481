"""`Bets`: evidence against "no bar's payoff is expected to be positive", gathered by betting on payoffs that are bounded.

Let y_t be payoffs in [−c, c]. The null hypothesis is ``E[y_t | bars before t] ≤ 0`` at every bar t, whatever else the payoffs
do: their volatility may cluster, and they may depend on the past in any way. Whoever stakes the multiple λ of his wealth on each
bar, 0 ≤ λ < 1 / c, has the wealth ``Π (1 + λ y_t)``, which under the null is a supermartingale (Waudby-Smith and Ramdas,
"Estimating means of bounded random variables by betting", Journal of the Royal Statistical Society B, 2024). The right λ is not
known, and neither is the bar from which on the null is wrong. So a wealth of 1 is divided beforehand: over four λ, and over the
bar j at which betting begins, with the shares ``w_j = b / ((j + b − 1)(j + b))``, b = 252, which have a heavy tail and sum to 1::

    E_t = Σ_{j ≤ t} w_j · mean over λ of Π_{i=j..t} (1 + λ y_i)   +   Σ_{j > t} w_j

A mixture of supermartingales is one. By Ville's inequality, E_t ≥ 1/α happens with probability at most α, over all t together:
one may look after every bar and stop when one likes. All bets of one λ gain alike, so that four numbers are the state. The
division over j is for a null that becomes wrong late: bets from the first bar on have lost their wealth by then, and have to
earn it again. A CUSUM forgets likewise, but it bounds the frequency of false alarms, and not the probability of ever giving one.

With b = 0 all bets begin at the first bar, and the null is a weaker one, about averages: ``Σ_{i ≤ t} μ_i ≤ 0`` at every t, where
``μ_i = E[y_i | bars before i]``. For ``Π (1 + λ y_i) / (1 + λ μ_i)`` is a martingale whatever the payoffs are, and
``Π (1 + λ μ_i) ≤ exp(λ Σ μ_i) ≤ 1``, so that the wealth is never above it. λ must be fixed for this: one that follows the data
tests every bar.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from backtests.monitoring.scale import Numbers
from markets import InputError

STAKES = np.array([0.08, 0.2, 0.4, 0.8])  # λ c: the fraction of the wealth that the worst bar costs
PRIOR = 252.0  # b
MOST = 1e100  # wealth is no larger, so that it never overflows; less wealth is always valid


@dataclass
class Bets:
    """Wealth of bets that payoffs are positive.

    Attributes
    ----------
    bound : float
        c: the largest absolute payoff.
    wealth : ndarray of shape (..., 4)
        Of what has been staked at each λ; of many series at once, with leading dimensions.
    bars : int
        Number of bars that were bet on.
    prior : float
        b: half of the bets begin within so many bars; 0 if all begin at the first.
    """

    bound: float
    wealth: np.ndarray = field(default_factory=lambda: np.zeros(len(STAKES)))
    bars: int = 0
    prior: float = PRIOR

    def __post_init__(self) -> None:
        if self.wealth.shape[-1] != len(STAKES) or not (self.wealth >= 0).all() or min(self.bars, self.prior) < 0:
            raise InputError(f"bets: wealth of {len(STAKES)} numbers, bars and prior are needed, all 0 or more")

    @property
    def value(self) -> Numbers:
        """E_t, shape (...): 1 before the first bar."""
        return self.wealth.mean(axis=-1) + self._waiting()

    def settle(self, payoff: Numbers) -> None:
        """Bet on one bar, whose payoff (...) turned out to be this."""
        before = self._waiting()
        self.bars += 1
        begins = before - self._waiting()
        grown = (self.wealth + begins) * (1 + STAKES / self.bound * np.asarray(payoff)[..., None])
        self.wealth = np.minimum(grown, MOST)

    def _waiting(self) -> float:
        """Wealth whose bets have not begun."""
        return self.prior / (self.prior + self.bars) if self.bars else 1.0
