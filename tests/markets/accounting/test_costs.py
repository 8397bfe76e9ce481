"""Costs and execution: values out of range, and how orders are sized, limited and cut, with values computed by hand."""

import numpy as np
import pandas as pd
import pytest
import samples
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from markets import Bars, Costs, Execution, InputError, Plan, load, simulate
from markets.accounting.differentiable import TensorPlan, equity_paths, equity_paths_reference
from markets.accounting.market import make_market


@pytest.mark.parametrize(("text", "share"), [("10bp", 0.001), ("0.1%", 0.001), (" 2.5 bps", 0.00025), (0.002, 0.002)])
def test_costs_are_read(text, share):
    assert Costs.parse(text).commission == pytest.approx(share)


@pytest.mark.parametrize("text", ["10", "ten", "-1bp", "10 percent"])
def test_costs_that_cannot_be_parsed_are_refused(text):
    with pytest.raises(InputError, match="write 10bp"):
        Costs.parse(text)


def test_values_out_of_range_are_refused():
    with pytest.raises(InputError, match="commission is 10"):
        Costs(commission=10)
    with pytest.raises(InputError, match=r"spread is -0\.1"):
        Costs(spread=-0.1)
    with pytest.raises(InputError, match="gross is 0"):
        Execution(gross=0)
    with pytest.raises(InputError, match="fill is 'soon'"):
        Execution(fill="soon")
    with pytest.raises(InputError, match="sizing is 'all'"):
        Execution(sizing="all")
    with pytest.warns(UserWarning, match="no one can"):
        Execution(fill="same_close")


def test_impact_needs_volume(bars):
    with pytest.raises(InputError, match="impact needs volume, and synthetic has none"):
        make_market(bars, Costs(impact=0.1), Execution())


def test_opens_are_needed_to_fill_at_them(bars):
    with pytest.raises(InputError, match="has no opens; use next_close"):
        make_market(bars, Costs(), Execution(fill="next_open"))


def test_a_decision_is_filled_at_the_next_open_where_opens_exist():
    bars = samples.gappy_bars(np.random.default_rng(3), 30, 1, 0.02)
    market, rules = make_market(bars, Costs(), Execution())
    assert rules.lagged
    there = bars.tradable[1:, 0]
    np.testing.assert_array_equal(market.fill[:-1, 0][there], bars.open[1:, 0][there])
    np.testing.assert_array_equal(market.open[:-1, 0], there)
    assert not market.open[-1, 0]


def test_interest_accrues_by_the_calendar():
    bars = samples.regime_bars(400, 1, seed=0)
    equity = simulate(bars, np.zeros(bars.shape), costs=Costs(cash_rate=0.05)).equity[0]
    days = np.diff(bars.index).astype("timedelta64[D]").astype(int)
    np.testing.assert_allclose(equity[1:] / equity[:-1], 1 + 0.05 * days / 365.25, rtol=1e-12)


@pytest.mark.parametrize("sizing", ["outlay", "whole_lots"])
def test_quadratic_costs_are_refused_where_an_order_is_sized_by_its_outlay(sizing):
    """A sell of size s raises s − s²/V·quadratic, which is bounded, so the wanted cash may be out of reach."""
    with pytest.raises(InputError, match=f"quadratic does not go with sizing {sizing}; use pre_fee or post_fee"):
        make_market(samples.regime_bars(5, 1, seed=0), Costs(quadratic=0.01), Execution(sizing=sizing))


def flat(*prices, bars=6):
    """Bars of constant prices."""
    return moving(*([price] * bars for price in prices))


def moving(*closes):
    close = np.array(closes, dtype=float).T
    index = pd.date_range("2020-01-01", periods=len(close))
    return Bars.make(index, [f"S{i}" for i in range(close.shape[1])], close)


def column(*weights):
    return np.array(weights, dtype=float)[:, None]


# ------------------------------------------------------------------------------------------ sells and whole lots


