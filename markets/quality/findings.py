"""Data faults of single symbols, found one symbol at a time.

Returns are compared with a robust scale, which faults hardly affect::

    sigma = 1.4826 median |r|     over the non-zero returns r (the median absolute deviation, Hampel 1974)

It is computed over the whole life of the symbol and over the `WINDOW` bars on either side of the return; the largest of the
three is used, so that a large return in a volatile period is not an outlier. Returns over longer steps (a weekend, a gap, a
night between intraday bars) are compared with returns over similar steps, since a weekend adds far less than two days'
variance (French and Roll 1986, https://doi.org/10.1016/0304-405X(86)90004-8). All of this uses the whole sample, which is
acceptable in a report but not in a strategy.

A split is a test of two hypotheses about a log return r: an ordinary return on top of the log ratio p:q of a split, or an
ordinary return alone. Ordinary returns have the heavy tails of Student's t with `DEGREES` degrees of freedom, in units of
sigma above, and the evidence is the log of the likelihood ratio::

    evidence = log f((|r| − log p/q) / sigma) − log f(|r| / sigma)

It must exceed `EVIDENCE`, more for ratios below 2:1, since stocks do move by half. A crash is told from a split by its
volume, which is then many times the usual one. ``benchmarks/splits.py`` measures how many splits are found and how many
false alarms there are; the thresholds were chosen on half of its symbols, and it reports the other half.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numba import njit

from markets.common.words import count
from markets.quality.closed_hours import closed_bars

SEVERITIES = ("error", "warning", "note")
# A series is no price if its median move is large, and the variance of moves over a horizon is far below that of a random
# walk. Of random walks of 100 bars less than 1 % are below; daily volumes of indices are at 0.14 to 0.23.
LARGE, SHORTEST, HORIZON, MEAN_REVERTING = 0.05, 100, 10, 1 / 3
FEW_SESSIONS = 3  # missing closes at the end of the data that may only be late
CELLS = 200  # maximum number of wrong cells to list
WINDOW = 21  # bars on either side that a return is compared with: about a month of daily bars
OUTLIER = 15.0  # threshold in sigmas of a lasting move, or of a high or low far from all closes around it
SPIKE = 10.0  # threshold in sigmas of a move that the next bar reverts
REVERTED = 0.25  # largest fraction of a spike that may remain after the next bar
FAT_FINGER = 3.0  # a move by more than this factor is an error, not a market move
FAR = 6.0  # threshold in sigmas of a move by such a factor; the largest ordinary return on the day of a split
STALE_ODDS = 0.01  # probability of such a stale run over the symbol's life if unchanged closes were independent
# Split ratios, new shares to old, in ascending order. Smaller ones, such as 5:4, cannot be told from news.
RATIOS = ((3, 2), (2, 1), (5, 2), *((n, 1) for n in (*range(3, 21), 25, 30, 40, 50, 100)))
SMALLEST_SPLIT = 0.3  # log move from which a split is considered
TICK = 0.005  # least sigma of a return on the day of a split: prices are rounded, and dividends are paid
DEGREES = 4.0  # of the t distribution of ordinary returns
EVIDENCE = 6.5  # log likelihood ratio from which a move is taken for a split
EVIDENCE_BELOW_TWO = 9.5  # the same for ratios below 2:1
CRASH_VOLUME = 5.0  # volume of a day, in medians of the weeks before and after, that shows news instead of a split


@dataclass(frozen=True)
class Finding:
    """All occurrences of one kind of fault in one symbol.

    Attributes
    ----------
    symbol : str
        ``"(all)"`` if the fault concerns the whole panel.
    kind : str
    severity : {"error", "warning", "note"}
        An error makes the data unusable as it is; a warning should be looked into; a note is information.
    first, last : Timestamp
        Times of the first and the last bar concerned.
    count : int
        Number of bars concerned; for runs, the bars of all runs.
    detail : str
    rows : ndarray of int, shape (n, 2)
        First and last row of each occurrence, for charts.
    """

    symbol: str
    kind: str
    severity: str
    first: pd.Timestamp
    last: pd.Timestamp
    count: int
    detail: str
    rows: np.ndarray = field(default_factory=lambda: np.empty((0, 2), dtype=np.int64), repr=False, compare=False)


def faults(
    symbol: str,
    index: pd.DatetimeIndex,
    fields: dict[str, np.ndarray],
    gone: pd.Timestamp | None,
    stale: int,
    adjusted: bool = False,
    pegged: bool = False,
) -> Iterator[Finding]:
    """Find the faults of one symbol.

    Parameters
    ----------
    symbol : str
    index : DatetimeIndex of shape (T,)
    fields : dict of str to ndarray of shape (T,)
        ``close`` and, where available, ``open``, ``high``, ``low`` and ``volume``.
    gone : Timestamp or None
        Time at which the symbol is delisted, if known.
    stale : int
        Length in bars from which a run of unchanged closes is reported; longer where unchanged closes are common.
    adjusted : bool
        Whether the source says that prices are adjusted for splits; large moves are then news.
    pegged : bool
        Whether the source says that the price was fixed for years; unchanged closes are then no fault.

    Yields
    ------
    Finding
    """
    close = fields["close"]
    there = np.flatnonzero(np.isfinite(close))

    def finding(kind: str, severity: str, rows: np.ndarray, detail: str, number: int | None = None) -> Finding:
        bars = int((rows[:, 1] - rows[:, 0] + 1).sum()) if number is None else number
        return Finding(symbol, kind, severity, index[rows[0, 0]], index[rows[-1, 1]], bars, detail, rows)

    start, end = int(there[0]), int(there[-1])
    closed = closed_bars(index, np.isnan(close))
    before, after = (int((~part).sum()) for part in (closed[:start], closed[end + 1 :]))
    if before:
        detail = f"first close {when(index[start])}, {count(before, 'bar')} after the data begins"
        yield finding("late listing", "note", np.array([[start, start]]), detail)
    if after:
        detail = f"last close {when(index[end])}, {count(after, 'bar')} before the data ends; "
        severity = "note"
        if gone is not None:
            detail += f"delisted from {when(gone)}"
        elif after <= FEW_SESSIONS * _per_session(index, closed):
            detail += "perhaps not yet known; if it is delisted, declare it"
        else:
            detail, severity = detail + "not declared as delisted, so it cannot be sold", "warning"
        yield finding("early end", severity, np.array([[end, end]]), detail)
    if len(there) < 2:
        yield finding("no return", "error", np.array([[start, end]]), "only a single close; leave the symbol out")
        return
    if len(there) < end - start + 1:
        yield _gaps(finding, index, np.isnan(close), closed, start, end)
    prices = close[there]
    moves = np.diff(np.log(prices))
    if _mean_reverting(moves):
        detail = (
            f"values return to where they were, by a median {np.median(np.abs(moves)):.0%} a bar: a volume, a rate or "
            "another figure? If it is no price, remove it"
        )
        yield finding("not a price", "warning", np.array([[start, end]]), detail, len(there))
    run = _stale_runs(moves, stale)
    if len(run):
        longest_run = run[np.argmax(run[:, 1] - run[:, 0])]
        bars = int((run[:, 1] - run[:, 0] + 1).sum())
        detail = f"the longest {longest_run[1] - longest_run[0] + 1} bars from {when(index[there[longest_run[0]]])}"
        severity = "error" if 2 * bars > len(there) else "warning"
        if pegged:
            severity, detail = "note", f"{detail}; the price was fixed"
        yield finding("stale", severity, there[run], detail, bars)
    yield from _jumps(finding, index, there, moves, fields, adjusted)
    volume = fields.get("volume")
    if volume is not None and (volume[there] == 0).any():
        zero = volume[there] == 0
        moved = int((zero[1:] & (moves != 0)).sum())
        detail = (
            "no volume at all"
            if zero.all()
            else f"{zero.sum():,} of {len(zero):,} bars; in {moved:,} of them the price moved"
        )
        severity = "warning" if moved and not zero.all() else "note"
        yield finding("zero volume", severity, there[_runs(zero)], detail, int(zero.sum()))
    absent = {name: int(np.isnan(values[there]).sum()) for name, values in fields.items()}
    absent = {name: n for name, n in absent.items() if n}
    if absent:
        holes = np.any([np.isnan(fields[name][there]) for name in absent], axis=0)
        detail = "a close without " + ", ".join(f"{name} ({n:,})" for name, n in absent.items())
        if "open" in absent:
            detail += "; without an open a bar is untradable"
        yield finding("partial bar", "note", there[_runs(holes)], detail, int(holes.sum()))


def counted(findings: Sequence[Finding]) -> str:
    """How many findings there are of each severity, in words."""
    counts = [(severity, sum(f.severity == severity for f in findings)) for severity in SEVERITIES]
    return ", ".join(f"{n:,} {severity}{'s' if n != 1 else ''}" for severity, n in counts if n) or "nothing found"


def first_cells(cells: Sequence[str]) -> list[str]:
    """The first `CELLS` lines, and how many more there are."""
    more = [f"and {len(cells) - CELLS:,} more"] if len(cells) > CELLS else []
    return [*cells[:CELLS], *more]


def when(time: pd.Timestamp) -> str:
    """A time as text; without the time of day if that is midnight."""
    return f"{time:%Y-%m-%d %H:%M}".removesuffix(" 00:00")


def listed(times: pd.DatetimeIndex, most: int = 4) -> str:
    """The first `most` times as text, and how many more there are."""
    more = f" and {len(times) - most:,} more" if len(times) > most else ""
    return ", ".join(when(t) for t in times[:most]) + more


def _runs(flags: np.ndarray) -> np.ndarray:
    """First and last position of each run of true flags, shape (n, 2)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return np.column_stack([edges[::2], edges[1::2] - 1])


