"""What every strategy must keep to: a row of its plan is the same whatever comes later, and wherever the bars begin to show."""

import numpy as np
import samples

from markets import Bars
from strategies import Plan, Strategy


def parts(plan: Plan) -> dict[str, np.ndarray]:
    return {name: part for name in ("aim", "band", "rate") if (part := getattr(plan, name)) is not None}


def same(found: Plan, expected: Plan) -> None:
    assert parts(found).keys() == parts(expected).keys()
    for name, part in parts(expected).items():
        np.testing.assert_array_equal(getattr(found, name), part, err_msg=name)


def whatever_comes_later(strategy: Strategy, seed: int, t: int, length: int = 60, symbols: int = 3) -> None:
    """Rows up to t are bit-identical with later bars cut off, and with others in their place."""
    rng = np.random.default_rng(seed)
    bars, later = samples.gappy_bars(rng, length, symbols), samples.gappy_bars(rng, length, symbols)
    close, mask = later.close.copy(), later.tradable.copy()
    close[: t + 1], mask[: t + 1] = bars.close[: t + 1], bars.tradable[: t + 1]
    closes = Bars.make(bars.index, bars.symbols, bars.close, tradable=bars.tradable)
    whole = strategy.plan(closes)[: t + 1]
    same(strategy.plan(closes[: t + 1]), whole)
    same(strategy.plan(Bars.make(bars.index, bars.symbols, close, tradable=mask))[: t + 1], whole)


def wherever_bars_begin(strategy: Strategy, bars: Bars, first: int, last: int) -> None:
    """Rows of a slice, which holds its past, are those of the whole."""
    same(strategy.plan(bars[first:last]), strategy.plan(bars)[first:last])


def rows_without_trades_change_nothing(strategy: Strategy, seed: int, length: int = 60, symbols: int = 3) -> None:
    """Rows on which no symbol has a close change no weight on others, and keep the weights before them."""
    rng = np.random.default_rng(seed)
    bars = samples.gappy_bars(rng, length, symbols)
    bars = Bars.make(bars.index, bars.symbols, bars.close, tradable=bars.tradable)
    more, at = samples.with_empty_rows(bars, rng)
    whole, found = strategy.plan(bars), strategy.plan(more)
    np.testing.assert_array_equal(found.aim[at], whole.aim)
    for t in range(at[0] + 1, len(more)):
        if t not in at:
            np.testing.assert_array_equal(found.aim[t], found.aim[t - 1])