@pytest.mark.parametrize(("sizing", "held"), [("outlay", [99.9001, 0.04995, 0.04990]), ("whole_lots", [99, 0, 0])])
def test_regression_a_sell_grossed_up_for_its_own_cost_does_not_cross_zero(sizing, held):
    execution = Execution(cash=10_000, sizing=sizing, long_only=True)
    aim = column(1, 0.0005, 0.0005, 0, 0, 0)
    shares = simulate(flat(100), aim, costs=Costs(commission=0.001), execution=execution).shares[0, :, 0]
    np.testing.assert_allclose(shares[1:4], held, rtol=1e-4)
    assert (shares >= 0).all()
    assert not shares[4:].any()


def test_regression_a_sell_in_a_thin_market_does_not_run_away():
    """From .9 to .1 with square-root impact: the sell that raises .8 after costs is larger than the whole holding."""
    close = 100 * np.exp(np.cumsum(np.random.default_rng(0).normal(0, 0.02, 60)))
    bars = Bars.make(pd.bdate_range("2020-01-01", periods=60), ["A"], close[:, None], volume=np.full((60, 1), 20_000.0))
    aim = np.where(np.arange(60) < 30, 0.0, np.where(np.arange(60) < 40, 0.9, 0.1))[:, None]
    execution = Execution(cash=1e8, sizing="outlay", long_only=True)
    paths = simulate(bars, aim, costs=Costs(impact=2.0), execution=execution, orders=True)
    before = paths.shares[0, 40, 0] * close[41]
    equity = paths.cash[0, 40] + before
    assert paths.orders[0, 41, 0] == pytest.approx(0.1 * equity - before, rel=1e-12)  # the way to its target, no more
    assert paths.cost[0, 41] < before
    assert (paths.shares >= 0).all()


def test_regression_a_sell_that_makes_a_short_is_not_grossed_up():
    """It passed the largest weight by its cost."""
    execution = Execution(cash=1000, sizing="outlay", max_weight=0.5)
    paths = simulate(flat(10), np.full((6, 1), -0.8), costs=Costs(commission=0.01), execution=execution)
    assert paths.shares[0, 1, 0] == pytest.approx(-50)


@pytest.mark.parametrize(
    ("lot", "cash", "weights", "positions"),
    [
        (1, 1000, (0.1, -0.055), (10, -5)),  # was -6
        (1, 1000, (-0.1, 0.055), (-10, 5)),
        (1000, 1e5, (0.5, -0.515), (5000, -5000)),  # was -6000
        (1000, 1e5, (-0.5, 0.515), (-5000, 5000)),
        (1, 1000, (0.1, 0.055), (10, 5)),
        (1, 1000, (-0.1, -0.055), (-10, -5)),
    ],
)
def test_regression_whole_lots_round_the_position_towards_zero(lot, cash, weights, positions):
    execution = Execution(cash=cash, sizing="whole_lots", lot=lot)
    shares = simulate(flat(10), column(*weights, *weights[1:] * 4), costs=Costs(), execution=execution).shares[0, :, 0]
    assert shares[1:3].tolist() == list(positions)


def test_regression_whole_lots_never_buy_past_the_aim():
    """A rest of -4e-16 shares made the next buy one lot too large: 316 of 3,174 buys of a small account."""
    bars = load("stocks")["2010":].select(["AAPL", "JPM", "XOM"])
    aim = np.tile([0.5, 0.3, 0.2], (len(bars), 1))
    paths = simulate(bars, aim, costs="10bp", execution=Execution(cash=1000, sizing="whole_lots"), orders=True)
    market, _ = make_market(bars, Costs(), Execution())
    value = paths.cash[0, :-1] + (paths.shares[0, :-1] * market.fill[:-1]).sum(axis=1)
    weight = paths.shares[0, 1:] * market.fill[:-1] / value[:, None]
    bought = paths.orders[0, 1:] > 0
    assert bought.sum() > 100
    assert (weight[bought] <= np.broadcast_to(aim[1:], bought.shape)[bought] * (1 + 1e-9)).all()
    assert (paths.shares == np.rint(paths.shares)).all()


