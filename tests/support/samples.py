"""Synthetic bars for tests."""

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from markets import Bars, Costs, Execution


def regime_bars(length: int, symbols: int, seed: int, volume: bool = False) -> Bars:
    """Alternating calm and volatile regimes; closes only, unless `volume` is True."""
    rng = np.random.default_rng(seed)
    wild = (np.arange(length) // 110) % 3 == 2
    scale = np.where(wild, 0.025, 0.008)[:, None]
    returns = 0.0004 + scale * (0.6 * rng.standard_normal((length, 1)) + 0.8 * rng.standard_normal((length, symbols)))
    close = 50 * np.exp(np.cumsum(returns, axis=0))
    index = pd.bdate_range("2001-01-01", periods=length)
    names = [f"S{i}" for i in range(symbols)]
    extra = {"volume": rng.uniform(1e4, 1e6, close.shape)} if volume else {}
    return Bars.make(index, names, close, name="synthetic", **extra)


def uncorrelated_bars(volatility: np.ndarray, days: int = 300, mean: float | np.ndarray = 0.0) -> Bars:
    """Returns that are sines, which are exactly uncorrelated over their common period of `days`."""
    t = np.arange(days)
    waves = np.column_stack([np.sqrt(2) * np.sin(2 * np.pi * (k + 1) * t / days) for k in range(len(volatility))])
    close = 100 * np.vstack([np.ones(len(volatility)), np.cumprod(1 + waves * volatility + mean, axis=0)])
    names = [f"S{i}" for i in range(len(volatility))]
    return Bars.make(pd.bdate_range("2001-01-01", periods=days + 1), names, close)


def gappy_bars(
    rng: np.random.Generator,
    length: int,
    symbols: int,
    volatility: float = 0.05,
    delist: bool = False,
    quotes: float | None = None,
) -> Bars:
    """OHLCV with gaps, a late listing, sometimes an untradable symbol, and with `delist` a delisted one.

    With `quotes`, spreads are quoted up to it: not on all bars, of one symbol late, and sometimes of none on the first bar.
    """
    close = 50 * np.exp(np.cumsum(rng.normal(0, volatility, (length, symbols)), axis=0))
    open_ = close * np.exp(rng.normal(0, volatility / 3, close.shape))
    high, low = np.maximum(open_, close) * 1.001, np.minimum(open_, close) * 0.999
    gap = rng.random(close.shape) < 0.12
    gap[: rng.integers(0, length), rng.integers(0, symbols)] = True
    gap[-1] = False  # every symbol has a close
    fields = [np.where(gap, np.nan, x) for x in (open_, high, low, close)]
    fields[0][rng.random(close.shape) < 0.03] = np.nan
    index = pd.date_range("2020-01-01", periods=length, freq="D")
    volume = rng.uniform(1e3, 1e5, close.shape)
    spread = None if quotes is None else rng.uniform(0, quotes, close.shape)
    if spread is not None:
        spread[rng.random(close.shape) < 0.2] = np.nan
        spread[: rng.integers(0, 2), :] = np.nan
        spread[: rng.integers(0, length), rng.integers(0, symbols)] = np.nan
        spread[1, rng.integers(0, symbols)] = quotes  # two bars are enough to have a quote
    open_, high, low, close = fields
    names, delisted = [f"S{i}" for i in range(symbols)], {}
    if delist:
        last, gone = rng.integers(1, length), rng.integers(0, symbols)
        for field in (open_, high, low, close):
            field[last:, gone] = np.nan
        close[0, gone] = 50.0  # it traded once
        high[0, gone] = low[0, gone] = np.nan
        delisted = {names[gone]: index[last]}
    return Bars.make(
        index, names, close, open=open_, high=high, low=low, volume=volume, spread=spread, delisted=delisted
    )


def with_empty_rows(bars: Bars, rng: np.random.Generator) -> tuple[Bars, np.ndarray]:
    """The bars with rows put between them on which no symbol trades, and where the rows of `bars` are among them."""
    between = rng.integers(0, 4, len(bars))  # empty rows before each bar
    at = np.cumsum(between) + np.arange(len(bars))
    length = at[-1] + 1 + rng.integers(0, 4)
    ticks = np.interp(np.arange(length), at, bars.index.as_unit("us").asi8)
    index = pd.DatetimeIndex(pd.to_datetime(ticks.astype(np.int64), unit="us"))
    step = pd.Timedelta("1min")  # `interp` is flat beyond its ends
    head, tail = index[: at[0]], index[at[-1] + 1 :]
    index = (
        (head - step * np.arange(len(head), 0, -1))
        .append(index[at[0] : at[-1] + 1])
        .append(tail + step * np.arange(1, len(tail) + 1))
    )
    fields = {}
    for name, values in bars.fields.items():
        fields[name] = np.full((length, bars.shape[1]), np.nan)
        fields[name][at] = values
    tradable = np.zeros((length, bars.shape[1]), dtype=bool)
    tradable[at] = bars.tradable
    return Bars.make(index, bars.symbols, tradable=tradable, delisted=bars.delisted_from, **fields), at


def coin_and_stocks(days: int, stocks: int, seed: int = 0) -> Bars:
    """A coin that trades every day beside stocks with weekends, in alternating calm and volatile regimes."""
    index = pd.date_range("2001-01-01", periods=days)
    week = regime_bars(days, stocks, seed).close
    closed = index.day_of_week >= 5
    close = np.full((days, stocks), np.nan)
    close[~closed] = week[: (~closed).sum()]
    coin = 100 * np.exp(np.random.default_rng(seed + 1).normal(0, 0.03, days).cumsum())
    return Bars.make(index, [*(f"S{i}" for i in range(stocks)), "coin"], np.column_stack([close, coin]))


@st.composite
def cases(draw, sizings=("pre_fee", "post_fee"), paths=3):
    """(bars, costs, execution, aim, band, rate): any input that the account must handle."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    length, symbols = draw(st.integers(3, 12)), draw(st.integers(1, 5))
    quoted = draw(st.sampled_from([0.0, 0.0, 1.0, 0.5]))
    volatility, delist = draw(st.sampled_from([0.01, 0.05, 0.3])), draw(st.booleans())
    bars = gappy_bars(rng, length, symbols, volatility, delist, 0.02 if quoted else None)

    def either(*values):
        return draw(st.sampled_from(values))

    sizing = either(*sizings)
    costs = Costs(
        commission=either(0.0, 0.002),
        sell_tax=either(0.0, 0.001),
        fixed=either(0.0, 0.5, 40.0),
        spread=either(0.0, 0.001),
        quoted=quoted,
        impact=either(0.0, 0.3),
        quadratic=either(0.0, 0.05, 2.0) if sizing in ("pre_fee", "post_fee") else 0.0,
        cash_rate=either(0.0, 0.05),
        financing_rate=0.1,
        borrow_rate=either(0.0, 0.1),
    )
    maintenance = either(0.0, 0.0, 0.4)
    execution = Execution(
        fill=either("next_open", "next_close", "same_close"),
        sizing=sizing,
        lot=either(1.0, 10.0),
        cash=1e4,
        borrowing=either(True, False),
        shortfall=either("pro_rata", "smallest_first"),
        long_only=either(True, False),
        max_weight=either(0.4, np.inf),
        gross=either(1.0, 2.5, np.inf),
        net=either(0.3, np.inf),
        turnover=np.inf if maintenance else either(0.3, np.inf),
        maintenance=maintenance,
    )
    shape = (draw(st.integers(1, paths)), length, symbols)
    aim = rng.normal(0, either(0.3, 1.0), shape)
    aim[rng.random(shape) < 0.1] = 0.0
    band, rate = rng.uniform(0, 0.2, shape), rng.uniform(0.1, 1, shape)
    band[rng.random(shape) < 0.3] = 0.0  # with an aim of 0 the plan may ask for exactly what is held
    rate[rng.random(shape) < 0.1] = 0.0
    return bars, costs, execution, aim, band, rate
