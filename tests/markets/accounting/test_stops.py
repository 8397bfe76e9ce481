"""Stop-loss, take-profit and trailing stop in the account: worked values, and identities that hold for any plan."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import samples
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from markets import Bars, Costs, Execution, InputError, Ledger, Plan, simulate
from markets.accounting.differentiable import TensorPlan, equity_paths, equity_paths_reference
from markets.accounting.market import make_market
from markets.accounting.stops import STOP_LOSS, TAKE_PROFIT, TRAILING_STOP

FREE = Costs()
RICH = Execution(cash=1000, borrowing=True, gross=10)
CALM = (100, 101, 99, 100)  # open, high, low, close


def ohlc(*rows, index=None):
    """One symbol: (open, high, low, close) of each bar."""
    values = np.array(rows, dtype=float)
    index = pd.date_range("2020-01-01", periods=len(values)) if index is None else index
    open_, high, low, close = (values[:, k : k + 1] for k in range(4))
    return Bars.make(index, ["X"], close, open=open_, high=high, low=low)


def closes(*values):
    return Bars.make(pd.date_range("2020-01-01", periods=len(values)), ["X"], np.array(values, dtype=float)[:, None])


def held(aim, **stops):
    """A plan of one symbol that trades only where its aim changes; stops are numbers or a number per bar."""
    aim = np.array(aim, dtype=float)[:, None]
    band = np.where(np.diff(aim, axis=0, prepend=0) != 0, 0.0, np.inf)
    levels = {name: np.broadcast_to(np.reshape(level, (-1, 1)), aim.shape) for name, level in stops.items()}
    return Plan(aim, band, **levels)


def run(bars, plan, costs=FREE, execution=RICH):
    return simulate(bars, plan, costs=costs, execution=execution, orders=True)


def exits(paths):
    """(bar, before or after the fill, price, kind) of each stop of the first symbol."""
    where = np.argwhere(paths.stop_kind[0, :, :, 0])
    return [
        (t, after, paths.stop_price[0, t, after, 0], int(paths.stop_kind[0, t, after, 0]))
        for t, after in where.tolist()
    ]


def test_a_stop_fills_at_its_level_by_hand():
    bars = ohlc(CALM, CALM, (98, 99, 88, 91), CALM)
    paths = run(bars, held([1, 1, 1, 1], stop_loss=0.1), Costs(commission=0.001))
    assert exits(paths) == [(2, 1, pytest.approx(90), STOP_LOSS)]
    assert paths.shares[0, :, 0].tolist() == [0, 10, 0, 0]
    assert paths.cost[0].tolist() == pytest.approx([0, 1, 0.9, 0])
    assert paths.traded[0].tolist() == pytest.approx([0, 1000, 900, 0])
    assert paths.equity[0].tolist() == pytest.approx([1000, 999, 898.1, 898.1])
    assert paths.cash[0, 2] == pytest.approx(898.1)


def test_a_gap_through_the_stop_fills_at_the_open():
    bars = ohlc(CALM, CALM, (85, 99, 84, 91))
    paths = run(bars, held([1, 1, 1], stop_loss=0.1))
    assert exits(paths) == [(2, 0, 85, STOP_LOSS)]
    assert paths.equity[0, 2] == pytest.approx(850)


def test_a_gap_through_the_stop_comes_before_the_order_of_the_same_open():
    """The plan would buy more at the lower open: it has an order neither to buy nor to sell again what was bought."""
    bars = ohlc(CALM, CALM, (85, 99, 84, 91), CALM)
    plan = Plan(np.full((4, 1), 0.5), stop_loss=np.full((4, 1), 0.1))
    paths = run(bars, plan, Costs(commission=0.001))
    assert paths.orders[0, :, 0].tolist() == [0, 500, 0, 0]
    assert paths.traded[0].tolist() == pytest.approx([0, 500, 425, 0])


def test_a_position_can_be_stopped_in_the_bar_that_opens_it():
    paths = run(ohlc(CALM, (100, 101, 88, 95), CALM), held([1, 1, 1], stop_loss=0.1))
    assert exits(paths) == [(1, 1, pytest.approx(90), STOP_LOSS)]
    assert paths.equity[0].tolist() == pytest.approx([1000, 900, 900])


@pytest.mark.parametrize(
    ("bar", "expected"),
    [
        ((100, 125, 88, 110), (1, 90, STOP_LOSS)),  # both within one bar: the loss is taken
        ((100, 125, 95, 110), (1, 120, TAKE_PROFIT)),
        ((130, 135, 85, 110), (0, 130, TAKE_PROFIT)),  # the open is seen first, whatever comes later
        ((90, 125, 90, 110), (0, 90, STOP_LOSS)),  # to touch a level is to reach it
        ((100, 119.9, 90.1, 110), None),
    ],
)
def test_which_of_stop_and_take_is_filled(bar, expected):
    paths = run(ohlc(CALM, CALM, bar, CALM), held([1, 1, 1, 1], stop_loss=[0.1, 0.1, np.inf, np.inf], take_profit=0.2))
    if expected is None:
        assert exits(paths) == []
        return
    after, price, kind = expected
    assert exits(paths) == [(2, after, pytest.approx(price), kind)]
    assert paths.equity[0, 2] == pytest.approx(10 * price)


@pytest.mark.parametrize(
    ("bar", "after", "price", "kind"),
    [
        ((102, 112, 95, 100), 1, 110, STOP_LOSS),
        ((115, 118, 95, 100), 0, 115, STOP_LOSS),
        ((98, 105, 75, 100), 1, 80, TAKE_PROFIT),
        ((78, 115, 75, 100), 0, 78, TAKE_PROFIT),
        ((98, 112, 75, 100), 1, 110, STOP_LOSS),
    ],
)
def test_the_short_side(bar, after, price, kind):
    paths = run(ohlc(CALM, CALM, bar), held([-1, -1, -1], stop_loss=0.1, take_profit=0.2), Costs(commission=0.01))
    assert exits(paths) == [(2, after, pytest.approx(price), kind)]
    assert paths.equity[0, 2] == pytest.approx(1000 + 10 * (100 - price) - 10 - 0.1 * price)


def test_a_cover_is_made_in_full_even_without_the_cash_for_it():
    """Cash is the equity and the proceeds of the sale, here 1000 + 1000 less the 1000 of the long position."""
    index, flat = pd.date_range("2020-01-01", periods=3), np.full(3, 10.0)
    close = np.column_stack([flat, [10, 10, 19]])
    bars = Bars.make(index, ["A", "B"], close)
    plan = Plan(
        np.tile([1.0, -1.0], (3, 1)), np.array([[0.0], [np.inf], [np.inf]]) * [1, 1], stop_loss=np.full((3, 2), 0.5)
    )
    paths = simulate(bars, plan, costs=FREE, execution=Execution(cash=1000, gross=3))
    assert paths.shares[0, 2].tolist() == [100, 0]
    assert paths.cash[0, 2] == pytest.approx(1000 - 1900)


def test_adding_to_a_position_moves_the_entry():
    """5 shares for 500, 500 / 92 more for 500: an average of 95.83, and a stop at 86.25, where 900 is left of the 1000."""
    bars = ohlc(CALM, CALM, (92, 95, 86, 90))
    paths = run(bars, held([0.5, 1, 1], stop_loss=0.1))
    assert paths.orders[0, 2, 0] == pytest.approx(500)
    assert exits(paths) == [(2, 1, pytest.approx(1000 / (5 + 500 / 92) * 0.9), STOP_LOSS)]
    assert paths.equity[0, 2] == pytest.approx(900)


def test_reducing_a_position_leaves_the_entry():
    bars = ohlc(CALM, CALM, (120, 121, 119, 120), (95, 96, 89, 92))
    paths = run(bars, held([1, 0.5, 0.5, 0.5], stop_loss=0.1))
    assert exits(paths) == [(3, 1, pytest.approx(90), STOP_LOSS)]
    assert paths.equity[0, 3] == pytest.approx(600 + 5 * 90)


def test_turning_to_the_other_side_is_a_new_entry():
    bars = ohlc(CALM, CALM, (110, 122, 109, 115))
    paths = run(bars, held([1, -1, -1], stop_loss=0.1))
    assert exits(paths) == [(2, 1, pytest.approx(121), STOP_LOSS)]
    assert paths.equity[0, 2] == pytest.approx(1100 - 10 * 11)


def test_a_position_that_gaps_through_its_stop_can_be_turned_at_the_same_open():
    bars = ohlc(CALM, CALM, (80, 81, 79, 80), (90, 91, 89, 90))
    trades, account = Ledger.of(bars, held([1, -1, -1, -1], stop_loss=0.1), costs=FREE, execution=RICH)
    assert trades["reason"].tolist() == ["plan", "stop loss", "plan", "stop loss"]
    assert trades["shares"].tolist() == pytest.approx([10, -10, -10, 10])
    assert trades["price"].tolist() == pytest.approx([100, 80, 80, 90])
    assert account["equity"].iloc[-1] == pytest.approx(800 - 100)


def test_a_stopped_symbol_stays_out_until_its_aim_is_zero():
    bars = ohlc(CALM, CALM, (98, 99, 88, 91), *[(90, 91, 89, 90)] * 5)
    aim = [1, 1, 1, 1, 0, 1, 1, 1]
    shares = run(bars, Plan(np.array(aim, float)[:, None], stop_loss=np.full((8, 1), 0.1))).shares[0, :, 0]
    assert shares.tolist() == pytest.approx(
        [0, 10, 0, 0, 0, 0, 10, 10]
    )  # the row after that of aim 0 is filled at bar 6


def test_a_stopped_symbol_stays_out_until_its_aim_changes_its_sign():
    bars = ohlc(CALM, CALM, (98, 99, 88, 91), *[(90, 91, 89, 90)] * 5)
    aim = [1, 1, 1, 1, -1, 1, 1, 1]
    shares = run(bars, Plan(np.array(aim, float)[:, None], stop_loss=np.full((8, 1), 0.1))).shares[0, :, 0]
    assert shares.tolist() == pytest.approx([0, 10, 0, 0, 0, -10, 10, 10])


@pytest.mark.parametrize("cooldown", [0, 1, 3, np.inf])
def test_a_cooldown_counts_decisions(cooldown):
    """Stopped in bar 2, under row 1: with n the rows 2 to 1 + n are left out, and row 2 + n is filled at bar 3 + n."""
    bars = ohlc(CALM, CALM, (98, 99, 88, 91), *[(90, 91, 89, 90)] * 5)
    plan = Plan(np.ones((8, 1)), stop_loss=np.full((8, 1), 0.1), cooldown=np.full((8, 1), float(cooldown)))
    shares = run(bars, plan).shares[0, :, 0]
    back = 3 + cooldown
    assert np.flatnonzero(shares).tolist() == [1, *(t for t in range(8) if t >= back)]


def test_costs_of_a_stop_are_those_of_an_order():
    """The quadratic cost is relative to the equity of the bar before."""
    bars = ohlc(CALM, (100, 111, 99, 110), (100, 101, 88, 95))
    costs = Costs(commission=0.01, sell_tax=0.005, fixed=3, spread=0.02, quadratic=0.1)
    paths = run(bars, held([0.5, 0.5, 0.5], stop_loss=0.1), costs)
    before = paths.equity[0, 1]
    sale = 5 * 90
    expected = (1 - 0.99 * (1 - 0.015)) * sale + 3 + 0.1 * sale**2 / before
    assert paths.cost[0, 2] == pytest.approx(expected)
    assert paths.cash[0, 2] - paths.cash[0, 1] == pytest.approx(sale - expected)


def test_impact_of_a_stop_is_that_of_the_decision():
    rng = np.random.default_rng(0)
    close = 100 * np.exp(rng.normal(0, 0.01, 30).cumsum())
    close[-1] = close[-2] * 0.7
    index = pd.date_range("2020-01-01", periods=30)
    bars = Bars.make(index, ["X"], close[:, None], volume=rng.uniform(1e3, 2e3, (30, 1)))
    costs = Costs(impact=0.5)
    aim = np.ones(30)
    aim[:25] = 0
    paths = run(bars, held(aim, stop_loss=0.1), costs)
    k = make_market(bars, costs, RICH)[0].impact[28, 0]
    value = paths.shares[0, 28, 0] * close[-1]
    assert k > 0
    assert paths.cost[0, 29] == pytest.approx(k * value**1.5)


def test_a_sell_that_raises_less_than_its_cost_is_not_made():
    paths = run(ohlc(CALM, CALM, (98, 99, 88, 91)), held([0.01, 0.01, 0.01], stop_loss=0.1), Costs(fixed=9.5))
    assert paths.shares[0, :, 0].tolist() == pytest.approx([0, 0.1, 0.1])
    assert exits(paths) == []


def test_untradable_bars_do_not_trigger():
    nothing = (np.nan,) * 4
    bars = ohlc(CALM, CALM, nothing, (80, 85, 79, 84), CALM)
    paths = run(bars, held([1] * 5, stop_loss=0.1))
    assert exits(paths) == [(3, 0, 80, STOP_LOSS)]
    rows = np.array([CALM, CALM, (80, 85, 79, 84), (95, 96, 94, 95)], dtype=float)
    open_, high, low, close = (rows[:, k : k + 1] for k in range(4))
    halted = np.array([[True], [True], [False], [True]])
    bars = Bars.make(bars.index[:4], ["X"], close, open=open_, high=high, low=low, tradable=halted)
    assert exits(run(bars, held([1] * 4, stop_loss=0.1))) == []


def test_a_delisted_symbol_is_paid_out_and_not_stopped():
    nothing = (np.nan,) * 4
    index = pd.date_range("2020-01-01", periods=4)
    rows = np.array([CALM, CALM, nothing, nothing], dtype=float)
    open_, high, low, close = (np.column_stack([rows[:, k], np.full(4, 10.0)]) for k in range(4))
    bars = Bars.make(index, ["X", "Y"], close, open=open_, high=high, low=low, delisted={"X": index[2]})
    plan = Plan(np.tile([1.0, 0.0], (4, 1)), stop_loss=np.full((4, 2), 0.1))
    paths = simulate(bars, plan, costs=FREE, execution=replace(RICH, delisting_haircut=0.5), orders=True)
    assert not paths.stop_kind.any()
    assert paths.equity[0].tolist() == pytest.approx([1000, 1000, 500, 500])


def test_whole_lots_are_closed_as_a_whole():
    execution = Execution(cash=1050, sizing="whole_lots", lot=5)
    paths = run(ohlc(CALM, CALM, (98, 99, 88, 91)), held([1, 1, 1], stop_loss=0.1), execution=execution)
    assert paths.shares[0, :, 0].tolist() == [0, 10, 0]
    assert paths.equity[0, 2] == pytest.approx(50 + 900)


def test_minute_bars_and_the_ledger_s_times():
    index = pd.date_range("2020-01-02 09:30", periods=4, freq="min")
    bars = ohlc(CALM, (100, 100.1, 99.8, 100), (100, 100.2, 99.4, 99.8), CALM, index=index)
    trades, account = Ledger.of(bars, held([1] * 4, stop_loss=0.005), costs="1bp", execution=RICH)
    stop = trades.iloc[1]
    assert (stop["time"], stop["side"], stop["reason"]) == (index[2], "sell", "stop loss")
    assert stop["price"] == pytest.approx(99.5)
    assert stop["cost"] == pytest.approx(995 * 1e-4)
    assert account["equity"].iloc[-1] == pytest.approx(995 - 0.1 - 0.0995)


@pytest.mark.parametrize(("fill", "after"), [("next_close", 0), ("same_close", 1)])
@pytest.mark.filterwarnings("ignore:same_close")
def test_bars_of_closes_alone_trigger_and_fill_at_the_close(fill, after):
    """Bought at the close of 100. 91 is above the stop, 85 below it; at 90 the plan would buy again, and stays out."""
    bars = closes(100, 100, 91, 85, 90, 90)
    plan = Plan(np.ones((6, 1)), stop_loss=np.full((6, 1), 0.1))
    paths = run(bars, plan, execution=replace(RICH, fill=fill))
    assert exits(paths) == [(3, after, 85, STOP_LOSS)]
    assert paths.equity[0].tolist() == pytest.approx([1000, 1000, 910, 850, 850, 850])
    assert paths.orders[0, 4:].sum() == 0


@pytest.mark.filterwarnings("ignore:same_close")
def test_with_same_close_a_stop_rests_from_the_close_of_the_decision():
    bars = ohlc(CALM, (95, 96, 88, 92), CALM)
    paths = run(bars, held([1, 1, 1], stop_loss=0.1), execution=replace(RICH, fill="same_close"))
    assert exits(paths) == [(1, 1, pytest.approx(90), STOP_LOSS)]
    bars = ohlc(CALM, (85, 96, 84, 92), CALM)
    assert exits(run(bars, held([1, 1, 1], stop_loss=0.1), execution=replace(RICH, fill="same_close"))) == [
        (1, 1, 85, STOP_LOSS)
    ]


def test_with_next_close_the_range_comes_before_the_fill():
    """Bought at the close of bar 1, whose low does not count. Stopped in bar 2, and turned at its close, as decided before."""
    bars = ohlc(CALM, (100, 101, 80, 100), (98, 99, 88, 95), (95, 96, 94, 95))
    paths = run(bars, held([1, -1, -1, -1], stop_loss=0.1), execution=replace(RICH, fill="next_close"))
    assert exits(paths) == [(2, 0, pytest.approx(90), STOP_LOSS)]
    assert paths.shares[0, :, 0].tolist() == pytest.approx([0, 10, -900 / 95, -900 / 95])


def test_a_trailing_stop_follows_the_best_price_from_the_next_bar_on():
    """The high of 120 comes in the bar of the low of 105, which the level of 99 from before does not reach; then it is 108."""
    bars = ohlc(CALM, (100, 110, 100, 110), (110, 120, 105, 118), (115, 116, 107, 110))
    paths = run(bars, held([1] * 4, trailing_stop=0.1))
    assert exits(paths) == [(3, 1, pytest.approx(108), TRAILING_STOP)]
    assert paths.equity[0, 3] == pytest.approx(1080)
    bars = ohlc(CALM, (100, 100, 90, 90), (90, 95, 80, 82), (85, 89, 84, 88))
    paths = run(bars, held([-1] * 4, trailing_stop=0.1))
    assert exits(paths) == [(3, 1, pytest.approx(88), TRAILING_STOP)]


def test_the_nearer_of_stop_and_trailing_stop_counts():
    bars = ohlc(CALM, CALM, (98, 99, 80, 91))
    assert exits(run(bars, held([1] * 3, stop_loss=0.05, trailing_stop=0.1)))[0][2:] == (pytest.approx(95), STOP_LOSS)
    paths = run(bars, held([1] * 3, stop_loss=0.1, trailing_stop=0.1))  # the best is 101, so its level is 90.9
    assert exits(paths)[0][2:] == (pytest.approx(90.9), TRAILING_STOP)


def test_a_margin_call_and_a_stop_of_the_same_open_close_a_position_once():
    bars = ohlc(CALM, CALM, (66, 67, 64, 65), (60, 61, 59, 60))
    execution = replace(RICH, maintenance=0.25)
    plan = held([2] * 4, stop_loss=[np.inf, np.inf, 0.3, 0.3])
    paths = run(bars, plan, Costs(commission=0.01), execution)
    assert paths.traded[0].tolist() == pytest.approx([0, 2000, 0, 1200])
    assert exits(paths) == [(3, 0, 60, STOP_LOSS)]


def test_a_closed_account_has_no_stops():
    bars = ohlc(CALM, CALM, (200, 201, 199, 200), CALM)
    paths = run(bars, held([-2] * 4, stop_loss=3.0, take_profit=0.02))
    assert paths.equity[0].tolist() == pytest.approx([1000, 1000, -1000, -1000])
    assert exits(paths) == []


def random_plan(draw, aim, band, rate):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scale = draw(st.sampled_from([0.01, 0.05, 0.3]))
    levels = {
        name: rng.choice([0.3, 1.0, 2.0, np.inf], aim.shape) * scale
        for name in ("stop_loss", "take_profit", "trailing_stop")
        if draw(st.booleans())
    }
    cooldown = rng.choice([0.0, 1.0, np.inf], aim.shape) if draw(st.booleans()) else None
    return Plan(aim, band, rate, cooldown=cooldown, **levels)


@st.composite
def stopped_cases(draw):
    bars, costs, execution, aim, band, rate = draw(
        samples.cases(sizings=("pre_fee", "post_fee", "outlay", "whole_lots"))
    )
    return bars, costs, execution, random_plan(draw, aim, band, rate)


@given(stopped_cases())
@settings(max_examples=200)
def test_equity_is_cash_and_shares_and_the_ledger_adds_up(case):
    bars, costs, execution, plan = case
    paths = simulate(bars, plan, costs=costs, execution=execution)
    worth = paths.cash + (paths.shares * np.nan_to_num(bars.marks)).sum(axis=-1)
    np.testing.assert_allclose(paths.equity, worth, atol=1e-9 * execution.cash)
    first = Plan(**{name: part[0] for name, part in plan.parts.items()})
    trades, account = Ledger.of(bars, first, costs=costs, execution=execution)
    change = account["profit"] + account["carry"] - account["cost"]
    size = max(np.abs(paths.equity[0]).max(), execution.cash)
    np.testing.assert_allclose(np.diff(account["equity"]), change[1:], rtol=0, atol=1e-9 * size)
    parts = ["commission", "tax", "spread", "fixed", "impact"]
    np.testing.assert_allclose(trades[parts].sum(axis=1), trades["cost"], rtol=1e-12)
    assert trades["cost"].sum() == pytest.approx(account["cost"].sum(), abs=1e-9 * size)
    value = trades.loc[trades["side"] != "delisted", "value"].abs()
    assert value.sum() == pytest.approx(account["traded"].sum(), abs=1e-9 * size)


@given(stopped_cases())
@settings(max_examples=100)
def test_an_account_with_stops_does_not_depend_on_later_bars(case):
    bars, costs, execution, plan = case
    whole = simulate(bars, plan, costs=costs, execution=execution)
    t = len(bars) // 2 + 1
    part = simulate(bars[:t], plan[:t], costs=costs, execution=execution)
    np.testing.assert_array_equal(part.equity, whole.equity[:, :t])


@given(stopped_cases())
@settings(max_examples=50)
def test_each_of_several_plans_is_simulated_as_if_alone(case):
    bars, costs, execution, plan = case
    whole = simulate(bars, plan, costs=costs, execution=execution)
    for b in range(len(plan.aim)):
        alone = simulate(bars, plan.map(lambda part: part[b]), costs=costs, execution=execution)  # noqa: B023
        np.testing.assert_array_equal(alone.equity[0], whole.equity[b])


@given(samples.cases(sizings=("pre_fee", "post_fee", "outlay", "whole_lots")))
@settings(max_examples=100)
def test_stops_that_are_never_reached_change_no_bit(case):
    """So the account with stops is that of `step` too, which `test_kernels` compares with `simulate`."""
    bars, costs, execution, aim, band, rate = case
    plain = simulate(bars, Plan(aim, band, rate), costs=costs, execution=execution)
    never = np.full(aim.shape, np.inf)
    plan = Plan(aim, band, rate, stop_loss=never, take_profit=never, trailing_stop=never)
    for name, one, two in zip(
        plain._fields, plain, simulate(bars, plan, costs=costs, execution=execution), strict=True
    ):
        np.testing.assert_array_equal(one, two, err_msg=name)


@pytest.mark.parametrize("function", [equity_paths, equity_paths_reference])
def test_learning_refuses_stops_in_one_line(function):
    bars, aim = ohlc(CALM, CALM, (98, 99, 88, 91)), np.ones((1, 3, 1))
    market, rules = make_market(bars, FREE, RICH)
    start = np.zeros(1, dtype=np.int64)
    plain = function(market, rules, start, Plan(aim), money=1000.0)
    tensors = function(market, rules, start, TensorPlan(torch.from_numpy(aim)), money=1000.0)
    np.testing.assert_array_equal(plain.equity, tensors.equity)
    with pytest.raises(InputError, match=r"^a stop has no derivative: [^\n]*$"):
        function(market, rules, start, Plan(aim, stop_loss=0.1 * aim), money=1000.0)