# ------------------------------------------------------------------------------------------ costs above the equity


def test_regression_a_margin_call_is_met_whatever_it_costs():
    """5x long, 10 bp, -19.95 %: equity 2,488, and selling costs 3,983. The account was left to stand at 490,582 later."""
    bars = moving([100, 100, 80.05, 80.05, 120])
    execution = Execution(cash=1e6, sizing="post_fee", gross=5, borrowing=True, maintenance=0.1)
    paths = simulate(bars, np.full((5, 1), 5.0), costs="10bp", execution=execution)
    assert paths.equity[0, 2] == pytest.approx(2487.56, abs=0.01)
    assert paths.equity[0, 3:] == pytest.approx([-1495.02, -1495.02], abs=0.01)
    assert not paths.shares[0, 3:].any()


@pytest.mark.parametrize("sizing", ["pre_fee", "post_fee", "outlay"])
def test_regression_positions_are_closed_although_costs_exceed_the_equity(sizing):
    bars = moving([100, 100, 80.05, 80.05, 120])
    execution = Execution(cash=1e6, sizing=sizing, gross=6, borrowing=True)
    paths = simulate(bars, column(5, 5, 0, 0, 0), costs=Costs(commission=0.002), execution=execution)
    assert paths.equity[0, 3] < 0
    assert not paths.shares[0, 3:].any()


@pytest.mark.parametrize("sizing", ["pre_fee", "post_fee", "outlay", "whole_lots"])
def test_regression_a_margin_call_covers_a_short_beyond_the_cash(sizing):
    """Equity 5 of 195, and covering costs 19: the cover was cut to the cash, and the rest of the short stayed."""
    bars = moving([10, 10, 19.5, 19.5, 5])
    execution = Execution(cash=100, sizing=sizing, maintenance=0.2, gross=1)
    plan = Plan(np.full((5, 1), -1.0), column(0, *[np.inf] * 4))
    paths = simulate(bars, plan, costs=Costs(buy_tax=0.1), execution=execution)
    assert paths.equity[0, 3:].tolist() == pytest.approx([-14.5, -14.5])
    assert not paths.shares[0, 3:].any()


def test_regression_post_fee_does_not_pay_for_a_sell_that_it_does_not_make():
    """A sell of 38 at a fixed fee of 50 is not made; the buy was sized as if it were: 4.25 shares for 4.50."""
    bars = moving([10, 10, 10, 10], [10, 10, 10, 10])
    execution = Execution(cash=1000, sizing="post_fee")
    aim = np.array([[0.4, 0.0], *[[342 / 850, 0.05]] * 3])
    paths = simulate(bars, aim, costs=Costs(fixed=50), execution=execution)
    (first, _), (second, bought) = paths.shares[0, 1], paths.shares[0, 2]
    assert first == second == pytest.approx(38)
    assert bought == pytest.approx(4.5)
    assert paths.cost[0, 2] == 50


# ------------------------------------------------------------------------------------------ gradients without orders


@pytest.mark.parametrize("paths", [equity_paths, equity_paths_reference])
@pytest.mark.parametrize("sizing", ["pre_fee", "post_fee"])
@pytest.mark.parametrize("cost", [0.0, 0.001])
def test_regression_a_plan_that_starts_at_zero_learns(paths, sizing, cost):
    """Two bars of +10 % each are worth .1 per unit of weight; the costs of a buy and of a sell cancel in their mean."""
    bars = moving([100, 110, 121])
    market, rules = make_market(bars, Costs(commission=cost), Execution(cash=1.0, fill="same_close", sizing=sizing))
    aim = torch.zeros((1, 3, 1), dtype=torch.float64, requires_grad=True)
    equity = paths(market, rules, np.array([0]), TensorPlan(aim), money=1.0).equity
    (found,) = torch.autograd.grad(equity[0, -1], aim)
    np.testing.assert_allclose(found.ravel(), [0.1, 0.1, 0.0], rtol=1e-12)


