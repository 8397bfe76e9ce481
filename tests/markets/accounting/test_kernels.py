"""The account: identities that hold for any plan, values computed by hand, and one test per rule."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import samples
from hypothesis import given, settings

from markets import Bars, Costs, Execution, InputError, Plan, simulate
from markets.accounting.kernels import CASH, COST, EQUITY, step_kernel, workspace
from markets.accounting.market import HALTED, OPEN, make_market

SIZINGS = ("pre_fee", "post_fee", "whole_lots")


def run(case):
    bars, costs, execution, aim, band, rate = case
    return simulate(bars, Plan(aim, band, rate), costs=costs, execution=execution)


def close_bars(*closes, opens=None):
    close = np.array(closes, dtype=float).T
    index = pd.date_range("2020-01-01", periods=len(close))
    open_ = None if opens is None else np.array(opens, dtype=float).T
    return Bars.make(index, [f"S{i}" for i in range(close.shape[1])], close, open=open_)


@given(samples.cases(sizings=SIZINGS))
def test_equity_is_cash_and_shares_at_their_marks(case):
    bars, _, execution, *_ = case
    paths = run(case)
    marks = np.nan_to_num(bars.marks)
    expected = paths.cash + (paths.shares * marks).sum(axis=-1)
    np.testing.assert_allclose(paths.equity, expected, atol=1e-9 * execution.cash)


@given(samples.cases(sizings=SIZINGS))
def test_without_borrowing_cash_is_never_spent_below_zero(case):
    _bars, costs, execution, *_ = case
    if execution.borrowing or costs.borrow_rate or (execution.fill == "same_close" and costs.cash_rate):
        return
    paths = run(case)
    alive = paths.equity > 0
    short = (paths.shares < 0).any(axis=(1, 2))  # covering a short and its costs may need more cash than available
    assert (paths.cash[~short][alive[~short]] >= -1e-9 * execution.cash).all()


@given(samples.cases(sizings=SIZINGS))
def test_untradable_symbols_stay_as_they_are(case):
    bars, costs, execution, *_ = case
    market, _ = make_market(bars, costs, execution)
    paths = run(case)
    moved = np.diff(paths.shares, axis=1) != 0
    alive = paths.equity[:, 1:] > 0
    assert not (moved & (market.open[None, :-1] == HALTED))[alive].any()


@given(samples.cases(sizings=SIZINGS))
def test_ruin_is_final(case):
    paths = run(case)
    for equity, shares in zip(paths.equity, paths.shares, strict=True):
        ruined = np.flatnonzero(equity <= 0)
        if len(ruined):
            assert (equity[ruined[0] :] == equity[ruined[0]]).all()
            assert not shares[ruined[0] :].any()


@given(samples.cases(sizings=("pre_fee",)))
def test_limits_hold_after_every_fill(case):
    bars, costs, execution, aim, *_ = case
    market, _ = make_market(bars, costs, execution)
    paths = run(case)
    for b in range(len(aim)):
        for t in range(len(bars) - 1):
            price, is_open, new, old = (
                market.fill[t],
                market.open[t] == OPEN,
                paths.shares[b, t + 1],
                paths.shares[b, t],
            )
            if paths.equity[b, t + 1] <= 0 or not is_open.all():
                continue  # limits cannot hold with untradable holdings
            value = paths.cash[b, t] + old @ price  # neglects interest, which is within the tolerance
            weight, before = new * price / value, old * price / value
            slack = 1e-3 + 0.02 * (costs.cash_rate > 0 or costs.borrow_rate > 0 or execution.borrowing)
            moved = new != old  # limits bind what is traded
            if not moved.all() and (costs.fixed or costs.quadratic):
                continue  # a sell that raises less than its cost is not made, whatever the limits
            if execution.long_only:
                assert (weight >= -slack).all()
            assert np.abs(weight - before).sum() <= execution.turnover * (1 + slack) + slack
            if execution.turnover == np.inf:
                assert (np.abs(weight[moved]) <= execution.max_weight + slack).all()
                kept = np.abs(weight[~moved]).sum()
                assert np.abs(weight[moved]).sum() <= max(execution.gross - kept, 0.0) + slack


@given(samples.cases(sizings=SIZINGS))
@settings(max_examples=40)
def test_step_agrees_with_simulate(case):
    bars, costs, execution, aim, _, _ = case
    market, rules = make_market(bars, costs, execution)
    whole = simulate(bars, aim, costs=costs, execution=execution)
    n, length, symbols = aim.shape
    features, parameters = np.zeros((len(bars), 0), dtype=np.float32), rules.packed()
    for array in (*market, parameters, features):
        array.setflags(write=False)  # as the environments have them; for others the kernel would be compiled anew
    counts, money, shares = np.zeros((3, n), dtype=np.int64), np.zeros((5, n)), np.zeros((n, symbols))
    money[[CASH, EQUITY]] = execution.cash
    active, seen, work = np.ones(n, dtype=bool), np.zeros((n, symbols), dtype=np.float32), workspace(symbols)
    for t in range(length - 1):
        wants = aim[:, t].copy()
        step_kernel(*market, parameters, features, 0, n, active, wants, counts, money, shares, seen, work)
        equity, cost = money[EQUITY], money[COST]
        np.testing.assert_array_equal(equity, whole.equity[:, t + 1])
        np.testing.assert_array_equal(shares, whole.shares[:, t + 1])
        np.testing.assert_array_equal(cost, whole.cost[:, t + 1])


@given(samples.cases(sizings=SIZINGS))
@settings(max_examples=40)
def test_an_account_does_not_depend_on_later_bars(case):
    bars, costs, execution, aim, band, rate = case
    whole = run(case)
    t = len(bars) // 2 + 1
    part = simulate(bars[:t], Plan(aim, band, rate)[:t], costs=costs, execution=execution)
    np.testing.assert_array_equal(part.equity, whole.equity[:, :t])


@pytest.mark.parametrize(
    ("weight", "orders"),
    [(0.5, [50, -12.5, -6.25, -3.90625, -2.734375]), (-0.5, [-50, 37.5, 6.25, 2.34375, 1.171875])],
)
def test_worked_values_of_target_percent(weight, orders):
    """Closes 1 to 5, cash 100: the orders of vectorbt's ``targetpercent``."""
    bars = close_bars([1, 2, 3, 4, 5, 5])
    execution = Execution(fill="same_close", cash=100, gross=10)
    paths = simulate(bars, np.full(bars.shape, weight), costs=Costs(), execution=execution)
    np.testing.assert_allclose(np.diff(paths.shares[0, :, 0]), orders, rtol=1e-12)


