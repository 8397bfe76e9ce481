import numpy as np
import pandas as pd
import pytest
import samples

from markets import Bars, InputError, simulate
from strategies import BuyAndHold, DrawdownLimit, EqualWeight, KillSwitch


def moving(returns):
    close = 100 * np.cumprod(1 + np.asarray(returns, dtype=float))[:, None]
    return Bars.make(pd.bdate_range("2001-01-01", periods=len(close)), ["A"], close)


FALL = [0.0] * 5 + [-0.05] * 4 + [0.04] * 30  # down to −18.5 % at row 8


def test_it_is_out_beyond_the_limit_and_back_after_the_wait():
    bars = moving(FALL)
    equity = simulate(bars, EqualWeight().plan(bars), costs="0").equity[0]
    low = equity / np.maximum.accumulate(equity) - 1
    beyond = np.flatnonzero(low < -0.1)
    aim = DrawdownLimit(EqualWeight(), 0.1, wait=5, costs="0").plan(bars).aim[:, 0]
    out = np.flatnonzero(aim == 0)
    assert out.tolist() == list(range(beyond[0], beyond[-1] + 6))
    assert aim[out[-1] + 1 :].tolist() == [1] * (len(bars) - out[-1] - 1)


def test_the_highest_value_is_one_of_the_window():
    bars = moving([0.0] * 5 + [-0.2] + [0.0] * 40)  # it never recovers
    aim = DrawdownLimit(EqualWeight(), 0.1, wait=3, window=10, costs="0").plan(bars).aim[:, 0]
    # the last value before the fall is at row 4, and in the window up to row 13; then three bars more
    assert np.flatnonzero(aim == 0).tolist() == list(range(5, 14 + 3))


def test_an_account_loses_not_much_more_than_the_limit(bars):
    plain, limited = (
        simulate(bars, strategy.plan(bars)).equity[0]
        for strategy in (EqualWeight(), DrawdownLimit(EqualWeight(), 0.1, wait=400, window=1500))
    )
    deepest = [(equity / np.maximum.accumulate(equity) - 1).min() for equity in (plain, limited)]
    assert deepest[0] < -0.25
    assert deepest[1] > -0.14


def test_costs_of_the_paper_account_count():
    bars = moving([0.0] * 30)
    assert DrawdownLimit(EqualWeight(), 0.05, costs="0").plan(bars).aim.all()
    assert not DrawdownLimit(EqualWeight(), 0.05, costs="10%").plan(bars).aim[3:].any()


@pytest.mark.parametrize("strategy", [BuyAndHold(), EqualWeight()], ids=lambda s: s.name)
def test_what_was_sold_is_bought_back(strategy):
    bars = moving(FALL)
    plan = DrawdownLimit(strategy, 0.1, wait=3, costs="0").plan(bars)
    paths = simulate(bars, plan, costs="0")
    held = paths.shares[0][:, 0] * bars.close[:, 0] / paths.equity[0]
    out = np.flatnonzero(plan.aim[:, 0] == 0)
    assert held[out[0]] > 0.9
    assert not held[out[0] + 1 : out[-1] + 2].any()
    assert held[out[-1] + 2 :].min() > 0.9


def test_a_kill_is_for_good():
    bars = moving([*FALL, *[0.05] * 20])
    aim = KillSwitch(EqualWeight(), since="2001", largest=0.1, costs="0").plan(bars).aim[:, 0]
    first = int(np.flatnonzero(aim == 0)[0])
    equity = simulate(bars, EqualWeight().plan(bars), costs="0").equity[0]
    low = equity / np.maximum.accumulate(equity) - 1
    assert low[first] < -0.1 <= low[first - 1]
    assert not aim[first:].any()


def test_a_kill_is_not_for_what_happened_before():
    bars = moving([*FALL, *[0.01] * 20, -0.03, 0.0, 0.0])
    since = str(bars.index[15])
    calm = KillSwitch(EqualWeight(), since=since, largest=0.1).plan(bars).aim
    assert calm.all()
    strict = KillSwitch(EqualWeight(), since=since, largest=0.1, one_bar=0.025).plan(bars).aim[:, 0]
    assert np.flatnonzero(strict == 0).tolist() == [len(bars) - 3, len(bars) - 2, len(bars) - 1]
    for part in (bars[16:], bars[20:21], bars[-1:]):  # the same switch wherever the bars begin
        rows = bars.index.get_indexer(part.index)
        found = KillSwitch(EqualWeight(), since=since, largest=0.1, one_bar=0.025).plan(part).aim[:, 0]
        np.testing.assert_array_equal(found, strict[rows])
    assert KillSwitch(EqualWeight(), since="2010").plan(bars).aim.all()


def test_times_have_the_zone_of_the_bars():
    index = pd.date_range("2001-01-01", periods=60, tz="America/New_York")
    bars = samples.regime_bars(60, 2, seed=0)
    aware = Bars.make(index, bars.symbols, bars.close)
    assert KillSwitch(EqualWeight(), since="2001-02-01").plan(aware).aim.shape == (60, 2)
    assert KillSwitch(EqualWeight(), since="2001-02-01T00:00+01:00").plan(aware).aim.shape == (60, 2)


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        (lambda: DrawdownLimit(EqualWeight(), 1.0), "drawdown limit: largest is 1.0"),
        (lambda: DrawdownLimit(EqualWeight(), wait=0), "wait is 0"),
        (lambda: DrawdownLimit(EqualWeight(), costs="much"), "write 10bp"),
        (lambda: KillSwitch(EqualWeight()), "since when is the account traded"),
        (lambda: KillSwitch(EqualWeight(), since="soon"), "since 'soon' is not a time"),
        (lambda: KillSwitch(EqualWeight(), since="2001", one_bar=0), "one_bar is 0"),
    ],
)
def test_settings_are_checked(limit, message):
    with pytest.raises(InputError, match=message):
        limit()