@pytest.mark.parametrize("paths", [equity_paths, equity_paths_reference])
def test_the_gradient_at_an_edge_of_a_no_trade_zone_is_that_of_the_side_that_trades(paths):
    bars = moving([100, 110, 110])
    market, rules = make_market(bars, Costs(commission=0.01), Execution(cash=1.0, fill="same_close"))

    def wealth(aim, band):
        plan = TensorPlan(aim, torch.full_like(aim, band))
        return paths(market, rules, np.array([0]), plan, money=1.0).equity[0, 1]

    aim = torch.full((1, 3, 1), 0.25, dtype=torch.float64, requires_grad=True)
    for band, expected in ((0.25, 0.1 - 0.01), (0.26, 0.0), (0.25 - 2**-40, 0.09)):
        (found,) = torch.autograd.grad(wealth(aim, band), aim)
        assert found[0, 0, 0].item() == pytest.approx(expected, abs=1e-9)
    (found,) = torch.autograd.grad(wealth(-aim, 0.25), aim)  # a short sale loses .1 and pays .01
    assert found[0, 0, 0].item() == pytest.approx(-0.11, abs=1e-9)


# ------------------------------------------------------------------------------------------ cash


def test_regression_buys_are_cut_alike_when_cash_is_short():
    """Twenty buys of 50,000 at 1 %: the last symbol got 40,099, since the others came first."""
    paths = simulate(flat(*[10] * 20), np.full((6, 20), 0.05), costs=Costs(commission=0.01))
    np.testing.assert_allclose(paths.shares[0, 1] * 10, 50_000 / 1.01, rtol=1e-12)
    assert paths.cash[0, 1] == 0


def test_smallest_first_is_vectorbts_order():
    execution = Execution(shortfall="smallest_first")
    paths = simulate(flat(*[10] * 20), np.full((6, 20), 0.05), costs=Costs(commission=0.01), execution=execution)
    np.testing.assert_allclose(paths.shares[0, 1] * 10, [50_000] * 19 + [40_099.0099], rtol=1e-8)
    with pytest.raises(InputError, match="shortfall is 'first'; use pro_rata or smallest_first"):
        Execution(shortfall="first")


def test_buys_cut_alike_use_up_the_cash_with_every_kind_of_cost():
    rng = np.random.default_rng(1)
    close = 10 * np.exp(np.cumsum(rng.normal(0, 0.02, (30, 3)), axis=0))
    bars = Bars.make(pd.bdate_range("2020-01-01", periods=30), list("ABC"), close, volume=np.full((30, 3), 1e4))
    aim = np.tile([0.5, 0.3, 0.2], (30, 1)) * (np.arange(30) >= 25)[:, None]
    costs = Costs(commission=0.01, fixed=5, impact=0.5, quadratic=0.02)
    paths = simulate(bars, aim, costs=costs, execution=Execution(cash=10_000), orders=True)
    orders = paths.orders[0, 26]
    np.testing.assert_allclose(orders / orders.sum(), [0.5, 0.3, 0.2], rtol=1e-12)
    assert paths.cash[0, 26] == 0
    assert orders.sum() + paths.cost[0, 26] == pytest.approx(10_000, rel=1e-12)


def test_fixed_fees_above_the_cash_leave_nothing_to_buy_with():
    paths = simulate(flat(10, 10), np.full((6, 2), 0.5), costs=Costs(fixed=60), execution=Execution(cash=100))
    assert not paths.traded.any()
    assert (paths.equity == 100).all()


def test_regression_covers_come_before_new_buys():
    """Short 100 at 10, cash 2,000: when the price is 18, the cover needs 1,800, and a new buy of 160 was filled first."""
    bars = moving([10, 10, 18, 18], [10, 10, 10, 10])
    aim = np.array([[-1.0, 0.0], [-1.0, 0.0], [0.0, 0.8], [0.0, 0.8]])
    held = np.full((4, 2), np.inf)
    held[[0, 2]] = 0
    for sizing in ("pre_fee", "whole_lots"):
        execution = Execution(cash=1000, sizing=sizing)
        paths = simulate(bars, Plan(aim, held), costs=Costs(buy_tax=0.1), execution=execution)
        # 1,800 and a tax of 180 leave 20 for a buy of 160 and its tax
        assert paths.shares[0, 3].tolist() == pytest.approx([0.0, 2 / 1.1 if sizing == "pre_fee" else 1.0])


