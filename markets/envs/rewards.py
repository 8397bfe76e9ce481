"""`Reward`: the reward of a bar (log return, mean–variance, differential Sharpe ratio, or a user-defined function)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from markets.accounting.market import Market
from markets.common.errors import InputError

RewardFunction = Callable[[np.ndarray, np.ndarray], np.ndarray]

# Finite reward of ruin, whose log return is minus infinity; exp(−10) is about 1/22,000 of the equity.
RUIN_REWARD = -10.0


class State(Protocol):
    """State of the accounts after the bar, which a reward may use besides equity.

    Attributes
    ----------
    market : Market
    row : ndarray of int, shape (n,)
        Current row of the panel.
    shares : ndarray of shape (n, A)
    moments : ndarray of shape (n, 2)
        State of the reward for each account; zero when an episode begins.
    """

    moments: np.ndarray
    shares: np.ndarray

    @property
    def market(self) -> Market: ...

    @property
    def row(self) -> np.ndarray: ...


class Reward:
    """Reward of a bar. It holds settings only, so environments may share one instance.

    Parameters
    ----------
    kind : str or callable
        ``log_return``: log of equity over equity before; −10 at ruin. ``mean_variance``: r − ½ γ r² with the simple return r
        and γ = `risk_aversion`. ``differential_sharpe``: the change of an exponentially weighted Sharpe ratio caused by the
        bar (Moody and Saffell 2001). Or a function of (equity before, equity after), arrays of shape (n,), that returns an
        array of shape (n,).
    risk_aversion : float
        For ``mean_variance``.
    decay : float
        Weight of the newest bar in the averages of ``differential_sharpe``.

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
        """Return `reward` itself, or make a `Reward` of that kind."""
        return reward if isinstance(reward, Reward) else cls(reward)

    def __call__(self, before: np.ndarray, after: np.ndarray, state: State) -> np.ndarray:
        """Reward (n,) of a bar, from the equity before and after it and the state of the accounts."""
        if callable(self.kind):
            # copies, since the function may keep or change its arguments
            reward = np.array(self.kind(before.copy(), after.copy()), dtype=np.float64)
            if reward.shape != before.shape:
                raise InputError(
                    f"the reward function gave shape {reward.shape}; it must be {before.shape}, one per account"
                )
            return reward
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.kind == "log_return":
                # the log of a negative ratio is NaN, which fmax ignores
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
        """The same for one account, bit-identical but from plain numbers, which is faster."""
        if self.kind == "log_return" and type(self) is Reward:
            return max(float(np.log(after / before)), RUIN_REWARD) if after > 0 else RUIN_REWARD
        return float(self(np.array([before]), np.array([after]), state)[0])
