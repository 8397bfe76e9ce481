import copy

import numpy as np
import pytest

from backtests import walk_forward
from backtests.robustness import Case
from markets import InputError
from metalearner import RL2
from strategies import EqualWeight, InverseVolatility, Momentum, Plan, Strategy


class Turning(Strategy):
    """Holds the symbol that rose most over the bars it was adapted to."""

    name, adapts = "turning", True

    def __init__(self, best=0):
        self.best = best

    def adapt(self, bars):
        close = bars.with_past().close
        return Turning(int(np.argmax(close[-1] / close[max(len(close) - 100, 0)])))

    def plan(self, bars):
        aim = np.zeros(bars.shape)
        aim[:, self.best] = 1.0
        return Plan(aim)


@pytest.mark.parametrize("strategy", [Momentum(50), InverseVolatility(20), Turning()], ids=lambda s: s.name)
def test_the_account_is_that_of_walk_forward(bars, strategy):
    span = bars[600:]
    expected = walk_forward([strategy], span, costs="20bp", every=50, progress=False)[0]
    case = Case(strategy, span, "20bp", every=50)
    for part in ("equity", "cost", "traded", "weights"):
        np.testing.assert_array_equal(getattr(case.account, part), getattr(expected, part))
    assert case.value == expected.metrics["Sharpe"]


def test_many_plans_in_one_call_are_each_plan_alone(bars):
    case = Case(EqualWeight(), bars)
    plans = [strategy.plan(bars) for strategy in (Momentum(20), InverseVolatility(20), Momentum(60))]
    for plan, found in zip(plans, case.accounts(plans), strict=True):
        alone = next(case.accounts([plan]))
        np.testing.assert_array_equal(found.equity, alone.equity)
        assert found.metrics == alone.metrics


def test_a_job_is_sent_the_case_alone(bars):
    case = Case(Momentum(50), bars[600:], "20bp", every=50)
    value = case.value
    sent = copy.deepcopy(case)
    assert not {"plan", "account"} & vars(sent).keys()
    assert sent.value == value


def test_the_worst_is_the_highest_where_less_is_better(bars):
    values = np.array([0.3, np.nan, 0.1, 0.2])
    assert Case(EqualWeight(), bars).worst(values) == 2
    assert Case(EqualWeight(), bars, metric="max drawdown").worst(values) == 0
    assert Case(EqualWeight(), bars, metric="max drawdown").better(0.1, 0.2)


def test_what_is_no_case(bars):
    with pytest.raises(InputError, match="metric 'luck' is unknown; use one of"):
        Case(EqualWeight(), bars, metric="luck")
    with pytest.raises(InputError, match="2 bars; a backtest needs at least 3"):
        Case(EqualWeight(), bars[:2])
    with pytest.raises(InputError, match=r"RL2 is a learner; train it first, and give what its fit\(...\) returns"):
        Case(RL2(), bars)
    with pytest.raises(InputError, match="every is 0"):
        Case(EqualWeight(), bars, every=0)
    with pytest.raises(InputError, match="momentum 2000 needs 2000 bars to warm up, but synthetic has 1500"):
        _ = Case(Momentum(2000), bars).value
