"""What can be wrong with one symbol's bars, found in one column at a time.

Returns are judged by a robust scale, so that a fault does not hide itself::

    sigma = 1.4826 median |r|     over the non-zero returns r (the median absolute deviation, Hampel 1974)

once over the whole life of the symbol and once over `WINDOW` bars on either side of the return in question; the largest
of the three counts, so that a crash among crashes is no outlier. A return over a longer step (a weekend, a gap, a night
between intraday bars) is compared with returns over steps of its kind, since a weekend adds far less than two days'
variance (French and Roll 1986, https://doi.org/10.1016/0304-405X(86)90004-8). All of this looks at the whole sample,
which a report may and a strategy may not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numba import njit

SEVERITIES = ("error", "warning", "note")
WINDOW = 21  # bars on either side that a return is compared with: about a month of days
OUTLIER = 15.0  # sigmas of a move that stays, or of a high or low that no close comes near
SPIKE = 10.0  # sigmas of a move that the next bar takes back
REVERTED = 0.25  # share of a spike that the next bar may leave standing
FAT_FINGER = 3.0  # a spike by this factor is no market
STALE_ODDS = 0.01  # chance of one stale run as long in a whole life, if unchanged closes came independently
# Splits as companies make them; new shares to old.
RATIOS = ((3, 2), (2, 1), (5, 2), *((n, 1) for n in (3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 30, 50, 100)))


@dataclass(frozen=True)
class Finding:
    """One kind of fault of one symbol.

    Attributes
    ----------
    symbol : str
        ``"(all)"`` for what concerns the whole panel.
    kind : str
    severity : {"error", "warning", "note"}
        An error makes the data unusable as it is; a warning is a suspicion to look at; a note is good to know.
    first, last : Timestamp
        Of the first bar and the last bar concerned.
    count : int
        Bars (of runs: bars in all runs) that are concerned.
    detail : str
    rows : ndarray of int, shape (n, 2)
        First and last row of each occurrence, to mark on a picture.
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
    symbol: str, index: pd.DatetimeIndex, fields: dict[str, np.ndarray], gone: pd.Timestamp | None, stale: int
) -> Iterator[Finding]:
    """Faults of one symbol.

    Parameters
    ----------
    symbol : str
    index : DatetimeIndex of shape (T,)
    fields : dict of str to ndarray of shape (T,)
        ``close``, and what there is of ``open``, ``high``, ``low`` and ``volume``.
    gone : Timestamp or None
        When the symbol was delisted, if that is known.
    stale : int
        Bars with one and the same close that are suspicious; more where unchanged closes are common.

    Yields
    ------
    Finding
    """
    close = fields["close"]
    there = np.flatnonzero(np.isfinite(close))

    def finding(kind: str, severity: str, rows: np.ndarray, detail: str, count: int | None = None) -> Finding:
        bars = int((rows[:, 1] - rows[:, 0] + 1).sum()) if count is None else count
        return Finding(symbol, kind, severity, index[rows[0, 0]], index[rows[-1, 1]], bars, detail, rows)

    start, end = int(there[0]), int(there[-1])
    if start > 0:
        detail = f"first close {when(index[start])}, {start:,} bars after the data begins"
        yield finding("late listing", "note", np.array([[start, start]]), detail)
    if end < len(index) - 1:
        delisting = (
            f"delisted from {when(gone)}" if gone is not None else "not declared as delisted, so it cannot be sold"
        )
        detail = f"last close {when(index[end])}, {len(index) - 1 - end:,} bars before the data ends; {delisting}"
        yield finding("early end", "warning" if gone is None else "note", np.array([[end, end]]), detail)
    if len(there) < 2:
        yield finding("no return", "error", np.array([[start, end]]), "a single close in all; leave the symbol out")
        return
    if len(there) < end - start + 1:
        yield _gaps(finding, index, np.isnan(close[start : end + 1]), start)
    prices = close[there]
    moves = np.diff(np.log(prices))
    run = _stale_runs(moves, stale)
    if len(run):
        longest_run = run[np.argmax(run[:, 1] - run[:, 0])]
        bars = int((run[:, 1] - run[:, 0] + 1).sum())
        detail = f"the longest {longest_run[1] - longest_run[0] + 1} bars from {when(index[there[longest_run[0]]])}"
        yield finding("stale", "error" if 2 * bars > len(there) else "warning", there[run], detail, bars)
    yield from _jumps(finding, index, there, moves, fields)
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