def test_a_decision_is_filled_at_the_next_open_by_hand():
    bars = close_bars([10, 11, 12], opens=[[10, 10.5, 11.5]])
    paths = simulate(
        bars, np.full((3, 1), 1.0), costs=Costs(commission=0.01), execution=Execution(cash=1000, borrowing=True)
    )
    shares = 1000 / 10.5
    assert paths.shares[0, 1, 0] == pytest.approx(shares)
    assert paths.cash[0, 1] == pytest.approx(-10)
    assert paths.equity[0, 1] == pytest.approx(shares * 11 - 10)


def test_post_fee_weights_hold_after_costs():
    bars = close_bars([10, 10, 10], [20, 20, 20])
    costs = Costs(commission=0.01, spread=0.02, fixed=3)
    paths = simulate(bars, np.tile([0.6, 0.4], (3, 1)), costs=costs, execution=Execution(cash=1000, sizing="post_fee"))
    np.testing.assert_allclose(paths.shares[0, 1] * [10, 20] / paths.equity[0, 1], [0.6, 0.4], rtol=1e-12)
    assert paths.cash[0, 1] == pytest.approx(0, abs=1e-9)


def test_whole_lots_round_towards_zero():
    bars = close_bars([7, 7, 7])
    paths = simulate(
        bars, np.full((3, 1), 1.0), costs=Costs(), execution=Execution(cash=1000, sizing="whole_lots", lot=10)
    )
    assert paths.shares[0, 1, 0] == 140


def test_the_largest_buys_are_cut_if_the_smallest_come_first():
    bars, execution = close_bars([10, 10], [10, 10]), Execution(cash=1000, shortfall="smallest_first")
    paths = simulate(bars, np.tile([0.3, 0.7], (2, 1)), costs=Costs(commission=0.1), execution=execution)
    assert paths.shares[0, 1, 0] == pytest.approx(30)
    assert paths.shares[0, 1, 1] == pytest.approx((1000 - 330) / 11)
    assert paths.cash[0, 1] == pytest.approx(0, abs=1e-9)


def test_sells_pay_for_buys():
    bars = close_bars([10, 10, 10], [10, 10, 10])
    aim = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    paths = simulate(bars, aim, costs=Costs(), execution=Execution(cash=1000))
    assert paths.shares[0, 2].tolist() == [0.0, 100.0]


