"""Base class of the known optima of synthetic families.

`strategies.ladder` compares each with its bounds and baselines; derivations are in ``docs/ceilings.md``.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from markets import Bars, Plan
from markets.synthetic import Episodes, Family
from strategies.strategy import Strategy


class Optimum(Strategy):
    """The optimal strategy of one family. It restarts at each episode, counted from the first bar of the history."""

    family: Family

    @property
    def value(self) -> float:
        """Long-run mean reward per bar, where it is known without sampling; NaN elsewhere."""
        return float("nan")

    @abstractmethod
    def weights(self, returns: np.ndarray, signal: np.ndarray) -> np.ndarray:
        """Optimal weights.

        Parameters
        ----------
        returns : ndarray of shape (n, T)
            Returns of n episodes, in the family's units.
        signal : ndarray of shape (n, T)
            Observed predictor; zeros in families without one.

        Returns
        -------
        ndarray of shape (n, T)
            Column t is chosen after ``returns[:, t]`` and ``signal[:, t]`` are seen.
        """

    def follow(self, episodes: Episodes) -> np.ndarray:
        """Optimal weights (n, T) in `episodes`."""
        returns = np.ascontiguousarray(episodes.returns[..., 0])
        signal = np.ascontiguousarray(episodes.signal[..., 0]) if episodes.signal.size else np.zeros_like(returns)
        return self.weights(returns, signal)

    def plan(self, bars: Bars) -> Plan:
        return Plan(self._along(bars, self.weights(*self._episodes(bars))))

    def _episodes(self, bars: Bars) -> tuple[np.ndarray, np.ndarray]:
        """Returns and signal of the episodes that the bars and their history are, each of shape (n, T)."""
        rows, columns = bars.with_past().shape
        close, length = bars.with_past().close, self.family.length + 1
        episodes = -(-(rows - 1) // length)
        # The last episode may be incomplete. It is padded with zeros, which cannot affect earlier rows.
        returns, signal = np.zeros(episodes * length), np.zeros(episodes * length)
        returns[: rows - 1] = (close[1:, 0] / close[:-1, 0] - 1) / self.family.scale
        if columns > 1:
            signal[: rows - 1] = np.log(close[1:, 1])
        return returns.reshape(episodes, length), signal.reshape(episodes, length)

    def _along(self, bars: Bars, values: np.ndarray) -> np.ndarray:
        """Values (n, T) of episodes at the visible bars, in the column of what is traded."""
        rows, columns = bars.with_past().shape
        found = np.zeros((rows, columns))
        found[1:, 0] = values.reshape(-1)[: rows - 1]
        return found[bars.past :]
