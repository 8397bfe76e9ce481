"""A pool of estimates of volatility and correlation, each with another half-life, at the decision rows of a calendar.

Which half-life is right depends on how fast the market changes, and that changes too. So all of a pool are computed, and a policy
weighs them (`strategies.portfolio.policy`). An estimate weighs the market's last `window` sessions by ``2^(−age / half-life)``
(J. P. Morgan, "RiskMetrics technical document", 1996)::

    σ²ᵢ = Σ w rᵢ² / Σ w Δτ          variance per year, by elapsed time: right for bars of any length
    ρᵢⱼ = Σ w rᵢ rⱼ / sqrt(Σ w rᵢ² · Σ w rⱼ²)          sums over sessions at which both are known

with r simple returns from session to session (`Bars.sessions`) and mean zero. The window is finite and every sum is over the
window alone, so a row is the same, bit for bit, wherever the bars begin and end.

Rules: in a gap a return is 0, and all of it comes at the next close, as in the account. Before its first close a symbol is
unknown, and correlations with it are over the sessions since; where such a matrix is not positive definite, its eigenvalues are
cut at 0. A symbol takes part while it is listed, has had `shortest` closes in the window, and is not pegged: its volatility is at
least a hundredth (`pegged`) of the median symbol's, as in `strategies.rules.refitted`. With more symbols than sessions the matrix
is singular, and what shrinks it makes it invertible.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, fields, replace
from itertools import pairwise

import numpy as np

from markets import Bars, InputError
from markets.bars.listing import MISSED
from strategies.portfolio.state import LONG, SHORT, TRENDS, evidence, market_state
from strategies.rules.covariances import definite
from strategies.rules.refitted import moving
from strategies.rules.schedule import DAYS, Period, check_period, period_starts

_YEAR = 365.25 * 86_400e6  # microseconds
_MEMORY = 26  # periods
_KEPT = 2**30  # bytes of results of `estimate`, for samplers of the same bars


@dataclass(frozen=True)
class Pool:
    """What is estimated, and when.

    Attributes
    ----------
    volatilities, correlations : tuple of int
        Half-lives in sessions, ascending.
    window : int
        Sessions that an estimate reads.
    every : {"bar", "day", "week", "month", "quarter", "year"}
        Calendar period between decisions; ``bar`` is each bar, for bars that are not daily.
    shortest : int
        Closes in the window before a symbol takes part.
    pegged : float
        Fraction of the median symbol's volatility (half-life 252) below which one takes no part. A portfolio of least variance
        would hold little else, until the peg breaks. With managed currencies a larger one, such as 0.25, keeps it among those
        that float.

    Raises
    ------
    InputError
        When a value is out of range.
    """

    volatilities: tuple[int, ...] = (10, 21, 42, 63, 126, 252)
    correlations: tuple[int, ...] = (63, 126, 252, 504)
    window: int = 756
    every: Period = "week"
    shortest: int = 126
    pegged: float = 0.01

    def __post_init__(self) -> None:
        for name in ("volatilities", "correlations"):
            halflives = tuple(getattr(self, name))
            object.__setattr__(self, name, halflives)  # JSON holds lists
            if not halflives or min(halflives) < 1 or list(halflives) != sorted(set(halflives)):
                raise InputError(f"pool: {name} are {halflives}; give half-lives of at least 1 session, ascending")
        check_period("pool", self.every)
        if not 2 <= self.shortest <= self.window:
            raise InputError(
                f"pool: shortest is {self.shortest} and window {self.window}; shortest must be at least 2 and at most the window"
            )
        if not 0 <= self.pegged < 1:
            raise InputError(f"pool: pegged is {self.pegged}; it must be at least 0 and below 1")

    @property
    def memory(self) -> int:
        """Periods over which the half-lives are compared by what they foretold: 26; of single bars a sixth of the window, as 26
        weeks are of the usual one.
        """
        return max(self.window // 6, 1) if self.every == "bar" else _MEMORY

    @property
    def carried(self) -> int:
        """Bars for which a close may be carried into the window: a month of daily ones. Single bars with a short window are taken
        to be longer, so that a quarter of it is enough.
        """
        most = max(self.window // 4, MISSED + 1) if self.every == "bar" else DAYS["month"]
        return min(most, DAYS["month"])

    @property
    def lookback(self) -> int:
        """Bars that a row reads before it: the window of the oldest estimate that is compared with what came, and the month over
        which a close is carried into it.
        """
        return self.window + (self.memory + 2) * DAYS[self.every] + self.carried

    def restated(self, bars_for_each: float) -> Pool:
        """The pool for bars of another length, of which `bars_for_each` cover the time of one bar before.

        How fast risk changes is a matter of time, so half-lives and windows last as long as before. A gate reads where a
        half-life stands among the others, by logarithms (`strategies.portfolio.policy.Gate`), and that stays, unless some become
        so short that they are the same. A period that has become a single bar is one; single bars stay single bars.
        """

        def scaled(halflives: tuple[int, ...]) -> tuple[int, ...]:
            return tuple(sorted({max(round(h * bars_for_each), 2) for h in halflives}))

        shortest = max(round(self.shortest * bars_for_each), 2)
        window = max(round(self.window * bars_for_each), shortest)
        single = DAYS[self.every] * bars_for_each < 1.5 * (7 / 5)  # five of seven days may be bars
        return replace(
            self, volatilities=scaled(self.volatilities), correlations=scaled(self.correlations), window=window,
            shortest=shortest, every="bar" if single else self.every,
        )  # fmt: skip

    def reach(self, bars: Bars) -> int:
        """Bars before the first visible one that are read: `lookback`, or more where a day has several bars."""
        starts = np.flatnonzero(period_starts(bars, self.every))
        first = int(starts.searchsorted(bars.past, side="right")) - self.memory - 2
        oldest = int(starts[max(first, 0)]) if len(starts) else 0
        return max(self.lookback, bars.past - oldest + self.window + self.carried)


@dataclass(frozen=True, eq=False)
class Estimates:
    """The pool at D decision rows, for A symbols.

    Attributes
    ----------
    symbols : tuple of str
    rows : ndarray of int, shape (D,)
        Rows of ``bars.with_past()`` of the decisions, ascending.
    known : ndarray of bool, shape (D, A)
        Which symbols take part.
    variance : ndarray of shape (D, K, A)
        Per year, for each half-life of volatility.
    correlation : ndarray of shape (D, C, A, A)
        For each half-life of correlation; that of a symbol which takes no part is 0.
    trend : ndarray of shape (D, H, A)
        ``tanh`` of the return over each of the last `strategies.portfolio.state.TRENDS` sessions in units of its volatility (of
        half-life 252); 0 where there are fewer, or it was stale in them. Softer than the sign, it turns over less.
    state : ndarray of shape (D, Z)
        The market's state, scale-free; see `strategies.portfolio.state.market_state`.
    variance_score : ndarray of shape (D, K)
        How much better than the pool's mean each half-life has recently foretold returns, in nats; see `evidence`.
    correlation_score : ndarray of shape (D, C)
    """

    symbols: tuple[str, ...]
    rows: np.ndarray
    known: np.ndarray
    variance: np.ndarray
    correlation: np.ndarray
    trend: np.ndarray
    state: np.ndarray
    variance_score: np.ndarray
    correlation_score: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: slice) -> Estimates:
        """The estimates at some of the decision rows."""
        parts = {f.name: getattr(self, f.name)[rows] for f in fields(self) if f.name != "symbols"}
        return Estimates(self.symbols, **parts)

    @property
    def size(self) -> int:
        """Bytes of the arrays."""
        return sum(getattr(self, f.name).nbytes for f in fields(self) if f.name != "symbols")

    def before(self, row: int | np.ndarray) -> np.ndarray:
        """Index of the last decision at or before each `row`; −1 if there is none."""
        return np.searchsorted(self.rows, row, side="right") - 1


_FOUND: OrderedDict[tuple[str, str, int, Pool], Estimates] = OrderedDict()


def estimate(bars: Bars, pool: Pool, since: int = 0) -> Estimates:
    """The pool at the decision rows of `bars`.

    Parameters
    ----------
    bars : Bars
        History included: rows are those of ``bars.with_past()``.
    pool : Pool
    since : int
        Row from which estimates are wanted: the last decision at or before it, and all later ones.

    Returns
    -------
    Estimates
        Without the decisions before which the market had fewer than ``pool.shortest`` sessions.
    """
    held = bars.with_past()
    key = held.hash, str(held.index.tz), since, pool  # periods are of the time zone, which the hash is not of
    found = _FOUND.get(key)
    if found is None:
        found = _FOUND[key] = _estimate(held, pool, since)
        while len(_FOUND) > 1 and sum(each.size for each in _FOUND.values()) > _KEPT:
            _FOUND.popitem(last=False)
    return found


def _estimate(held: Bars, pool: Pool, since: int) -> Estimates:
    moves = _Returns(held)
    starts = np.flatnonzero(period_starts(held, pool.every))
    starts = starts[moves.before(starts) >= pool.shortest]
    wanted = max(int(starts.searchsorted(since, side="right")) - 1, 0)  # the first one that is returned
    starts = starts[max(wanted - pool.memory, 0) :]
    wanted = min(wanted, pool.memory)
    n, ends = len(held.symbols), moves.before(starts)
    halflives = (*pool.volatilities, SHORT, LONG)
    weights = np.array([_weights(h, pool.window) for h in halflives])
    roots = np.array([np.sqrt(_weights(h, pool.window)) for h in pool.correlations])
    known = np.zeros((len(starts), n), dtype=bool)
    variance = np.ones((len(starts), len(halflives), n))
    correlation = np.zeros((len(starts), len(pool.correlations), n, n))
    trend = np.zeros((len(starts), len(TRENDS), n))
    for d, (row, end) in enumerate(zip(starts, ends, strict=True)):
        returns, there, closes, years = moves.window(end, pool.window)
        time = weights @ (there * years[:, None])
        square = weights @ returns**2
        variance[d] = np.where((time > 0) & (square > 0), square / np.where(time > 0, time, 1.0), 1.0)
        known[d] = held.listed[row] & (closes.sum(axis=0) >= pool.shortest) & (square[-1] > 0)
        known[d] = moving(np.where(known[d], np.sqrt(variance[d, -1]), np.nan), pool.pegged)
        variance[d, :, ~known[d]] = 1.0
        trend[d] = np.where(known[d], moves.trends(end, min(pool.window, end - 1), np.sqrt(variance[d, -1])), 0.0)
        complete = bool(there[:, known[d]].all())
        for c, root in enumerate(roots):
            correlation[d, c] = _correlation(returns * root[:, None], there, known[d], complete)
    pooled = variance[:, : len(pool.volatilities)]
    scores = evidence(pooled, correlation, known, [moves.between(*pair) for pair in pairwise(ends)], pool.memory)
    state = market_state(variance[:, -2:], correlation, known, [moves.market(end, pool.window) for end in ends])
    found = Estimates(held.symbols, starts, known, pooled, correlation, trend, state, *scores)
    return found[wanted:]


class _Returns:
    """Returns of all symbols between the sessions of the market.

    Parameters
    ----------
    held : Bars
        Without history.
    """

    def __init__(self, held: Bars):
        self.sessions = np.flatnonzero(held.sessions)
        self.marks, listed = held.marks[self.sessions], held.listed[self.sessions]
        times = held.index.as_unit("us").asi8[self.sessions]
        self.returns, self.there = np.zeros(self.marks.shape), np.zeros(self.marks.shape, dtype=bool)
        with np.errstate(invalid="ignore"):
            moves = self.marks[1:] / self.marks[:-1] - 1
        self.there[1:] = np.isfinite(moves) & listed[1:] & listed[:-1]  # not over the time that it was stale
        self.returns[1:] = np.where(self.there[1:], moves, 0.0)
        self.closes = np.isfinite(held.close[self.sessions])
        self.years = np.diff(times, prepend=times[:1]) / _YEAR

    def before(self, rows: np.ndarray) -> np.ndarray:
        """Number of sessions up to each row."""
        return self.sessions.searchsorted(rows, side="right")

    def window(self, end: int, length: int) -> tuple[np.ndarray, ...]:
        """Returns, whether they are known, closes and years of the `length` sessions before session `end`.

        Where there are fewer, rows of zeros come first, so that all windows have one shape, and sums one order.
        """
        first = max(end - length, 0)
        parts = (self.returns, self.there, self.closes, self.years)
        padded = [np.zeros((length, *part.shape[1:]), dtype=part.dtype) for part in parts]
        for whole, part in zip(padded, parts, strict=True):
            whole[length - (end - first) :] = part[first:end]
        return tuple(padded)

    def between(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns, whether they are known, and years of the sessions from `first` to before `last`."""
        return self.returns[first:last], self.there[first:last], self.years[first:last]

    def trends(self, end: int, most: int, volatility: np.ndarray) -> np.ndarray:
        """Return over each of `TRENDS` in units of its volatility, bounded, shape (H, A); 0 where that is more than `most`,
        or a symbol was stale or not listed.
        """
        out = np.zeros((len(TRENDS), self.marks.shape[1]))
        for k, length in enumerate(TRENDS):
            if length <= most:
                moved = self.marks[end - 1] / self.marks[end - 1 - length] - 1
                time = self.years[end - length : end].sum()
                counts = self.there[end - length : end].all(axis=0)
                out[k] = np.where(counts, np.tanh(moved / (volatility * np.sqrt(time))), 0.0)
        return out

    def market(self, end: int, length: int) -> np.ndarray:
        """The mean return of the known symbols over the `length` sessions before `end`."""
        returns, there, *_ = self.window(end, length)
        return returns.sum(axis=1) / np.maximum(there.sum(axis=1), 1)


def _weights(halflife: float, window: int) -> np.ndarray:
    """``2^(−age / halflife)`` of a window, oldest first."""
    return 0.5 ** (np.arange(window)[::-1] / halflife)


def _correlation(moves: np.ndarray, there: np.ndarray, known: np.ndarray, complete: bool) -> np.ndarray:
    """Correlation of weighted returns (W, A): zero for symbols that are not `known`, ones on the diagonal."""
    product = moves.T @ moves
    if complete:
        scale = np.sqrt(np.diag(product))
        scale = np.outer(scale, scale)
    else:  # of each symbol the part at which the other one was known too
        square = (moves**2).T @ there.astype(np.float64)
        scale = np.sqrt(square * square.T)
    both = np.outer(known, known) & (scale > 0)
    out = np.where(both, product / np.where(both, scale, 1.0), 0.0)
    np.fill_diagonal(out, 1.0)
    return out if complete else definite(out)