def test_band_and_rate():
    bars = close_bars([10, 10, 10, 10])
    aim = np.array([[0.5], [0.55], [0.9], [0.9]])
    band, rate = np.full((4, 1), 0.1), np.array([[1.0], [1.0], [0.5], [1.0]])
    paths = simulate(bars, Plan(aim, band, rate), costs=Costs(), execution=Execution(cash=1000))
    weights = paths.shares[0, :, 0] * 10 / 1000
    np.testing.assert_allclose(weights[1:], [0.4, 0.45, 0.45 + 0.5 * (0.8 - 0.45)])


def test_shorts_pay_to_borrow_and_earn_when_prices_fall():
    bars = close_bars([10, 10, 8])
    execution = Execution(cash=1000, gross=2)
    paths = simulate(bars, np.full((3, 1), -1.0), costs=Costs(borrow_rate=0.365 * 365.25 / 365), execution=execution)
    fee = 100 * 10 * 0.001  # one day at 36.5 % per year on the short position at the last mark
    assert paths.equity[0, 2] == pytest.approx(1000 + 100 * 2 - fee)
    free = simulate(bars, np.full((3, 1), -1.0), costs=Costs(), execution=execution)
    assert free.equity[0, 2] > paths.equity[0, 2]


def test_losses_beyond_equity_close_the_account_with_its_debt():
    bars = close_bars([10, 10, 35, 5])
    paths = simulate(bars, np.full((4, 1), -1.0), costs=Costs(), execution=Execution(cash=1000, gross=2))
    assert paths.equity[0].tolist() == [1000, 1000, -1500, -1500]


def test_regression_a_closed_position_leaves_no_dust_to_pay_a_fixed_fee_on():
    rng = np.random.default_rng(5)
    bars = close_bars(*(np.exp(rng.normal(0, 0.05, (3, 40)).cumsum(axis=1)) * 31.7))
    aim = np.tile([0.31, 0.27, 0.39], (40, 1))
    aim[20:] = 0.0
    paths = simulate(bars, aim, costs=Costs(fixed=1.0), execution=Execution(cash=1000))
    assert paths.cost[0, 21] == pytest.approx(3.0)
    assert not paths.cost[0, 22:].any()
    assert not paths.shares[0, 21:].any()


def test_regression_rounding_over_a_limit_is_not_traded_on():
    rng = np.random.default_rng(6)
    bars = close_bars(*(np.exp(rng.normal(0, 0.02, (4, 300)).cumsum(axis=1)) * 10))
    aim, band = np.full((300, 4), 0.25), np.full((300, 4), np.inf)
    band[0] = 0
    paths = simulate(bars, Plan(aim, band), costs=Costs(), execution=Execution(cash=1000))
    assert not paths.traded[0, 2:].any()


def test_a_late_listing_is_bought_when_it_trades():
    bars = close_bars([10, 10, 10, 10], [np.nan, np.nan, 5, 5])
    paths = simulate(bars, np.full((4, 2), 0.5), costs=Costs(), execution=Execution(cash=1000))
    assert paths.shares[0, :, 1].tolist() == [0, 0, 100, 100]
    assert np.isfinite(paths.equity).all()


def test_a_plan_of_another_shape_is_refused(bars):
    with pytest.raises(ValueError, match=r"the plan has shape \(3, 2\), but the bars have shape \(1500, 3\)"):
        simulate(bars, np.zeros((3, 2)))
    plan = np.zeros(bars.shape)
    plan[7, 1] = np.nan
    with pytest.raises(ValueError, match=r"aim at row 7, symbol 1 is nan; it must be finite \(S1 at 2001"):
        simulate(bars, plan)


def test_holdings_need_not_be_kept(bars):
    aim = np.random.default_rng(0).uniform(0, 0.3, (3, *bars.shape))
    kept, ends = simulate(bars, aim), simulate(bars, aim, holdings=False)
    np.testing.assert_array_equal(kept.equity, ends.equity)
    np.testing.assert_array_equal(kept.shares[:, -1:], ends.shares)