def _per_session(index: pd.DatetimeIndex, closed: np.ndarray) -> float:
    """Bars of a session of the symbol's own."""
    dates = index[~closed].tz_localize(None).normalize()
    return len(dates) / dates.nunique()


def _gaps(finding, index: pd.DatetimeIndex, absent: np.ndarray, closed: np.ndarray, start: int, end: int) -> Finding:
    """The bars missing between the first and the last close, apart from those at which the symbol is closed."""
    life = slice(start, end + 1)
    expected = np.flatnonzero(~closed[life]) + start
    shut = int(closed[life].sum())
    note = f"closed at {shut / (end + 1 - start):.1%} of the bars of others, at hours or days that recur"
    if not absent[expected].any():
        rows = _runs(absent[life]) + start
        return finding("gap", "note", rows, note, shut)
    runs = _runs(absent[expected])
    lengths = runs[:, 1] - runs[:, 0] + 1
    rows = expected[runs]
    longest_run = rows[np.argmax(lengths)]
    share = float(absent[expected].mean())
    holes = f"{len(rows):,} gaps, the longest" if len(rows) > 1 else "one gap of"
    of = "its own bars" if shut else "bars"
    detail = (
        f"{share:.1%} of {of} missing in {holes} {count(int(lengths.max()), 'bar')} from {when(index[longest_run[0]])}"
    )
    most, limit = 0.01, 5.0
    if shut:  # holidays are about 4 % of its sessions
        detail, most, limit = f"{detail}; {note}", 0.05, 5 * _per_session(index, closed)
    severity = "error" if share > 0.5 else "warning" if share > most or lengths.max() > limit else "note"
    return finding("gap", severity, rows, detail, int(lengths.sum()))