def when(time: pd.Timestamp) -> str:
    """A time as short as it can be said."""
    return f"{time:%Y-%m-%d %H:%M}".removesuffix(" 00:00")


def listed(times: pd.DatetimeIndex, most: int = 4) -> str:
    """Some times, and how many more."""
    more = f" and {len(times) - most:,} more" if len(times) > most else ""
    return ", ".join(when(t) for t in times[:most]) + more


def _runs(flags: np.ndarray) -> np.ndarray:
    """First and last position of each run of true flags, shape (n, 2)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return np.column_stack([edges[::2], edges[1::2] - 1])


def _gaps(finding, index: pd.DatetimeIndex, missing: np.ndarray, start: int) -> Finding:
    rows = _runs(missing) + start
    lengths = rows[:, 1] - rows[:, 0] + 1
    longest_run = rows[np.argmax(lengths)]
    share = float(missing.mean())
    holes = f"{len(rows):,} holes, the longest" if len(rows) > 1 else "one hole of"
    detail = f"{share:.1%} of its life in {holes} {lengths.max():,} bars from {when(index[longest_run[0]])}"
    weekend = index[start : start + len(missing)].day_of_week.to_numpy() >= 5
    if weekend.any() and missing[weekend].all() and weekend[missing].mean() > 0.8:  # a stock beside what never closes
        return finding("gap", "note", rows, f"{detail}; {weekend[missing].mean():.0%} of them at weekends")
    severity = "error" if share > 0.5 else "warning" if share > 0.01 or lengths.max() > 5 else "note"
    return finding("gap", severity, rows, detail)


def _stale_runs(moves: np.ndarray, stale: int) -> np.ndarray:
    """Positions of the first and the last close of each run that is too long, shape (n, 2).

    With a share p of unchanged closes, a life of T bars has T p^n runs of n by chance: where p is large, as in minutes,
    the run must be longer.
    """
    same = moves == 0
    share = same.mean()
    if 0 < share < 1:
        chance = np.log(STALE_ODDS / len(moves)) / np.log(share)
        stale = max(stale, min(int(np.ceil(chance)), len(moves) // 2))
    rows = _runs(same)
    rows[:, 1] += 1
    return rows[rows[:, 1] - rows[:, 0] + 1 >= stale]


def _jumps(finding, index: pd.DatetimeIndex, there: np.ndarray, moves: np.ndarray, fields: dict) -> Iterator[Finding]:
    """Splits, spikes, outliers, and highs and lows that no close comes near."""
    if np.count_nonzero(moves) < WINDOW:
        return
    scale, sigma = _by_step(moves, np.diff(index.as_unit("us").asi8[there]).astype(np.float64))
    scaled = moves / scale
    at = np.flatnonzero(np.abs(scaled) > SPIKE * sigma)
    local, lively = _surroundings(scaled, at, 1)
    limit = np.maximum(local, sigma) * scale[at]
    beside, _ = _surroundings(scaled, at, 2)  # without the move back
    back = np.append(moves, 0.0)[at + 1]
    size = np.abs(moves[at])
    spike = (size > SPIKE * np.maximum(beside, sigma) * scale[at]) & (np.abs(moves[at] + back) <= REVERTED * size)
    # The way back is no fault of its own.
    after = np.isin(at - 1, at[spike]) & ~spike
    ratio, misfit = _nearest_ratio(size)
    split = ~spike & ~after & lively & (size > OUTLIER * limit)
    if "volume" in fields:
        split &= misfit <= 5 * limit
        split[split] = _volume_follows(fields["volume"][there], moves, at[split])
    else:  # with no second witness the first must be more exact
        split &= misfit <= 3 * limit
    outlier = ~spike & ~after & ~split & (size > OUTLIER * limit)

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
            for k in np.flatnonzero(split)[:3]
        ]
        detail = f"the price looks like a split that is not adjusted for: {', '.join(seen)}"
        yield found(split, "split", "warning", detail)
    if spike.any():
        fat = bool((size[spike] > np.log(FAT_FINGER)).any())
        yield found(spike, "spike", "error" if fat else "warning", f"taken back by the next bar: {worst(spike)}")
    if outlier.any():
        yield found(outlier, "outlier", "note", f"a move that stayed: {worst(outlier)}")
    yield from _out_of_line(finding, index, there, fields, scaled, scale, sigma)


def _by_step(moves: np.ndarray, steps: np.ndarray) -> tuple[np.ndarray, float]:
    """How much larger each return may be for its step than over the usual one, and the scale of the latter.

    Steps within a factor of two are of one kind; where there are too few of a kind, the square root of time.
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


