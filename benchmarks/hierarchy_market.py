"""The market of `benchmarks.hierarchy`: a calm regime that trends and a wild one that reverts, with the exact optimum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numba import njit

from markets import Bars, Execution, RegimeDetector, RegimePath
from markets.synthetic import Episodes, Family
from markets.synthetic.family import SCALE, Seed


@dataclass(frozen=True)
class TrendAndReversal(Family):
    """Two hidden regimes, a calm one that trends and a wild one that reverts: ``r_{t+1} = φ_s r_t + σ_s ε``.

    The reward is ``w r − ½ w² r²``, without limits or costs. So the optimum is known exactly: with p̂ the filter's forecast of the
    next bar's regime, ``w = Σ p̂ m / Σ p̂ (σ² + m²)``, where ``m = φ r_t``.
    """

    momentum: tuple[float, float] = (0.2, -0.2)
    volatility: tuple[float, float] = (1.0, 2.0)
    duration: tuple[float, float] = (250.0, 125.0)
    length: int = 1000
    scale: float = SCALE
    name: ClassVar[str] = "trend and reversal"

    @property
    def transition(self) -> np.ndarray:
        leave = 1 / np.asarray(self.duration)
        return np.array([[1 - leave[0], leave[0]], [leave[1], 1 - leave[1]]])

    def sample(self, episodes: int, seed: Seed) -> Episodes:
        rng = np.random.default_rng(seed)
        toss, shock = rng.random((episodes, self.length + 1)), rng.standard_normal((episodes, self.length + 1))
        share = self.duration[1] / sum(self.duration)
        returns, state = _path(
            toss, shock, share, np.array(self.momentum), np.array(self.volatility), 1 / np.array(self.duration)
        )
        return Episodes(self, returns[..., None], {"state": state})

    def filter(self, returns: np.ndarray) -> np.ndarray:
        """P(regime | returns so far), shape (T, 2)."""
        return _filter(returns, self.transition, np.array(self.momentum), np.array(self.volatility))

    def optimum(self, returns: np.ndarray) -> np.ndarray:
        """Weights (T,) of the ceiling."""
        forecast = self.filter(returns) @ self.transition
        mean = np.array(self.momentum) * returns[:, None]
        return (forecast * mean).sum(1) / (forecast * (np.square(self.volatility) + mean**2)).sum(1)

    @property
    def execution(self) -> Execution:
        return Execution(borrowing=True, gross=np.inf)


@njit(cache=True)
def _path(toss, shock, share, momentum, volatility, leave):
    returns, state = np.empty(toss.shape), np.empty(toss.shape, dtype=np.int64)
    for k in range(toss.shape[0]):
        s, before = int(toss[k, 0] < share), 0.0
        for t in range(toss.shape[1]):
            if t and toss[k, t] < leave[s]:
                s = 1 - s
            before = momentum[s] * before + volatility[s] * shock[k, t]
            returns[k, t], state[k, t] = before, s
    return returns, state


@njit(cache=True)
def _filter(returns, transition, momentum, volatility):
    out = np.empty((returns.size, 2))
    p = np.array([0.5, 0.5])
    before = 0.0
    for t in range(returns.size):
        q = np.empty(2)
        for s in range(2):
            z = (returns[t] - momentum[s] * before) / volatility[s]
            q[s] = (p[0] * transition[0, s] + p[1] * transition[1, s]) * np.exp(-0.5 * z * z) / volatility[s] + 1e-300
        p = q / q.sum()
        out[t] = p
        before = returns[t]
    return out


class ExactFilter(RegimeDetector):
    """The filter of one who knows the parameters of `TrendAndReversal`."""

    def __init__(self, family: TrendAndReversal | None = None):
        self.family, self.n_regimes = family or TrendAndReversal(), 2

    def _shapes(self):
        return {}

    def fit(self, bars: Bars):
        return self

    def filter(self, bars: Bars) -> RegimePath:
        close = bars.with_past().close[:, 0]
        returns = np.append(0.0, np.diff(close) / close[:-1]) / self.family.scale
        return RegimePath(bars.index, self.family.filter(returns)[bars.past :], self.names)
