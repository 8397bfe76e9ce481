"""`TrendFollowing`: time-series momentum, long and short, with the same risk in every symbol."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from markets import Bars, InputError, Plan
from markets.bars.traded import TradedBars
from strategies.rules.refitted import moving
from strategies.strategy import Strategy

_CUT = 6  # averages are cut off after this many halflives, so that each row depends on a fixed number of past bars
_YEAR = 365.25 * 86_400e6  # microseconds


class TrendFollowing(Strategy):
    """Long what rose and short what fell, over several windows, each symbol scaled to the same volatility (Moskowitz, Ooi and
    Pedersen, "Time series momentum", Journal of Financial Economics 2012, with one window of a year; Hurst, Ooi and Pedersen, "A
    century of evidence on trend-following investing", Journal of Portfolio Management 2017, with 1, 3 and 12 months)::

        aim_i = s_i · target / (σ_i N),   s_i = mean over windows w of sign(P_t / P_{t−w} − 1)

    with N the number of symbols that have a σ. σ is a symbol's volatility per year, from log returns r and the time Δ between its
    own bars, with weights that halve every `halflife` bars and are cut off after six of them::

        σ² = Σ_k λ^k r_{t−k}² / Σ_k λ^k Δ_{t−k},   λ = 2^(−1 / halflife)

    A row of more than the `gross` weight is scaled down to it. If the symbols were uncorrelated, the volatility of the book
    would be ``target / sqrt(N)`` at most; for a volatility of the book wrap it in `VolatilityTarget`. Windows are of a symbol's
    own bars; one that has fewer has a sign of 0, and in a gap it keeps what it had. Symbols without `halflife` returns, and those
    of less than a hundredth of the median volatility, which are fixed to something, are not held. Short positions need an
    account that allows them.

    Parameters
    ----------
    windows : sequence of int
        Bars, each at least 1.
    halflife : int
        Of the volatility, in bars; at least 2.
    target : float
        Volatility per year that the account would have with all of it in one symbol at full signal, above 0. Moskowitz, Ooi and
        Pedersen have 0.4, for which an account must borrow.
    gross : float
        Largest sum of absolute weights, above 0.
    band : float
        Half-width of the no-trade zone, as a fraction of the weight of a full signal, from 0 to below 1, where nothing would ever
        be entered: it leaves small changes of volatility alone.

    Raises
    ------
    InputError
        When a setting is out of range.
    """

    def __init__(
        self,
        windows: Sequence[int] = (21, 63, 126, 252),
        halflife: int = 63,
        target: float = 0.1,
        gross: float = 1.0,
        band: float = 0.0,
    ):
        self.name = f"trend following {'/'.join(str(window) for window in windows)}"
        if not windows or min(windows) < 1 or halflife < 2:
            raise InputError(
                f"trend following: windows are {tuple(windows)} and halflife is {halflife}; give windows of at least 1 bar, and "
                "a halflife of at least 2"
            )
        if not (0 < target < np.inf and gross > 0 and 0 <= band < 1):
            raise InputError(
                f"trend following: target is {target}, gross {gross} and band {band}; the first two must be above 0, and the "
                "band from 0 to below 1"
            )
        self.windows, self.halflife = tuple(windows), halflife
        self.target, self.gross, self.band = target, gross, band
        self.warmup = max(*windows, _CUT * halflife)

    def plan(self, bars: Bars) -> Plan:
        held = bars.with_past()
        traded = TradedBars(held.close)
        close = traded.packed(held.close)
        volatility = traded.unpacked(self._volatility(close, traded.packed(_times(held))))[bars.past :]
        signal = traded.unpacked(np.mean([_signs(close, window) for window in self.windows], axis=0))[bars.past :]
        known = bars.listed & moving(np.where(bars.listed, volatility, np.nan))
        count = np.maximum(known.sum(axis=1, keepdims=True), 1)
        full = np.divide(self.target / count, volatility, out=np.zeros(bars.shape), where=known)
        aim = full * np.where(known, signal, 0.0)
        factor = np.minimum(1.0, self.gross / np.maximum(np.abs(aim).sum(axis=1, keepdims=True), 1e-300))
        return Plan(aim * factor, self.band * full * factor if self.band else None)

    def _volatility(self, close: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Volatility per year on own bars; NaN before `halflife` returns. Arguments are as `TradedBars.packed` has them."""
        squares, years = np.zeros(close.shape), np.zeros(close.shape)
        squares[1:] = np.diff(np.log(close), axis=0) ** 2
        years[1:] = np.diff(times, axis=0) / _YEAR
        length = _CUT * self.halflife
        with np.errstate(invalid="ignore", divide="ignore"):
            found = np.sqrt(decayed(squares, self.halflife, length) / decayed(years, self.halflife, length))
        found[: self.halflife] = np.nan
        return found


def decayed(values: np.ndarray, halflife: float, length: int) -> np.ndarray:
    """Sums over the last `length` rows with weights that halve every `halflife` rows, shape (T, A)::

        S_t = Σ_{k < length} 2^(−k / halflife) x_{t−k}

    They are put together from sums over powers of two, ``S^2m_t = S^m_t + 2^(−m / halflife) S^m_{t−m}``. So it takes
    log2(length) additions, and the rounding of a row depends on the rows that it sums alone.
    """
    total, begin, power = np.zeros(values.shape), 0, values
    for k in range(length.bit_length()):
        step = 1 << k
        if length & step:
            total[begin:] += 0.5 ** (begin / halflife) * power[: max(len(power) - begin, 0)]
            begin += step
        longer = power.copy()
        longer[step:] += 0.5 ** (step / halflife) * power[: max(len(power) - step, 0)]
        power = longer
    return total


def _signs(close: np.ndarray, window: int) -> np.ndarray:
    """Sign of the return over `window` own bars; 0 where there are fewer."""
    sign = np.zeros(close.shape)
    sign[window:] = np.nan_to_num(np.sign(close[window:] - close[:-window]))
    return sign


def _times(held: Bars) -> np.ndarray:
    """Times of the rows in microseconds, for each symbol, shape (T, A); exact, so that differences are."""
    index = held.index.as_unit("us").asi8.astype(np.float64)
    return np.repeat(index[:, None], held.shape[1], axis=1)