def test_covers_are_cut_alike_when_cash_does_not_allow_them_all():
    bars = moving([10, 10, 15, 15], [10, 10, 15, 15], [10, 10, 10, 10], [10, 10, 10, 10])
    aim = np.tile([-0.5, -0.5, 1.0, 0.0], (4, 1))
    aim[2:] = [0.3, 0.0, 1.0, 0.5]
    band = np.full((4, 4), np.inf)
    band[0], band[2, [0, 1, 3]] = 0, 0
    paths = simulate(bars, Plan(aim, band), costs=Costs(buy_tax=0.1), execution=Execution(cash=1100, gross=3))
    cash, held = paths.cash[0, 2], paths.shares[0, 3]
    short = -paths.shares[0, 2, :2]
    assert cash < (short * 15).sum()
    np.testing.assert_allclose(held[:2], -short * (1 - cash / 1.1 / (short * 15).sum()))
    assert held[3] == 0
    assert paths.cash[0, 3] == 0
    assert paths.equity[0, 3] > 0


@given(seed=st.integers(0, 2**32 - 1), fixed=st.sampled_from([0.0, 30.0]))
@settings(max_examples=60)
def test_the_order_of_the_symbols_does_not_matter(seed, fixed):
    rng = np.random.default_rng(seed)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.1, (8, 4)), axis=0))
    aim, order = rng.normal(0.3, 0.6, close.shape), rng.permutation(4)
    execution = Execution(cash=1e4, sizing=str(rng.choice(["pre_fee", "post_fee", "outlay"])), gross=1.5)
    found = simulate(moving(*close.T), aim, costs=Costs(commission=0.01, fixed=fixed), execution=execution)
    other = simulate(
        moving(*close.T[order]), aim[:, order], costs=Costs(commission=0.01, fixed=fixed), execution=execution
    )
    np.testing.assert_allclose(other.equity, found.equity, rtol=1e-9, atol=1e-6)


# ------------------------------------------------------------------------------------------ limits


def test_regression_limits_force_no_trade():
    """A monthly 50/50 long-short at gross 1 traded on 579 of 2,013 days, whenever prices carried it over the limit."""
    bars = load("stocks")["2010":"2017"].select(["AAPL", "XOM"])
    months = bars.index.month
    first = np.append(True, months[1:] != months[:-1])
    aim = np.tile([0.5, -0.5], (len(bars), 1))
    rate = np.broadcast_to(first[:, None].astype(float), aim.shape)
    band = np.broadcast_to(np.where(first, 0.0, np.inf)[:, None], aim.shape)
    for plan in (Plan(aim, rate=rate), Plan(aim, band)):
        traded = simulate(bars, plan).traded[0] > 0
        assert traded.sum() == first[:-1].sum()
        np.testing.assert_array_equal(traded[1:], first[:-1])


def test_what_is_left_alone_counts_towards_the_limits_of_what_moves():
    bars = moving([10, 10, 30, 30], [10, 10, 10, 10])
    aim = np.array([[0.5, 0.0], [0.5, 0.0], [0.5, 0.5], [0.5, 0.5]])
    band = np.array([[0.0, 0.0], [np.inf, 0.0], [np.inf, 0.0], [np.inf, 0.0]])
    paths = simulate(bars, Plan(aim, band), costs=Costs(), execution=Execution(cash=1000, gross=0.9, borrowing=True))
    assert paths.shares[0, 3].tolist() == pytest.approx([50, (0.9 - 0.75) * 2000 / 10])
    assert paths.scaled[0].tolist() == pytest.approx([1, 1, 1, 0.9 / 1.25])


