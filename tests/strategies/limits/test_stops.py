"""`Stops` around strategies: what it asks of the account, in backtests too."""

import numpy as np
import pytest
import samples

from backtests import walk_forward
from backtests.engine.lookahead import find_lookahead
from markets import InputError, Ledger, Plan, simulate
from strategies import Blend, EqualWeight, InverseVolatility, Momentum, Stops, Strategy


class Learner(Strategy):
    """Adapts to the number of bars it has seen."""

    adapts = True

    def __init__(self, seen=0):
        self.seen, self.name = seen, "learner"

    def plan(self, bars):
        return Plan(np.full(bars.shape, 0.1 + 1e-4 * self.seen))

    def adapt(self, bars):
        return Learner(len(bars))


def test_the_plan_is_that_of_the_strategy_with_levels(bars):
    strategy = InverseVolatility(20)
    plan, bare = Stops(strategy, loss=0.1, gain=0.3, trailing=0.2, cooldown=5).plan(bars), strategy.plan(bars)
    np.testing.assert_array_equal(plan.aim, bare.aim)
    np.testing.assert_array_equal(plan.band, bare.band)
    for name, level in (("stop_loss", 0.1), ("take_profit", 0.3), ("trailing_stop", 0.2), ("cooldown", 5)):
        assert (getattr(plan, name) == level).all()
    only = Stops(strategy, gain=0.3).plan(bars)
    assert set(only.parts) == {"aim", "band", "take_profit"}


def test_stops_within_stops_add_up_and_the_outer_one_counts(bars):
    plan = Stops(Stops(EqualWeight(), loss=0.1, gain=0.3), loss=0.2).plan(bars)
    assert (plan.stop_loss == 0.2).all()
    assert (plan.take_profit == 0.3).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "give loss, gain or trailing"),
        ({"cooldown": 3}, "give loss, gain or trailing"),
        ({"loss": 0.0}, r"loss is 0\.0; it is a fraction above 0"),
        ({"gain": -0.1}, r"gain is -0\.1"),
        ({"trailing": np.inf}, "trailing is inf"),
        ({"loss": float("nan")}, "loss is nan"),
        ({"loss": 0.1, "cooldown": -1}, "cooldown is -1; it must be at least 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        Stops(EqualWeight(), **settings)


def test_names_and_warmup():
    stops = Stops(Momentum(20), loss=0.1, trailing=0.25)
    assert stops.name == "momentum 20, stop 0.1 trail 0.25"
    assert (stops.warmup, stops.adapts) == (20, False)
    assert stops.adapt(None) is stops


def test_a_position_never_loses_much_more_than_the_stop_at_a_close():
    """On closes alone the loss is that of the first close beyond the level: at most the level and one bar's move."""
    bars = samples.regime_bars(1500, 4, seed=3)
    trades, _ = Ledger.of(bars, Stops(EqualWeight(), loss=0.05, cooldown=10).plan(bars), costs="0")
    stopped = trades[trades["reason"] == "stop loss"]
    assert len(stopped) > 10
    moves = np.abs(np.diff(bars.close, axis=0) / bars.close[:-1]).max()
    for symbol, one in trades.groupby("symbol"):
        shares = paid = 0.0
        for trade in one.to_dict("records"):
            if trade["reason"] == "stop loss":
                loss = 1 - trade["price"] / (paid / shares)
                assert loss + 1e-9 >= 0.05, symbol
                assert loss < 0.05 + moves
                assert trade["shares"] == pytest.approx(-shares)
                shares = paid = 0.0
            elif trade["shares"] > 0:
                shares, paid = shares + trade["shares"], paid + trade["value"]
            else:
                paid *= 1 + trade["shares"] / shares
                shares += trade["shares"]


def test_a_backtest_passes_stops_through():
    bars = samples.regime_bars(1500, 3, seed=1)
    stops = Stops(EqualWeight(), loss=0.05, cooldown=10)
    result = walk_forward([EqualWeight(), stops], bars["2003":], progress=False)
    plan = stops.plan(bars["2003":])
    np.testing.assert_array_equal(
        result[stops.name].equity, simulate(bars["2003":], plan, costs=result.costs).equity[0]
    )
    assert not np.array_equal(result[stops.name].equity, result["equal weight"].equity)
    reasons = result.ledger(stops.name).trades["reason"]
    assert (reasons == "stop loss").sum() > 3


def test_what_adapts_is_adapted_within_its_stops():
    bars = samples.regime_bars(1200, 3, seed=1)
    stops = Stops(Learner(), loss=0.05)
    assert stops.adapts
    adapted = stops.adapt(bars[:100])
    assert isinstance(adapted, Stops)
    assert adapted.strategy.seen == 100
    result = walk_forward([stops], bars[600:], progress=False)
    assert (result[stops.name].plan.stop_loss == 0.05).all()


def test_levels_that_know_the_future_are_found():
    class Foresight(Strategy):
        name = "foresight"

        def plan(self, bars):
            return Plan(np.full(bars.shape, 0.2), stop_loss=np.full(bars.shape, np.nanmax(bars.close) / 1e4))

    leaks = find_lookahead(Foresight, samples.regime_bars(400, 2, seed=1), progress=False)
    assert {leak.part for leak in leaks} == {"stop_loss"}
    assert not find_lookahead(lambda: Stops(Momentum(5), loss=0.1), samples.regime_bars(400, 2, seed=1), progress=False)


def test_a_blend_of_parts_with_stops_is_refused_and_stops_of_a_blend_are_not(bars):
    parts = [EqualWeight(), Stops(Momentum(20), loss=0.1)]
    with pytest.raises(InputError, match=r"^blend: momentum 20, stop 0.1 has stops.*Stops\(Blend\(\.\.\.\)\)"):
        Blend(parts).plan(bars)
    plan = Stops(Blend([EqualWeight(), Momentum(20)]), loss=0.1).plan(bars)
    assert plan.stops
