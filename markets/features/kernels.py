"""The numba kernels of `markets.features.parts`: one update per bar of all features, on a state of fixed size.

Whole panels, blocks of rows and live streams all run `fold`, over more or fewer bars at a time, so their results are
bit-identical. A composition of features is a small program: rows of (code, column, n, m, volatility slot, place),
interpreted bar by bar; each step is a loop over the symbols. A ring buffer holds the last log closes. Any other state of a
feature is in rows of `State.workspace`, starting at its `place`.

In the notation of the code, l is the log of the last known close, and the age of a symbol is the number of its own bars
since its first close. A gap is no bar of the symbol: its state stands still, and its features keep their values. Only a rank,
which moves with the others, the calendar, and series that do not depend on the symbol go on.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

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

    age: np.ndarray  # (A,) own bars since the first close; -1 before it
    at: np.ndarray  # (A,) row of the last close in the ring buffer of log closes
    traded: np.ndarray  # (A,) whether this bar is one of the symbol's own
    known: np.ndarray  # (A,) whether this bar's features are defined
    base: np.ndarray  # (A,) log of the first close; sums of l − base stay small, which keeps rounding errors small
    logs: np.ndarray  # (depth, A) ring buffer of l
    squares: np.ndarray  # (S, A) sum of squared returns over each volatility window
    sigma: np.ndarray  # (S, A) root mean square of these returns
    workspace: np.ndarray  # (R, A) sums, averages and ring buffers of the features
    peaks: np.ndarray  # (P, A) age at the highest close in the window of each drawdown


def make_state(symbols: int, depth: int, windows: int, rows: int, peaks: int) -> State:
    """The state before the first bar."""
    return State(
        age=np.full(symbols, -1),
        at=np.full(symbols, -1),
        traded=np.zeros(symbols, dtype=np.bool_),
        known=np.zeros(symbols, dtype=np.bool_),
        base=np.zeros(symbols),
        logs=np.zeros((depth, symbols)),
        squares=np.zeros((windows, symbols)),
        sigma=np.zeros((windows, symbols)),
        workspace=np.zeros((rows, symbols)),
        peaks=np.zeros((peaks, symbols), dtype=np.int64),
    )


@_kernel
def fold(logs, ranges, volume, clock, custom, listed, steps, windows, lookback, s, out):
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
        Values of features by function.
    listed : ndarray of bool, shape (T, A)
    steps : ndarray of int, shape (P, 6)
        Code, column, n, m, volatility slot, place.
    windows : ndarray of int, shape (S,)
        Lengths of the volatility windows.
    lookback : int
        Own bars before a symbol's first row of features.
    s : State
        Updated in place.
    out : ndarray of shape (T or 0, A, F)
        Output.
    """
    wanted = out.shape[0] > 0
    for row in range(logs.shape[0]):
        _take(logs, row, s)
        for k in range(windows.size):
            _volatility(windows[k], k, s)
        for a in range(s.age.size):
            s.known[a] = wanted and listed[row, a] and s.age[a] >= lookback
            if wanted and not s.known[a]:
                for f in range(out.shape[2]):
                    out[row, a, f] = np.nan
        for k in range(steps.shape[0]):
            code, f, n, m, slot, place = steps[k, 0], steps[k, 1], steps[k, 2], steps[k, 3], steps[k, 4], steps[k, 5]
            if code == RETURN:
                _return(n, slot, s, row, f, out)
            elif code == ABOVE:
                _above_average(n, slot, place, s, row, f, out)
            elif code == RATIO:
                for a in range(s.age.size):
                    if s.known[a]:
                        out[row, a, f] = _bounded(np.log(s.sigma[m, a] / s.sigma[slot, a]))
            elif code == VOLATILITY:
                _symbol_level(n, m, slot, place, s, row, f, out)
            elif code == TREND:
                _trend(n, m, place, s, row, f, out)
            elif code == DRAWDOWN:
                _drawdown(n, slot, place, s, row, f, out)
            elif code == RANGE:
                _range(ranges, n, slot, place, s, row, f, out)
            elif code == VOLUME:
                _volume(volume, n, place, s, row, f, out)
            elif code == RANK:
                _rank(listed, n, place, s, row, f, out)
            elif code == CALENDAR:
                for a in range(s.age.size):
                    if s.known[a]:
                        for j in range(4):
                            out[row, a, f + j] = clock[row, j]
            elif code == CUSTOM:
                _custom(custom, n, m, place, s, row, f, out)