def _mean_reverting(moves: np.ndarray) -> bool:
    """Whether large moves cancel each other: a variance ratio (Lo and MacKinlay 1988), which is about 1 for prices."""
    if len(moves) < SHORTEST or np.median(np.abs(moves)) < LARGE:
        return False
    levels = np.cumsum(moves)
    return bool(np.var(levels[HORIZON:] - levels[:-HORIZON]) < MEAN_REVERTING * HORIZON * np.var(moves))


def _stale_runs(moves: np.ndarray, stale: int) -> np.ndarray:
    """Positions of the first and the last close of each stale run, shape (n, 2).

    If a fraction p of closes is unchanged, T bars have about T p^n runs of length n by chance. If p is large, as in minute
    bars, only longer runs count as stale.
    """
    same = moves == 0
    share = same.mean()
    if 0 < share < 1:
        chance = np.log(STALE_ODDS / len(moves)) / np.log(share)
        stale = max(stale, min(int(np.ceil(chance)), len(moves) // 2))
    rows = _runs(same)
    rows[:, 1] += 1
    return rows[rows[:, 1] - rows[:, 0] + 1 >= stale]


def _jumps(
    finding, index: pd.DatetimeIndex, there: np.ndarray, moves: np.ndarray, fields: dict, adjusted: bool
) -> Iterator[Finding]:
    """Find splits, spikes, outliers, and highs and lows far from all closes around them."""
    if np.count_nonzero(moves) < WINDOW:
        return
    scale, sigma = _by_step(moves, np.diff(index.as_unit("us").asi8[there]).astype(np.float64))
    scaled = moves / scale
    at = np.flatnonzero((np.abs(scaled) > SPIKE * sigma) | (np.abs(moves) > SMALLEST_SPLIT))
    local = _surroundings(scaled, at, 1)
    limit = np.maximum(local, sigma) * scale[at]
    beside = _surroundings(scaled, at, 2)  # without the reversal
    back = np.append(moves, 0.0)[at + 1]
    size = np.abs(moves[at])
    spike = (size > SPIKE * np.maximum(beside, sigma) * scale[at]) & (np.abs(moves[at] + back) <= REVERTED * size)
    # The reversal of a spike is not a fault of its own.
    after = np.isin(at - 1, at[spike]) & ~spike
    ratio, evidence = _split_evidence(size, np.maximum(limit, TICK))
    split = ~spike & ~after & (evidence > np.where(ratio == 0, EVIDENCE_BELOW_TWO, EVIDENCE))
    split &= not adjusted
    if "volume" in fields:
        split[split] = ~_crash_volume(fields["volume"][there], at[split] + 1)
    fat = size > np.log(FAT_FINGER)
    outlier = ~spike & ~after & ~split & (size > np.where(fat, FAR, OUTLIER) * limit)

    def found(which: np.ndarray, kind: str, severity: str, detail: str) -> Finding:
        rows = there[at[which] + 1]
        return finding(kind, severity, np.column_stack([rows, rows]), detail)

    def worst(which: np.ndarray) -> str:
        k = int(np.flatnonzero(which)[np.argmax((size / limit)[which])])
        return f"{np.expm1(moves[at[k]]):+.1%} on {when(index[there[at[k] + 1]])}, {size[k] / limit[k]:.0f} sigma"

    if split.any():
        seen = [
            f"{'{}:{}'.format(*(RATIOS[ratio[k]] if moves[at[k]] < 0 else RATIOS[ratio[k]][::-1]))} "
            f"on {when(index[there[at[k] + 1]])}"
            for k in np.flatnonzero(split)[:8]
        ]
        more = f" and {split.sum() - len(seen):,} more" if split.sum() > len(seen) else ""
        detail = f"the price looks like an unadjusted split: {', '.join(seen)}{more}; adjust it, unless it was news"
        yield found(split, "split", "error", detail)
    if spike.any():
        severity = "error" if fat[spike].any() else "warning"
        yield found(spike, "spike", severity, f"reverted by the next bar: {worst(spike)}")
    if outlier.any():
        severity = "error" if fat[outlier].any() else "note"
        yield found(outlier, "outlier", severity, f"a lasting move: {worst(outlier)}")
    yield from _out_of_line(finding, index, there, fields, scaled, scale, sigma)


def _by_step(moves: np.ndarray, steps: np.ndarray) -> tuple[np.ndarray, float]:
    """Scale of each return relative to returns over the usual step, and sigma of the latter.

    Steps within a factor of two are grouped. Groups with too few returns are scaled by the square root of time.
    """
    longer = steps / np.median(steps)
    kind = np.maximum(np.rint(np.log2(longer)), 0).astype(np.int64)
    usual = np.abs(moves[(kind == 0) & (moves != 0)])
    sigma = 1.4826 * float(np.median(usual if len(usual) else np.abs(moves[moves != 0])))
    scale = np.sqrt(np.maximum(longer, 1.0))
    for k in np.unique(kind[kind > 0]):
        active = np.abs(moves[(kind == k) & (moves != 0)])
        if len(active) >= WINDOW:
            scale[kind == k] = max(1.4826 * float(np.median(active)) / sigma, 1.0)
    return scale, sigma


def _split_evidence(size: np.ndarray, sigma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index of the nearest of `RATIOS` for each log move, and the log likelihood ratio of a split by it against none.

    There is no evidence for a split where the rest of the move is not an ordinary return.
    """
    logs = np.log([new / old for new, old in RATIOS])
    nearest = np.abs(size[:, None] - logs).argmin(axis=1)
    rest = np.abs(size - logs[nearest])
    tail = (DEGREES + 1) / 2
    evidence = tail * np.log((DEGREES + (size / sigma) ** 2) / (DEGREES + (rest / sigma) ** 2))
    return nearest, np.where(rest <= FAR * sigma, evidence, -np.inf)


def _crash_volume(volume: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Whether the volume of bars `at` is many times the usual one both before and after, bool of shape (n,)."""
    out = np.zeros(len(at), dtype=bool)
    for k, t in enumerate(at):
        usual = [part[part > 0] for part in (volume[max(t - WINDOW, 0) : t], volume[t + 1 : t + 1 + WINDOW])]
        out[k] = all(len(part) and volume[t] > CRASH_VOLUME * np.median(part) for part in usual)
    return out


def _out_of_line(finding, index, there, fields, scaled, scale, sigma) -> Iterator[Finding]:
    """Find opens, highs and lows far outside the range of the closes before and after."""
    others = [fields[name][there][1:] for name in ("open", "high", "low") if name in fields]
    if not others:
        return
    closes = fields["close"][there]
    top, bottom = np.maximum(closes[1:], closes[:-1]), np.minimum(closes[1:], closes[:-1])
    highest, lowest = np.fmax.reduce([top, *others]), np.fmin.reduce([bottom, *others])
    reach = np.log(np.maximum(highest / top, bottom / lowest)) / scale
    at = np.flatnonzero(reach > OUTLIER * sigma)
    local = _surroundings(scaled, at, 1)
    at = at[reach[at] > OUTLIER * np.maximum(local, sigma)]
    if len(at):
        rows = there[at + 1]
        k = int(at[np.argmax(reach[at])])
        detail = f"{reach[k] / sigma:.0f} sigma outside the closes around it on {when(index[there[k + 1]])}"
        yield finding("out of line", "warning", np.column_stack([rows, rows]), detail)


@njit(cache=True)
def _surroundings(scaled, at, skip):
    """Robust scale of the returns around each of `at`, the larger of both sides; the side after begins `skip` bars later."""
    scales = np.zeros(len(at))
    for k in range(len(at)):
        for side in range(2):
            if side == 0:
                part = np.abs(scaled[max(at[k] - WINDOW, 0) : at[k]])
            else:
                part = np.abs(scaled[at[k] + skip : at[k] + skip + WINDOW])
            moved = part[part > 0]
            if len(moved) >= 5:
                scales[k] = max(scales[k], 1.4826 * np.median(moved))
    return scales
