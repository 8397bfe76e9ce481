import numpy as np
import samples

from backtests.engine.accounts import accounts, batches
from strategies import EqualWeight, Momentum, Stops


def test_plans_of_any_parts_are_each_plan_alone_in_their_order():
    bars = samples.regime_bars(120, 3, seed=2)
    rules = [EqualWeight(), Momentum(5), Stops(Momentum(5), loss=0.02), Stops(Momentum(9), loss=0.03), Momentum(9)]
    plans = [rule.plan(bars) for rule in rules]
    for plan, found in zip(plans, accounts(bars, plans), strict=True):
        (alone,) = accounts(bars, [plan])
        assert found.plan is plan
        for part in ("equity", "cost", "traded", "weights", "scaled", "afforded"):
            np.testing.assert_array_equal(getattr(found, part), getattr(alone, part), err_msg=part)


def test_batches_are_of_one_kind_and_bounded():
    bars = samples.regime_bars(30, 2, seed=2)
    plain, stopped = Momentum(5).plan(bars), Stops(Momentum(5), loss=0.02).plan(bars)
    assert [len(some) for some in batches([plain, plain, plain, stopped, plain], 2)] == [2, 1, 1, 1]
    assert [len(some) for some in batches([plain, plain], 0)] == [1, 1]  # bars too large for any are simulated alone