@_kernel
def _bounded(x):
    return min(max(x, -LARGEST), LARGEST)


@_kernel
def _before(at, back, depth):
    """Row of a ring buffer `back` rows before row `at`; a comparison is faster than a remainder."""
    return at - back if at >= back else at - back + depth


@_kernel
def _take(logs, row, s):
    """Add the new log closes to the ring buffer."""
    depth = s.logs.shape[0]
    for a in range(s.age.size):
        x = logs[row, a]
        s.traded[a] = not np.isnan(x)
        if s.traded[a]:
            if s.age[a] < 0:
                s.base[a] = x
            s.age[a] += 1
            s.at[a] = s.at[a] + 1 if s.at[a] + 1 < depth else 0
            s.logs[s.at[a], a] = x


@_kernel
def _volatility(n, k, s):
    depth = s.logs.shape[0]
    for a in range(s.age.size):
        if s.traded[a]:
            now = s.at[a]
            if s.age[a] > 0:
                s.squares[k, a] += (s.logs[now, a] - s.logs[_before(now, 1, depth), a]) ** 2
            if s.age[a] > n:
                old = _before(now, n, depth)
                s.squares[k, a] -= (s.logs[old, a] - s.logs[_before(old, 1, depth), a]) ** 2
            s.sigma[k, a] = max(np.sqrt(max(s.squares[k, a], 0.0) / n), SMALLEST_VOLATILITY)


@_kernel
def _return(n, slot, s, row, f, out):
    depth, scale = s.logs.shape[0], np.sqrt(n)
    for a in range(s.age.size):
        if s.known[a]:
            now = s.at[a]
            move = s.logs[now, a] - s.logs[_before(now, n, depth), a]
            out[row, a, f] = _bounded(move / (s.sigma[slot, a] * scale))


@_kernel
def _above_average(n, slot, place, s, row, f, out):
    depth, scale = s.logs.shape[0], np.sqrt(n)
    for a in range(s.age.size):
        now = s.at[a]
        if s.traded[a]:
            s.workspace[place, a] += s.logs[now, a] - s.base[a]
            if s.age[a] >= n:
                s.workspace[place, a] -= s.logs[_before(now, n, depth), a] - s.base[a]
        if s.known[a]:
            distance = s.logs[now, a] - s.base[a] - s.workspace[place, a] / n
            out[row, a, f] = _bounded(distance / (s.sigma[slot, a] * scale))


@_kernel
def _symbol_level(n, m, slot, place, s, row, f, out):
    """Log σ_n less its mean over m bars. Workspace: a sum, then a ring buffer of m."""
    for a in range(s.age.size):
        if s.age[a] >= n:
            level = np.log(s.sigma[slot, a])
            if s.traded[a]:
                ring = place + 1 + s.age[a] % m
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
def _average(workspace, place, a, x, old, full, n, lost):
    """Exponential average of decay 1 − 1/n over the last CUT · n values; if `full`, `old` is the value that leaves."""
    decay = 1 - 1 / n
    workspace[place, a] = decay * workspace[place, a] + x
    if full:
        workspace[place, a] -= lost * old
    return workspace[place, a] * (1 - decay) / (1 - lost)


@_kernel
def _trend(fast, slow, place, s, row, f, out):
    depth = s.logs.shape[0]
    lost_fast, lost_slow = (1 - 1 / fast) ** (CUT * fast), (1 - 1 / slow) ** (CUT * slow)
    ready = max(CUT * slow, PRICES) - 1  # age of the first signal
    for a in range(s.age.size):
        age, base, now = s.age[a], s.base[a], s.at[a]
        if s.traded[a]:
            x = s.logs[now, a] - base
            old = s.logs[_before(now, CUT * fast, depth), a] - base
            quick = _average(s.workspace, place + _FAST, a, x, old, age >= CUT * fast, fast, lost_fast)
            old = s.logs[_before(now, CUT * slow, depth), a] - base
            steady = _average(s.workspace, place + _SLOW, a, x, old, age >= CUT * slow, slow, lost_slow)
            old = s.logs[_before(now, PRICES, depth), a] - base
            _slide(s.workspace, place + _MEAN, place + _SQUARES, a, x, old, age + 1, PRICES)
            if age >= ready:
                ring, seen = place + TREND_ROWS + age % SIGNALS, age - ready + 1
                signal = (quick - steady) / _deviation(s.workspace[place + _SQUARES, a], PRICES)
                old = s.workspace[ring, a]
                _slide(s.workspace, place + _SIGNAL_MEAN, place + _SIGNAL_SQUARES, a, signal, old, seen, SIGNALS)
                s.workspace[ring, a] = signal
        if s.known[a]:
            signal = s.workspace[place + TREND_ROWS + age % SIGNALS, a]
            out[row, a, f] = _bounded(signal / _deviation(s.workspace[place + _SIGNAL_SQUARES, a], SIGNALS))


