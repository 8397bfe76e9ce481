"""What a bar is worth to a learner: log return, mean–variance, differential Sharpe, or a function of the user's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from markets.accounting.market import Market
from markets.common.errors import InputError

RewardFunction = Callable[[np.ndarray, np.ndarray], np.ndarray]

# The log return of ruin is minus infinity; a learner is told this instead, about losing all but a 20,000th.
RUIN_REWARD = -10.0


class State(Protocol):
    """What a reward may look at besides equity, after the bar.

    Attributes
    ----------
    market : Market
    row : ndarray of int, shape (n,)
        Of the panel.
    shares : ndarray of shape (n, A)
    moments : ndarray of shape (n, 2)
        A reward's own memory of each account; zero when an episode begins.
    """

    moments: np.ndarray
    shares: np.ndarray

    @property
    def market(self) -> Market: ...

    @property
    def row(self) -> np.ndarray: ...


class Reward:
    """What a bar is worth to a learner. It holds settings alone, so that environments may share one.

    Parameters
    ----------
    kind : str or callable
        ``log_return``: log of equity over equity before; ruin is −10. ``mean_variance``: r − ½ γ r², r the simple return
        and γ `risk_aversion`. ``differential_sharpe``: what the bar adds to an exponentially weighted Sharpe ratio (Moody
        and Saffell 2001), with decay `decay`. Or a function of (equity before, equity after), arrays of shape (n,),
        that returns an array of shape (n,).
    risk_aversion : float
    decay : float

    Raises
    ------
    InputError
        When the kind is unknown.
    """

    def __init__(self, kind: str | RewardFunction, risk_aversion: float = 1.0, decay: float = 1 / 252):
        if not callable(kind) and kind not in ("log_return", "mean_variance", "differential_sharpe"):
            raise InputError(
                f"reward {kind!r} is unknown; use log_return, mean_variance, differential_sharpe or a function"
            )
        self.kind, self.risk_aversion, self.decay = kind, risk_aversion, decay

    @classmethod
    def of(cls, reward: str | RewardFunction | Reward) -> Reward:
        """`reward` itself, or the one of that kind."""
        return reward if isinstance(reward, Reward) else cls(reward)

    def __call__(self, before: np.ndarray, after: np.ndarray, state: State) -> np.ndarray:
        """Reward (n,) of a bar from equity before and after it, and from what the accounts did and hold."""
        if callable(self.kind):
            return np.array(self.kind(before.copy(), after.copy()), dtype=np.float64)  # theirs to keep and to change
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.kind == "log_return":
                # the log of a ratio below zero is NaN, which fmax passes over
                return np.fmax(np.log(after / before), RUIN_REWARD)
            returns = after / before - 1
            if self.kind == "mean_variance":
                return returns - 0.5 * self.risk_aversion * returns**2
            mean, square = state.moments.T
            variance = square - mean**2
            gain = (square * (returns - mean) - 0.5 * mean * (returns**2 - square)) / variance**1.5
            state.moments += self.decay * (np.column_stack([returns, returns**2]) - state.moments)
            return np.where(variance > 1e-12, gain, 0.0)

    def one(self, before: float, after: float, state: State) -> float:
        """The same for one account, to the bit, from plain numbers where that is faster."""
        if self.kind == "log_return" and type(self) is Reward:
            return max(float(np.log(after / before)), RUIN_REWARD) if after > 0 else RUIN_REWARD
        return float(self(np.array([before]), np.array([after]), state)[0])