def _nearest_ratio(size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which of `RATIOS` each move is nearest to, and how far from it in logs."""
    logs = np.log([new / old for new, old in RATIOS])
    right = np.clip(np.searchsorted(logs, size), 1, len(logs) - 1)
    nearest = np.where(size - logs[right - 1] < logs[right] - size, right - 1, right)
    return nearest, np.abs(size - logs[nearest])


def _volume_follows(volume: np.ndarray, moves: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Whether the volume went the other way by at least half of the jump in logs; shares double when a price halves."""
    out = np.ones(len(at), dtype=bool)
    for k, t in enumerate(at):
        before, after = volume[max(t + 1 - WINDOW, 0) : t + 1], volume[t + 1 : t + 1 + WINDOW]
        before, after = before[before > 0], after[after > 0]
        if len(before) and len(after):
            out[k] = -np.log(np.median(after) / np.median(before)) / moves[t] >= 0.5
    return out


def _out_of_line(finding, index, there, fields, scaled, scale, sigma) -> Iterator[Finding]:
    """An open, high or low that stands far outside of the closes on both sides of it."""
    others = [fields[name][there][1:] for name in ("open", "high", "low") if name in fields]
    if not others:
        return
    closes = fields["close"][there]
    top, bottom = np.maximum(closes[1:], closes[:-1]), np.minimum(closes[1:], closes[:-1])
    highest, lowest = np.fmax.reduce([top, *others]), np.fmin.reduce([bottom, *others])
    reach = np.log(np.maximum(highest / top, bottom / lowest)) / scale
    at = np.flatnonzero(reach > OUTLIER * sigma)
    local, _ = _surroundings(scaled, at, 1)
    at = at[reach[at] > OUTLIER * np.maximum(local, sigma)]
    if len(at):
        rows = there[at + 1]
        k = int(at[np.argmax(reach[at])])
        detail = f"{reach[k] / sigma:.0f} sigma outside of the closes around it on {when(index[there[k + 1]])}"
        yield finding("out of line", "warning", np.column_stack([rows, rows]), detail)


@njit(cache=True)
def _surroundings(scaled, at, skip):
    """Robust scale of the returns around each of `at`, of the larger side; and whether both sides are alive.

    The side after begins `skip` later. Alive: at least half of at least five returns moved.
    """
    scales, lively = np.zeros(len(at)), np.ones(len(at), dtype=np.bool_)
    for k in range(len(at)):
        for side in range(2):
            if side == 0:
                part = np.abs(scaled[max(at[k] - WINDOW, 0) : at[k]])
            else:
                part = np.abs(scaled[at[k] + skip : at[k] + skip + WINDOW])
            moved = part[part > 0]
            lively[k] &= len(part) >= 5 and 2 * len(moved) >= len(part)
            if len(moved) >= 5:
                scales[k] = max(scales[k], 1.4826 * np.median(moved))
    return scales, lively
