"""`Pairs`: pairs of symbols whose log prices are cointegrated, traded back towards each other.

For symbols i and j, ordinary least squares on the log prices p of the window gives ``p_i = a + β p_j + e``. If the two are
cointegrated, e is stationary, which the Dickey–Fuller regression ``Δe_t = ρ e_{t−1} + u_t`` tests: its t-statistic, under no
cointegration, is below −3.34 in 5 of 100 samples (Engle and Granger, "Co-integration and error correction", Econometrica
1987; MacKinnon, "Critical values for cointegration tests", Queen's University 2010). All pairs are tested at once: every sum
in both regressions is a quadratic form in β of three cross-product matrices of the symbols. Of 20 symbols there are 190
pairs, so some pass by luck: the limit chooses, it does not prove.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from markets import InputError
from strategies.rules.refitted import Refitted
from strategies.rules.schedule import Period


class Cointegration(NamedTuple):
    """Regressions of all pairs; entry (i, j) is that of symbol i on symbol j.

    Attributes
    ----------
    beta, alpha : ndarray of shape (n, n)
        Slope and intercept.
    t : ndarray of shape (n, n)
        Dickey–Fuller t-statistic of the residuals, without lags; infinite where it does not exist, as of a symbol on itself.
    std : ndarray of shape (n, n)
        Root mean square of the residuals.
    """

    beta: np.ndarray
    alpha: np.ndarray
    t: np.ndarray
    std: np.ndarray


def cointegration(log_prices: np.ndarray) -> Cointegration:
    """Engle–Granger's two regressions for all pairs of n symbols, from log prices of shape (T, n)."""
    mean = log_prices.mean(axis=0)
    centred = log_prices - mean
    before, change = centred[:-1], np.diff(centred, axis=0)

    def form(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Sum over t of ``left_e · right_e`` for the residual ``e = p_i − β p_j`` of each pair."""
        product = left.T @ right
        squares = np.diag(product)
        return squares[:, None] - beta * (product + product.T) + beta**2 * squares

    with np.errstate(all="ignore"):
        square = centred.T @ centred
        beta = square / np.diag(square)[None, :]
        level, slope, rest = form(before, before), form(before, change), form(change, change)
        rho = slope / level
        t = rho * np.sqrt(level * (len(change) - 1) / (rest - rho * slope))
        std = np.sqrt(form(centred, centred) / len(centred))
    degenerate = ~np.isfinite(t) | ~(std > 1e-8)
    np.fill_diagonal(degenerate, True)
    t[degenerate] = np.inf
    return Cointegration(beta, mean[:, None] - beta * mean[None, :], t, std)


class Pairs(Refitted):
    """Pairs trading on cointegration (Vidyamurthy, "Pairs trading", 2004; Gatev, Goetzmann and Rouwenhorst, "Pairs trading:
    performance of a relative-value arbitrage rule", Review of Financial Studies 2006, who choose pairs by distance).

    At the first bar of each quarter, pairs of positive β are chosen by the lowest Dickey–Fuller t-statistic below `critical`,
    each symbol in one pair at most. With ``z_t = (p_i − a − β p_j) / std of e``, the pair is sold when z rises above `entry`,
    bought when it falls below −`entry`, and closed when z comes back within `exit` of 0 or the quarter ends. Its legs are
    ``∓1 / (1 + β)`` and ``±β / (1 + β)`` of ``1 / pairs``, so the gross weight is 1 at most. Without cointegrated symbols
    nothing is held. Short positions need an account that allows them.

    Parameters
    ----------
    window : int
        Formation window, in returns of the market; at least 10.
    pairs : int
        Largest number of pairs.
    entry, exit : float
        In standard deviations of e; ``0 <= exit < entry``.
    critical : float
        Largest t-statistic of a pair; below 0.
    every : {"day", "week", "month", "quarter", "year"}
        Calendar period between formations.

    Raises
    ------
    InputError
        When a setting is out of range.
    """

    name = "pairs"

    def __init__(
        self,
        window: int = 252,
        pairs: int = 5,
        entry: float = 2.0,
        exit: float = 0.5,
        critical: float = -3.34,
        every: Period = "quarter",
    ):
        super().__init__(window, every)
        if window < 10 or pairs < 1:
            raise InputError(
                f"{self.name}: window is {window} and pairs is {pairs}; they must be at least 10 bars and 1"
            )
        if not 0 <= exit < entry or not critical < 0:
            raise InputError(
                f"{self.name}: entry is {entry}, exit {exit} and critical {critical}; there must be 0 <= exit < entry, and "
                "critical below 0"
            )
        self.pairs, self.entry, self.exit, self.critical = pairs, entry, exit, critical

    def unfitted(self, listed: np.ndarray) -> np.ndarray:
        return np.zeros(listed.shape)

    def held(self, past: np.ndarray, period: np.ndarray, live: np.ndarray) -> np.ndarray:
        weights = np.zeros(period.shape)
        if past.shape[1] < 2:
            return weights
        found, later = cointegration(np.log(past)), np.log(period)
        for i, j in self._chosen(found):
            beta = found.beta[i, j]
            z = (later[:, i] - found.alpha[i, j] - beta * later[:, j]) / found.std[i, j]
            side = self._sides(z) * (live[:, i] & live[:, j])
            weights[:, i] += side / (1 + beta) / self.pairs
            weights[:, j] -= side * beta / (1 + beta) / self.pairs
        return weights

    def _chosen(self, found: Cointegration) -> list[tuple[int, int]]:
        """Pairs in ascending order of their statistic, without a symbol of an earlier one."""
        t = np.where(found.beta > 0, found.t, np.inf)
        chosen: list[tuple[int, int]] = []
        while len(chosen) < self.pairs and t.min() < self.critical:
            i, j = (int(k) for k in np.unravel_index(t.argmin(), t.shape))
            chosen.append((i, j))
            t[[i, j]] = t[:, [i, j]] = np.inf
        return chosen

    def _sides(self, z: np.ndarray) -> np.ndarray:
        """1 while a pair is held long, −1 while it is held short, else 0; shape (R,)."""
        sides, side = np.zeros(len(z)), 0.0
        for row, value in enumerate(z.tolist()):
            if side and side * value > -self.exit:
                side = 0.0
            if abs(value) > self.entry:
                side = -1.0 if value > 0 else 1.0
            sides[row] = side
        return sides