def test_regression_a_kept_position_over_the_limit_does_not_reverse_other_orders():
    """B rose to -1.0 inside its zone; the plan wanted .70 of A instead of .67, and all of A was sold."""
    bars = moving([10, 10, 10, 10], [10, 10, 15, 15])
    aim = np.array([[0.5, -0.5], [0.5, -0.5], [0.7, -0.5], [0.7, -0.5]])
    band = np.array([[0.0, 0.0], [np.inf, np.inf], [0.0, np.inf], [0.0, np.inf]])
    paths = simulate(bars, Plan(aim, band), costs=Costs(), execution=Execution(cash=1000, borrowing=True))
    assert paths.shares[0, 3].tolist() == pytest.approx([50, -50])  # the limit leaves no room for more of A
    aim[2:, 0] = 0.3
    paths = simulate(bars, Plan(aim, band), costs=Costs(), execution=Execution(cash=1000, borrowing=True))
    assert paths.shares[0, 3].tolist() == pytest.approx([0.3 * 750 / 10, -50])  # reductions are made in full


def test_regression_an_order_that_flips_is_cut_in_proportion_to_what_it_adds():
    """From -.5 an aim of .5 was filled, and one of .6 was not: it was cut towards -.5."""
    bars = moving([10, 10, 10, 10], [10, 10, 10, 10])
    aim = np.array([[-0.5, 0.5], [-0.5, 0.5], [0.5, 0.5], [0.5, 0.5]])
    band = np.array([[0.0, 0.0], [0.0, 0.0], [0.0, np.inf], [0.0, np.inf]])
    for weight, held in ((0.5, 50), (0.6, 60), (0.61, 60)):
        aim[2:, 0] = weight
        execution = Execution(cash=1000, gross=1.1, borrowing=True)
        assert simulate(bars, Plan(aim, band), costs=Costs(), execution=execution).shares[0, 3, 0] == pytest.approx(
            held
        )


def test_regression_a_margin_call_knows_no_limits():
    """Closing the short while the long was halted adds to the net weight: the limit of .1 left a short of 633."""
    close = np.array([[1.0, 1.0], [1.0, 1.0], [1.5, np.nan], [1.5, np.nan], [1.5, 1.0]])
    bars = Bars.make(pd.date_range("2020-01-01", periods=5), ["A", "B"], close)
    plan = Plan(np.tile([-1.0, 1.0], (5, 1)), np.vstack([[0.0, 0.0], np.full((4, 2), np.inf)]))
    execution = Execution(cash=1000, gross=2, net=0.1, maintenance=0.25, borrowing=True)
    paths = simulate(bars, plan, costs=Costs(), execution=execution)
    assert paths.equity[0, 2] < 0.25 * 2500
    assert paths.shares[0, 3].tolist() == pytest.approx([0, 1000])


def test_regression_a_margin_of_exactly_the_requirement_is_enough():
    """Gross 4 at a requirement of a quarter: rounding liquidated 61 of 300 accounts."""
    execution = Execution(gross=4, borrowing=True, maintenance=0.25)
    for seed in range(50):
        prices = np.random.default_rng(seed).uniform(1, 100, 2)
        paths = simulate(flat(*prices), np.full((6, 2), 2.0), costs=Costs(), execution=execution)
        assert paths.shares[0, 1:].all()


def test_regression_what_the_limits_took_is_recorded():
    """Aims of 3 in three symbols were cut to equal weight in silence."""
    paths = simulate(flat(10, 10, 10), np.full((6, 3), 3.0), costs=Costs())
    np.testing.assert_allclose(paths.scaled[0], [1] + [1 / 9] * 5)
    plain = simulate(flat(10, 10, 10), np.full((6, 3), 1 / 3), costs=Costs())
    np.testing.assert_allclose(paths.shares, plain.shares)
    assert (plain.scaled == 1).all()
    clipped = simulate(flat(10, 10), np.tile([0.6, 0.2], (6, 1)), costs=Costs(), execution=Execution(max_weight=0.3))
    assert clipped.scaled[0, 1] == pytest.approx(0.5 / 0.8)
