"""The numba kernels of `markets.features.parts`: one update per bar of all features, on a state of fixed size.

Whole panels, blocks of rows and live streams all run `fold`, over more or fewer bars at a time, so their results are
bit-identical. A composition of features is a small program: rows of (code, column, n, m, volatility slot, place),
interpreted bar by bar; each step is a loop over the symbols. A ring buffer holds the last log closes. Any other state of a
feature is in rows of `State.workspace`, starting at its `place`.

In the notation of the code, l is the log of the last known close, and the age of a symbol is the number of bars since its
first close. A bar without a close has no return.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from markets.bars.bars import STALE

# Floor of the volatility, so that a price that never moves does not lead to a division by zero.
SMALLEST_VOLATILITY = 1e-6
# Bound of all features, in standard deviations: a bad price must not blow up a network.
LARGEST = 8.0

RETURN, ABOVE, RATIO, VOLATILITY, TREND, DRAWDOWN, RANGE, VOLUME, RANK, CALENDAR, CUSTOM = range(11)

# Trend: windows of the standard deviations of price and of signal, in bars. An exponential average of decay 1 − 1/n is
# truncated after CUT · n bars (2 % of its weight lies beyond), so that its lookback is finite.
PRICES, SIGNALS, CUT = 63, 252, 4
# Rows of workspace that Trend needs before its ring of signals.
_FAST, _SLOW, _MEAN, _SQUARES, _SIGNAL_MEAN, _SIGNAL_SQUARES, TREND_ROWS = range(7)
# Mean squared log range of a driftless random walk, in units of its variance (Parkinson 1980).
_PARKINSON = 4 * np.log(2)

# As in `markets.accounting.kernels`: nothing here allocates.
_kernel = njit(cache=True, nogil=True, error_model="numpy", _nrt=False)


class State(NamedTuple):
    """State carried from bar to bar, by symbol."""

    bars: np.ndarray  # (1,) number of bars so far
    age: np.ndarray  # (A,) bars since the first close; -1 before it
    since: np.ndarray  # (A,) bars since the last close
    known: np.ndarray  # (A,) whether this bar's features are defined
    base: np.ndarray  # (A,) log of the first close; sums of l − base stay small, which keeps rounding errors small
    logs: np.ndarray  # (depth, A) ring buffer of l
    squares: np.ndarray  # (S, A) sum of squared returns over each volatility window
    sigma: np.ndarray  # (S, A) root mean square of these returns
    workspace: np.ndarray  # (R, A) sums, averages and ring buffers of the features
    peaks: np.ndarray  # (P, A) bar of the highest close in the window of each drawdown


def make_state(symbols: int, depth: int, windows: int, rows: int, peaks: int) -> State:
    """The state before the first bar."""
    return State(
        bars=np.zeros(1, dtype=np.int64),
        age=np.full(symbols, -1),
        since=np.zeros(symbols, dtype=np.int64),
        known=np.zeros(symbols, dtype=np.bool_),
        base=np.zeros(symbols),
        logs=np.zeros((depth, symbols)),
        squares=np.zeros((windows, symbols)),
        sigma=np.zeros((windows, symbols)),
        workspace=np.zeros((rows, symbols)),
        peaks=np.zeros((peaks, symbols), dtype=np.int64),
    )


@_kernel
def fold(logs, ranges, volume, clock, custom, gone, steps, windows, lookback, s, out):
    """Update the state with T more bars and write their features, unless `out` has no rows.

    Parameters
    ----------
    logs : ndarray of shape (T, A)
        Log closes, NaN in a gap.
    ranges : ndarray of shape (T, A)
        Squared log of high over low. This and the next three arrays have size 0 if no feature reads them.
    volume : ndarray of shape (T, A)
    clock : ndarray of shape (T, 4)
        Columns of `Calendar`.
    custom : ndarray of shape (T, A, C)
        Values of user-defined features.
    gone : ndarray of bool, shape (T, A)
        Whether a symbol is delisted; size 0 if none ever is.
    steps : ndarray of int, shape (P, 6)
        Code, column, n, m, volatility slot, place.
    windows : ndarray of int, shape (S,)
        Lengths of the volatility windows.
    lookback : int
        Bars before a symbol's first row of features.
    s : State
        Updated in place.
    out : ndarray of shape (T or 0, A, F)
        Output.
    """
    wanted = out.shape[0] > 0
    for row in range(logs.shape[0]):
        t = s.bars[0]
        _take(logs, row, t, s)
        for k in range(windows.size):
            _volatility(windows[k], k, t, s)
        for a in range(s.age.size):
            listed = s.age[a] >= 0 and s.since[a] <= STALE and not (gone.shape[0] > 0 and gone[row, a])
            s.known[a] = wanted and listed and s.age[a] >= lookback
            if wanted and not s.known[a]:
                for f in range(out.shape[2]):
                    out[row, a, f] = np.nan
        for k in range(steps.shape[0]):
            code, f, n, m, slot, place = steps[k, 0], steps[k, 1], steps[k, 2], steps[k, 3], steps[k, 4], steps[k, 5]
            if code == RETURN:
                _return(n, slot, t, s, row, f, out)
            elif code == ABOVE:
                _above_average(n, slot, place, t, s, row, f, out)
            elif code == RATIO:
                for a in range(s.age.size):
                    if s.known[a]:
                        out[row, a, f] = _bounded(np.log(s.sigma[m, a] / s.sigma[slot, a]))
            elif code == VOLATILITY:
                _symbol_level(n, m, slot, place, t, s, row, f, out)
            elif code == TREND:
                _trend(n, m, place, t, s, row, f, out)
            elif code == DRAWDOWN:
                _drawdown(n, slot, place, t, s, row, f, out)
            elif code == RANGE:
                _range(ranges, n, slot, place, t, s, row, f, out)
            elif code == VOLUME:
                _volume(volume, n, place, t, s, row, f, out)
            elif code == RANK:
                _rank(gone, n, place, t, s, row, f, out)
            elif code == CALENDAR:
                for a in range(s.age.size):
                    if s.known[a]:
                        for j in range(4):
                            out[row, a, f + j] = clock[row, j]
            elif code == CUSTOM:
                for a in range(s.age.size):
                    if s.known[a]:
                        x = custom[row, a, n]
                        out[row, a, f] = x if np.isnan(x) else _bounded(x)
        s.bars[0] = t + 1


@_kernel
def _bounded(x):
    return min(max(x, -LARGEST), LARGEST)


@_kernel
def _take(logs, row, t, s):
    """Add the new log close to the ring buffer; in a gap the last one is repeated."""
    depth = s.logs.shape[0]
    now, before = t % depth, (t - 1) % depth
    for a in range(s.age.size):
        x = logs[row, a]
        if s.age[a] >= 0:
            s.age[a] += 1
        if not np.isnan(x):
            if s.age[a] < 0:
                s.age[a] = 0
                s.base[a] = x
            s.since[a] = 0
            s.logs[now, a] = x
        elif s.age[a] >= 0:
            s.since[a] += 1
            s.logs[now, a] = s.logs[before, a]


@_kernel
def _volatility(n, k, t, s):
    depth = s.logs.shape[0]
    now, before, old, older = t % depth, (t - 1) % depth, (t - n) % depth, (t - n - 1) % depth
    for a in range(s.age.size):
        if s.age[a] > 0:
            s.squares[k, a] += (s.logs[now, a] - s.logs[before, a]) ** 2
        if s.age[a] > n:
            s.squares[k, a] -= (s.logs[old, a] - s.logs[older, a]) ** 2
        s.sigma[k, a] = max(np.sqrt(max(s.squares[k, a], 0.0) / n), SMALLEST_VOLATILITY)


@_kernel
def _return(n, slot, t, s, row, f, out):
    depth = s.logs.shape[0]
    now, old, scale = t % depth, (t - n) % depth, np.sqrt(n)
    for a in range(s.age.size):
        if s.known[a]:
            out[row, a, f] = _bounded((s.logs[now, a] - s.logs[old, a]) / (s.sigma[slot, a] * scale))


@_kernel
def _above_average(n, slot, place, t, s, row, f, out):
    depth = s.logs.shape[0]
    now, old, scale = t % depth, (t - n) % depth, np.sqrt(n)
    for a in range(s.age.size):
        if s.age[a] >= 0:
            s.workspace[place, a] += s.logs[now, a] - s.base[a]
            if s.age[a] >= n:
                s.workspace[place, a] -= s.logs[old, a] - s.base[a]
        if s.known[a]:
            distance = s.logs[now, a] - s.base[a] - s.workspace[place, a] / n
            out[row, a, f] = _bounded(distance / (s.sigma[slot, a] * scale))


@_kernel
def _symbol_level(n, m, slot, place, t, s, row, f, out):
    """Log σ_n less its mean over m bars. Workspace: a sum, then a ring buffer of m."""
    ring = place + 1 + t % m
    for a in range(s.age.size):
        if s.age[a] >= n:
            level = np.log(s.sigma[slot, a])
            s.workspace[place, a] += level
            if s.age[a] >= n + m:
                s.workspace[place, a] -= s.workspace[ring, a]
            s.workspace[ring, a] = level
            if s.known[a]:
                out[row, a, f] = _bounded(level - s.workspace[place, a] / m)


@_kernel
def _slide(workspace, mean, squares, a, x, old, seen, n):
    """Update mean and sum of squared deviations of the last n values: `x` enters, `old` leaves (Welford 1962)."""
    before = workspace[mean, a]
    if seen <= n:
        workspace[mean, a] += (x - before) / seen
        workspace[squares, a] += (x - before) * (x - workspace[mean, a])
    else:
        workspace[mean, a] += (x - old) / n
        workspace[squares, a] += (x - old) * (x - workspace[mean, a] + old - before)


@_kernel
def _deviation(squares, n):
    return max(np.sqrt(max(squares, 0.0) / n), SMALLEST_VOLATILITY)


@_kernel
def _average(workspace, place, a, x, old, full, n):
    """Exponential average of decay 1 − 1/n over the last CUT · n values; if `full`, `old` is the value that leaves."""
    decay = 1 - 1 / n
    lost = decay ** (CUT * n)
    workspace[place, a] = decay * workspace[place, a] + x
    if full:
        workspace[place, a] -= lost * old
    return workspace[place, a] * (1 - decay) / (1 - lost)


@_kernel
def _trend(fast, slow, place, t, s, row, f, out):
    depth = s.logs.shape[0]
    now, old = t % depth, (t - PRICES) % depth
    old_fast, old_slow = (t - CUT * fast) % depth, (t - CUT * slow) % depth
    ring = place + TREND_ROWS + t % SIGNALS
    ready = max(CUT * slow, PRICES) - 1  # age of the first signal
    for a in range(s.age.size):
        age, base = s.age[a], s.base[a]
        if age < 0:
            continue
        x = s.logs[now, a] - base
        quick = _average(s.workspace, place + _FAST, a, x, s.logs[old_fast, a] - base, age >= CUT * fast, fast)
        steady = _average(s.workspace, place + _SLOW, a, x, s.logs[old_slow, a] - base, age >= CUT * slow, slow)
        _slide(s.workspace, place + _MEAN, place + _SQUARES, a, x, s.logs[old, a] - base, age + 1, PRICES)
        if age < ready:
            continue
        signal = (quick - steady) / _deviation(s.workspace[place + _SQUARES, a], PRICES)
        seen = age - ready + 1
        _slide(
            s.workspace, place + _SIGNAL_MEAN, place + _SIGNAL_SQUARES, a, signal, s.workspace[ring, a], seen, SIGNALS
        )
        s.workspace[ring, a] = signal
        if s.known[a]:
            out[row, a, f] = _bounded(signal / _deviation(s.workspace[place + _SIGNAL_SQUARES, a], SIGNALS))


@_kernel
def _drawdown(n, slot, place, t, s, row, f, out):
    depth = s.logs.shape[0]
    now, scale = t % depth, np.sqrt(n)
    for a in range(s.age.size):
        if s.age[a] < 0:
            continue
        peak = s.peaks[place, a]
        if s.age[a] == 0 or s.logs[now, a] >= s.logs[peak % depth, a]:
            peak = t
        elif peak <= t - n:  # the peak left the window: search for the new one
            peak = max(t - n + 1, t - s.age[a])
            for other in range(peak + 1, t + 1):
                if s.logs[other % depth, a] >= s.logs[peak % depth, a]:
                    peak = other
        s.peaks[place, a] = peak
        if s.known[a]:
            out[row, a, f] = _bounded((s.logs[now, a] - s.logs[peak % depth, a]) / (s.sigma[slot, a] * scale))


@_kernel
def _window_sum(workspace, place, a, x, age, n, t):
    """Sum of the last n values. Workspace: the sum, then a ring buffer of n."""
    ring = place + 1 + t % n
    workspace[place, a] += x
    if age >= n:
        workspace[place, a] -= workspace[ring, a]
    workspace[ring, a] = x
    return workspace[place, a]


@_kernel
def _range(ranges, n, slot, place, t, s, row, f, out):
    for a in range(s.age.size):
        if s.age[a] < 0:
            continue
        x = 0.0 if np.isnan(ranges[row, a]) else ranges[row, a]
        total = _window_sum(s.workspace, place, a, x, s.age[a], n, t)
        if s.known[a]:
            by_range = max(np.sqrt(max(total, 0.0) / (_PARKINSON * n)), SMALLEST_VOLATILITY)
            out[row, a, f] = _bounded(np.log(by_range / s.sigma[slot, a]))


@_kernel
def _volume(volume, n, place, t, s, row, f, out):
    for a in range(s.age.size):
        if s.age[a] < 0:
            continue
        x = 0.0 if np.isnan(volume[row, a]) else volume[row, a]
        usual = max(s.workspace[place, a], 0.0) / n
        _window_sum(s.workspace, place, a, x, s.age[a], n, t)
        if s.known[a]:
            ratio = x / usual if x > 0 else 0.0
            out[row, a, f] = _bounded(np.log(0.5 + 0.5 * ratio))


@_kernel
def _rank(gone, n, place, t, s, row, f, out):
    depth = s.logs.shape[0]
    now, old = t % depth, (t - n) % depth
    ranked = 0
    for a in range(s.age.size):
        there = s.age[a] >= n and s.since[a] <= STALE and not (gone.shape[0] > 0 and gone[row, a])
        s.workspace[place, a] = s.logs[now, a] - s.logs[old, a] if there else np.nan
        ranked += there
    for a in range(s.age.size):
        if s.known[a]:
            balance = 0  # symbols below less symbols above; ties cancel
            mine = s.workspace[place, a]
            for other in range(s.age.size):
                balance += int(s.workspace[place, other] < mine) - int(s.workspace[place, other] > mine)
            out[row, a, f] = balance / max(ranked - 1, 1)
