"""What every known optimum is: the best trader of one family, as a strategy.

`strategies.ladder` shows what is above and below each; derivations are in ``docs/ceilings.md``.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from markets import Bars, Plan
from markets.synthetic import Episodes, Family
from strategies.strategy import Strategy


class Optimum(Strategy):
    """The best trader of one family: restarts with each episode, counted from the first bar held."""

    family: Family

    @abstractmethod
    def weights(self, returns: np.ndarray, signal: np.ndarray) -> np.ndarray:
        """Weights (n, T), column t chosen after ``returns[:, t]``, from returns (n, T) and told signals (n, T)."""

    def follow(self, episodes: Episodes) -> np.ndarray:
        """Weights (n, T) in these episodes."""
        returns = np.ascontiguousarray(episodes.returns[..., 0])
        signal = np.ascontiguousarray(episodes.signal[..., 0]) if episodes.signal.size else np.zeros_like(returns)
        return self.weights(returns, signal)

    def plan(self, bars: Bars) -> Plan:
        rows, columns = bars.with_past().shape
        close, length = bars.with_past().close, self.family.length + 1
        episodes = -(-(rows - 1) // length)
        # The last episode may be cut short; zeros that come after a row do not reach it.
        returns, signal = np.zeros(episodes * length), np.zeros(episodes * length)
        returns[: rows - 1] = (close[1:, 0] / close[:-1, 0] - 1) / self.family.scale
        if columns > 1:
            signal[: rows - 1] = np.log(close[1:, 1])
        chosen = self.weights(returns.reshape(episodes, length), signal.reshape(episodes, length))
        aim = np.zeros((rows, columns))
        aim[1:, 0] = chosen.reshape(-1)[: rows - 1]
        return self._plan(aim[bars.past :])

    def _plan(self, aim: np.ndarray) -> Plan:
        return Plan(aim)