@_kernel
def _drawdown(n, slot, place, s, row, f, out):
    depth, scale = s.logs.shape[0], np.sqrt(n)
    for a in range(s.age.size):
        if s.age[a] < 0:
            continue
        age, now, peak = s.age[a], s.at[a], s.peaks[place, a]
        if s.traded[a]:
            if age == 0 or s.logs[now, a] >= s.logs[_before(now, age - peak, depth), a]:
                peak = age
            elif peak <= age - n:  # the peak left the window: search for the new one
                peak = max(age - n + 1, 0)
                for other in range(peak + 1, age + 1):
                    if s.logs[_before(now, age - other, depth), a] >= s.logs[_before(now, age - peak, depth), a]:
                        peak = other
            s.peaks[place, a] = peak
        if s.known[a]:
            fall = s.logs[now, a] - s.logs[_before(now, age - peak, depth), a]
            out[row, a, f] = _bounded(fall / (s.sigma[slot, a] * scale))


@_kernel
def _window_sum(workspace, place, a, x, age, n):
    """Sum of the last n values. Workspace: the sum, then a ring buffer of n."""
    ring = place + 1 + age % n
    workspace[place, a] += x
    if age >= n:
        workspace[place, a] -= workspace[ring, a]
    workspace[ring, a] = x


@_kernel
def _range(ranges, n, slot, place, s, row, f, out):
    for a in range(s.age.size):
        if s.traded[a]:
            x = 0.0 if np.isnan(ranges[row, a]) else ranges[row, a]
            _window_sum(s.workspace, place, a, x, s.age[a], n)
        if s.known[a]:
            total = max(s.workspace[place, a], 0.0)
            by_range = max(np.sqrt(total / (_PARKINSON * n)), SMALLEST_VOLATILITY)
            out[row, a, f] = _bounded(np.log(by_range / s.sigma[slot, a]))


@_kernel
def _volume(volume, n, place, s, row, f, out):
    """Workspace: the last ratio, then the sum and the ring buffer of `_window_sum`."""
    for a in range(s.age.size):
        if s.traded[a]:
            x = 0.0 if np.isnan(volume[row, a]) else volume[row, a]
            usual = max(s.workspace[place + 1, a], 0.0) / n
            _window_sum(s.workspace, place + 1, a, x, s.age[a], n)
            s.workspace[place, a] = x / usual if x > 0 else 0.0
        if s.known[a]:
            out[row, a, f] = _bounded(np.log(0.5 + 0.5 * s.workspace[place, a]))


@_kernel
def _rank(listed, n, place, s, row, f, out):
    depth, ranked = s.logs.shape[0], 0
    for a in range(s.age.size):
        there = s.age[a] >= n and listed[row, a]
        now = s.at[a]
        s.workspace[place, a] = s.logs[now, a] - s.logs[_before(now, n, depth), a] if there else np.nan
        ranked += there
    for a in range(s.age.size):
        if s.known[a]:
            balance = 0  # symbols below less symbols above; ties cancel
            mine = s.workspace[place, a]
            for other in range(s.age.size):
                balance += int(s.workspace[place, other] < mine) - int(s.workspace[place, other] > mine)
            out[row, a, f] = balance / max(ranked - 1, 1)


@_kernel
def _custom(custom, n, follows, place, s, row, f, out):
    """A value by function; in a gap the last one, unless the feature `follows` something else than the symbol."""
    for a in range(s.age.size):
        x = custom[row, a, n]
        if s.traded[a] or (follows and not np.isnan(x)):
            s.workspace[place, a] = x if np.isnan(x) else _bounded(x)
        if s.known[a]:
            out[row, a, f] = s.workspace[place, a]