def test_a_margin_call_liquidates_at_the_next_fill_and_counts_the_gap():
    bars = close_bars([10, 10, 7, 6, 6], opens=[[10, 10, 10, 6.5, 6]])
    execution = Execution(cash=1000, borrowing=True, gross=2, maintenance=0.25)
    paths = simulate(bars, np.full((5, 1), 2.0), costs=Costs(), execution=execution)
    assert paths.equity[0, 2] == pytest.approx(1000 - 200 * 3)  # 400 of 1,400 is above a quarter
    bars = close_bars([10, 10, 6.5, 6, 6], opens=[[10, 10, 10, 5.5, 6]])
    paths = simulate(bars, np.full((5, 1), 2.0), costs=Costs(), execution=execution)
    assert paths.equity[0, 2] == pytest.approx(300)  # 300 of 1,300 is below
    assert paths.shares[0, 3, 0] == 0
    assert paths.equity[0, 3] == pytest.approx(1000 - 200 * 4.5)  # sold at the next open, not at the threshold


def test_a_delisting_pays_the_last_price_less_the_haircut():
    close = np.array([[10.0, 10.0], [10.0, 10.0], [np.nan, 10.0], [np.nan, 10.0]])
    index = pd.date_range("2020-01-01", periods=4)
    bars = Bars.make(index, ["A", "B"], close, delisted={"A": index[2]})
    aim = np.tile([0.5, 0.0], (4, 1))
    paths = simulate(bars, aim, costs=Costs(), execution=Execution(cash=1000, delisting_haircut=0.4))
    assert paths.equity[0].tolist() == [1000, 1000, 800, 800]
    assert paths.shares[0, 2:, 0].tolist() == [0, 0]


def test_taxes_fall_on_one_side():
    bars = close_bars([10, 10, 10])
    aim = np.array([[0.5], [0.0], [0.0]])
    paths = simulate(bars, aim, costs=Costs(buy_tax=0.01, sell_tax=0.02), execution=Execution(cash=1000))
    assert paths.cost[0].tolist() == pytest.approx([0, 5, 10])


def test_quadratic_costs_are_a_fraction_of_equity_by_hand():
    """0.04 of equity for a turnover of 1 and a quarter of that for 0.5, whatever the size of the account."""
    bars = close_bars([10, 10, 10])
    aim = np.array([[0.5], [0.0], [0.0]])
    paths = simulate(bars, aim, costs=Costs(quadratic=0.04), execution=Execution(cash=1000))
    assert paths.cost[0].tolist() == pytest.approx([0, 0.04 * 500**2 / 1000, 0.04 * 500**2 / 990])
    richer = simulate(bars, aim, costs=Costs(quadratic=0.04), execution=Execution(cash=1e9))
    np.testing.assert_allclose(richer.equity / 1e9, paths.equity / 1000, rtol=1e-12)


def test_quadratic_costs_respect_cash_and_weights():
    bars, costs = close_bars([10, 10, 10], [20, 20, 20]), Costs(commission=0.01, quadratic=0.1)
    aim = np.tile([0.3, 0.7], (3, 1))
    paths = simulate(bars, aim, costs=costs, execution=Execution(cash=1000, shortfall="smallest_first"))
    assert paths.shares[0, 1, 0] == pytest.approx(30)  # the larger buy is cut to the cash that the smaller one leaves
    assert paths.cash[0, 1] == pytest.approx(0, abs=1e-9)
    large = paths.shares[0, 1, 1] * 20
    assert large * 1.01 + 1e-4 * large**2 == pytest.approx(1000 - 300 * 1.01 - 1e-4 * 300**2)
    paths = simulate(bars, aim, costs=costs, execution=Execution(cash=1000, sizing="post_fee"))
    np.testing.assert_allclose(paths.shares[0, 1] * [10, 20] / paths.equity[0, 1], [0.3, 0.7], rtol=1e-12)


@pytest.mark.parametrize(("costs", "aim"), [(Costs(commission=0.4), (5.0, 4.0)), (Costs(quadratic=3), (0.2, -0.9))])
def test_regression_costs_that_exceed_the_equity_are_not_run_up_by_post_fee(costs, aim):
    """No weights can hold after such costs; orders were sized by Newton's method although the equation has no root."""
    bars = close_bars([10, 10, 10, 10])
    execution = Execution(cash=1000, sizing="post_fee", gross=10, borrowing=True)
    paths = simulate(bars, np.array([[aim[0]], [aim[1]], [aim[1]], [aim[1]]]), costs=costs, execution=execution)
    assert paths.shares[0, 1, 0] * 10 / paths.equity[0, 1] == pytest.approx(aim[0])
    assert (paths.shares[0, 2:] == paths.shares[0, 1]).all()
    assert not paths.cost[0, 2:].any()


