import numpy as np
import pandas as pd
import pytest
import samples

from backtests.robustness import Case, check_warm_up
from markets import Bars, InputError
from strategies import Blend, EqualWeight, InverseVolatility, Momentum, Plan, ResidualMomentum, Strategy


class ExpandingMean(Strategy):
    """Weight by how far the price is above the mean of all bars so far, which it says needs 50."""

    name, warmup = "expanding mean", 50

    def plan(self, bars: Bars) -> Plan:
        close = pd.DataFrame(bars.with_past().close)
        return Plan(np.tanh(close / close.expanding().mean() - 1).to_numpy()[bars.past :] / bars.shape[1])


class Smoothed(Strategy):
    """A recursive average: it forgets, but not as fast as its warm-up says."""

    name, warmup = "smoothed", 20

    def plan(self, bars: Bars) -> Plan:
        close = pd.DataFrame(bars.with_past().close)
        return Plan(np.tanh(close / close.ewm(span=20, adjust=False).mean() - 1).to_numpy()[bars.past :])


class Short(Strategy):
    """Reads 90 bars and declares 30."""

    name, warmup = "short", 30

    def plan(self, bars: Bars) -> Plan:
        change = pd.DataFrame(bars.with_past().close).pct_change(90).fillna(0.0)
        return Plan(np.tanh(change).to_numpy()[bars.past :] / bars.shape[1])


class VisibleOnly(Strategy):
    """Reads the visible rows alone: where a backtest starts, it is cold."""

    name, warmup = "visible only", 10

    def plan(self, bars: Bars) -> Plan:
        mean = pd.DataFrame(bars.close).expanding().mean().to_numpy()
        return Plan((bars.close > mean) / bars.shape[1])


@pytest.mark.parametrize(
    "strategy",
    [
        EqualWeight(),
        Momentum(60),
        InverseVolatility(40),
        ResidualMomentum(60),
        Blend([Momentum(30), InverseVolatility(20)]),
    ],
    ids=lambda s: s.name,
)
def test_rules_decide_the_same_from_their_warm_up_on(bars, strategy):
    section = check_warm_up(Case(strategy, bars))
    assert section.table["size"].max() < 1e-12
    assert f"the same decisions from {max(strategy.warmup, 1)} bar" in section.finding


def test_rules_do_so_with_gaps_too():
    for seed in range(6):
        bars = samples.gappy_bars(np.random.default_rng(seed), 400, 4)
        for strategy in (Momentum(20), InverseVolatility(20)):
            assert check_warm_up(Case(strategy, bars)).table["size"].max() < 1e-9


def test_a_strategy_that_depends_on_its_first_bar_is_caught(bars):
    section = check_warm_up(Case(ExpandingMean(), bars))
    worst = section.table.iloc[0]
    assert section.finding.startswith(f"expanding mean: its aim of {worst['symbol']} at {worst['time']} is")
    assert "it declares a warm-up of 50 bars, and no warm-up within the 1,480 bars" in section.finding
    assert "it depends on its first bar" in section.finding
    # the size is that of the two means
    row = list(map(str, bars.index.strftime("%Y-%m-%d"))).index(worst["time"])
    column = bars.symbols.index(worst["symbol"])
    price = bars.close[row, column]
    short, full = (np.tanh(price / bars.close[first : row + 1, column].mean() - 1) / 3 for first in (1430, 0))
    assert worst["size"] == pytest.approx(abs(short - full), rel=1e-9)
    assert (worst["value"], worst["whole"]) == (pytest.approx(short), pytest.approx(full))
    assert section.draw().data


def test_the_warm_up_that_would_be_needed_is_found(bars):
    section = check_warm_up(Case(Short(), bars))
    assert "it declares a warm-up of 30 bars, and a warm-up of 90 bars would be needed" in section.finding


def test_a_recursive_average_needs_what_its_decay_says(bars):
    section = check_warm_up(Case(Smoothed(), bars), tolerance=1e-6)
    needed = int(section.finding.split("a warm-up of ")[-1].split(" bars would")[0])
    # the weight of what lies before falls by 19/21 per bar; the first difference is of the size of the price's own moves
    assert np.log(1e-6 / 0.2) / np.log(19 / 21) - 40 < needed < np.log(1e-6 / 0.2) / np.log(19 / 21) + 40


def test_a_rule_that_reads_the_visible_rows_alone_is_caught(bars):
    section = check_warm_up(Case(VisibleOnly(), bars))
    assert section.table["before"].iloc[-1] == "rows"
    assert "depends on its first bar" in section.finding


def test_what_adapts_is_adapted_once(bars, meta):
    section = check_warm_up(Case(meta, bars))
    assert section.table["size"].max() < 1e-6
    assert "the same decisions" in section.finding


def test_too_few_bars_to_start_from(bars):
    with pytest.raises(InputError, match="70 bars are too few to plan 20 rows from several starts beyond 60 bars"):
        check_warm_up(Case(Momentum(60), bars[:70]))
