"""What a portfolio policy reads of some bars, for paths along them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from markets import Bars
from strategies.portfolio.estimates import Estimates, estimate
from strategies.portfolio.settings import PortfolioSettings


class PortfolioInputs:
    """The estimates of some bars, and which of them hold at each bar of a path.

    Parameters
    ----------
    settings : PortfolioSettings
    bars : Bars

    Attributes
    ----------
    known : ndarray of bool, shape (T, A)
        Whether a symbol takes part at the rows of ``bars.with_past()``.
    symbols : int
    missing : str
        Why nothing is known in the ``{part}`` of a task, and what to do.
    """

    def __init__(self, settings: PortfolioSettings, bars: Bars):
        held = bars.with_past()
        self._adapts, self._listed = settings.adapts, torch.tensor(held.listed)
        self._follows = settings.adapts or settings.follows
        self.estimates: Estimates = estimate(held, settings.pool)
        last = self.estimates.before(np.arange(len(held)))
        known = np.vstack([self.estimates.known, np.zeros((1, len(held.symbols)), dtype=bool)])  # none before the first
        self.known, self.symbols = known[last], len(held.symbols)
        self.missing = (
            f"no symbol takes part in its {{part}}, since that needs {settings.fewest} closes and a volatility; cut the tasks "
            f"with TaskSet.from_windows(..., warmup={settings.fewest}), or more"
        )

    @property
    def options(self) -> dict[str, Estimates]:
        """Arguments of the policy that are the same for all paths."""
        return {"estimates": self.estimates}

    def along(self, rows: Tensor, cut: np.ndarray, universe: np.ndarray | None) -> tuple[Tensor, ...]:
        """Arguments of the policy for B paths; see `PortfolioPolicy.forward`.

        Parameters
        ----------
        rows : Tensor of int, shape (B, T)
            Consecutive rows of each path.
        cut : ndarray of int, shape (B,)
            First row that counts. Estimates that do not follow the market are those of the last decision before it.
        universe : ndarray of int, shape (B, few), or None
        """
        last, frozen = self.estimates.before(rows.numpy()), self.estimates.before(cut - 1)[:, None]
        if not self._follows:  # nothing changes along a path
            last = np.broadcast_to(frozen, last.shape)
        first = np.maximum(last[:, :1], 0)
        at = np.minimum(first + np.arange(max((last - first).max(), 0) + 1), max(len(self.estimates) - 1, 0))
        risk = at if self._adapts else np.broadcast_to(np.maximum(frozen, 0), at.shape).copy()
        decided = last >= 0 if self._adapts else (last >= 0) & (frozen >= 0)
        which = np.where(decided, last - first, -1)
        found = torch.from_numpy(at), torch.from_numpy(risk), torch.from_numpy(which)
        if universe is None:
            return *found, self._listed[rows]
        few = torch.from_numpy(universe)
        return *found, self._listed[rows[:, :, None], few[:, None]], few