def test_outlay_counts_an_order_and_its_cost_together():
    bars = close_bars([10, 10, 10])
    aim, costs = np.array([[0.5], [0.25], [0.0]]), Costs(commission=0.01)
    paths = simulate(bars, aim, costs=costs, execution=Execution(cash=1000, sizing="outlay"))
    assert paths.cash[0, 1] == pytest.approx(500)
    raised = paths.cash[0, 2] - paths.cash[0, 1]
    value = paths.shares[0, 1, 0] * 10
    assert raised == pytest.approx(value - 0.25 * paths.equity[0, 1])


def test_regression_the_net_limit_holds_where_untradable_holdings_fill_it():
    close = np.array([[10, 10], [10, 10], [40, 10], [np.nan, 10], [np.nan, 10]], dtype=float)
    bars = Bars.make(pd.date_range("2020-01-01", periods=5), ["A", "B"], close)
    aim = np.array([[0.5, 0.0], [0.5, 0.0], [0.5, 0.4], [0.5, 0.4], [0.5, 0.4]])
    paths = simulate(bars, aim, costs=Costs(), execution=Execution(cash=1000, gross=2, net=0.5))
    assert not paths.shares[0, :, 1].any()


def test_regression_small_sells_do_not_run_up_fixed_fees():
    bars = close_bars([10.0, 10.0, 10.0], [10.0, 10.01, 10.01])
    paths = simulate(bars, np.tile([0.5, 0.48], (3, 1)), costs=Costs(fixed=10), execution=Execution(cash=1000))
    assert (paths.cash[0] >= 0).all()
    assert paths.cost[0, 2] == 0


def test_regression_fees_above_the_equity_are_not_run_up():
    bars = close_bars([10, 10, 10], [10, 10, 10])
    for sizing in ("pre_fee", "post_fee"):
        execution = Execution(cash=100, sizing=sizing, long_only=True)
        paths = simulate(bars, np.tile([0.5, 0.5], (3, 1)), costs=Costs(fixed=60), execution=execution)
        assert (paths.equity >= 0).all()


@given(samples.cases(sizings=SIZINGS))
def test_trading_never_takes_equity_below_zero(case):
    """Without borrowing and shorts, prices may ruin an account, but its orders may not."""
    execution = case[2]
    if execution.borrowing or not execution.long_only:
        return
    paths = run(case)
    assert (paths.equity >= 0).all()


def test_regression_plans_out_of_range_are_refused(bars):
    """An infinite aim stopped all trading, and the effect of a negative band was undefined."""
    aim = np.full(bars.shape, 0.2)
    with pytest.raises(InputError, match=r"aim at row 0, symbol 0 is inf; it must be finite \(S0 at 2001-01-01"):
        simulate(bars, np.full(bars.shape, np.inf))
    with pytest.raises(InputError, match=r"is -0\.1; it must be at least 0"):
        simulate(bars, Plan(aim, np.full(bars.shape, -0.1)))
    with pytest.raises(InputError, match=r"is 1\.5; it must be from 0 to 1"):
        simulate(bars, Plan(aim, rate=np.full(bars.shape, 1.5)))
    assert (simulate(bars, Plan(aim, np.full(bars.shape, np.inf))).traded == 0).all()  # a band may be infinite: hold


@pytest.mark.process
@pytest.mark.parametrize("how", [pytest.param("gaps", marks=pytest.mark.slow), "late listing and delisting"])
def test_a_million_bars_of_a_hundred_symbols_take_less_than_4_gib(how):
    """Simulated in a separate process; closes and plan take 0.75 GiB each."""
    code = f"""
import resource
import numpy as np, pandas as pd
from markets import Bars, simulate

def closes(shape):
    close = np.random.default_rng(0).normal(0, 1e-3, shape)
    np.exp(np.cumsum(close, axis=0, out=close), out=close)
    close[5::7, 3] = np.nan
    if {how!r} != "gaps":
        close[:9, 4] = np.nan
        close[-10:, 7] = np.nan
    return close

shape, index = (1_000_000, 100), pd.date_range("1950", periods=1_000_000, freq="min")
gone = None if {how!r} == "gaps" else {{"S7": index[-10]}}
bars = Bars.make(index, [f"S{{i}}" for i in range(100)], closes(shape), delisted=gone)
equity = simulate(bars, np.full(shape, 0.01), holdings=False).equity
assert 0 < equity[0, -1] < 1e6, equity
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 4
