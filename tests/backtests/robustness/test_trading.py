import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtests.robustness import Case, break_even, later, trade_worse
from markets import Bars, Costs, Execution
from strategies import BuyAndHold, EqualWeight, Momentum, Plan, Strategy


class InAndOut(Strategy):
    """All in on even bars, all out on odd ones."""

    name = "in and out"

    def plan(self, bars: Bars) -> Plan:
        return Plan(np.repeat((np.arange(len(bars)) % 2 == 0)[:, None], bars.shape[1], axis=1) * 1.0)


class Cash(Strategy):
    name = "cash"

    def plan(self, bars: Bars) -> Plan:
        return Plan(np.zeros(bars.shape))


def rising(rate: float, length: int = 41) -> Bars:
    close = 100 * (1 + rate) ** np.arange(length)
    return Bars.make(pd.bdate_range("2001-01-01", periods=length), ["A"], close[:, None])


@pytest.mark.parametrize("rate", [0.001, 0.01, 0.05])
@pytest.mark.parametrize("stated", ["10bp", "0bp"])
def test_break_even_of_a_constant_turnover_is_the_closed_form(rate, stated):
    """All is bought and sold again a bar later: (1 + r)(1 − c) / (1 + c) = 1 where c = r / (2 + r)."""
    case = Case(InAndOut(), rising(rate), stated, Execution(fill="next_close", sizing="outlay"))
    unit = max(Costs.parse(stated).commission, 1e-4)
    assert break_even(case) * unit == pytest.approx(rate / (2 + rate), rel=1e-6)
    exact = Costs(commission=rate / (2 + rate))
    assert next(case.accounts([case.plan], exact)).equity[-1] == pytest.approx(case.account.equity[0], rel=1e-9)


def test_break_even_of_a_quoted_spread_is_that_of_the_same_fixed_one():
    bars = rising(0.01)
    bars = bars.with_values(close=bars.close, spread=np.full(bars.shape, 0.001))
    execution = Execution(fill="next_close", sizing="outlay")
    quoted, fixed = (Case(InAndOut(), bars, Costs(spread=spread), execution) for spread in ("quoted", 0.001))
    assert break_even(quoted) == pytest.approx(break_even(fixed), rel=1e-9)
    assert "bp per side" not in trade_worse(quoted).finding  # it is not the same at all bars


def test_break_even_where_there_is_none():
    assert break_even(Case(InAndOut(), rising(-0.01))) == 0
    assert np.isnan(break_even(Case(Cash(), rising(0.01))))
    assert break_even(Case(EqualWeight(), rising(0.2))) == np.inf


def test_break_even_against_another_plan_is_where_both_end_alike(bars):
    case = Case(Momentum(60), bars, "1bp")
    worse = Plan(case.plan.aim * 0.5)
    if break_even(case, against=worse) not in (0, np.inf):
        costs = Costs(commission=1e-4 * break_even(case, against=worse))
        one, two = (account.equity[-1] for account in case.accounts([case.plan, worse], costs))
        assert one == pytest.approx(two, rel=1e-6)
    assert np.isnan(break_even(case, against=case.plan))


def test_regression_equal_weight_that_earns_more_only_without_costs_is_not_said_to_earn_more():
    """It was "equal weight earns more even without any" of a strategy that is ahead at the stated costs, as it trades less."""
    close = np.where(np.arange(100) % 2, 103.0, 100.0)[:, None] * [1.0, 0.0] + [0.0, 100.0]
    bars = Bars.make(pd.bdate_range("2001-01-01", periods=100), ["A", "B"], close)
    hold, equal = (Case(strategy, bars, "5%") for strategy in (BuyAndHold(), EqualWeight()))
    assert hold.account.equity[-1] > equal.account.equity[-1]
    finding = trade_worse(hold).finding
    assert "it earns more than equal weight, which trades more, and would not without costs." in finding


def test_costs_are_multiplied_and_not_those_of_holding(bars):
    costs = Costs(commission=0.001, cash_rate=0.02)
    table = trade_worse(Case(Momentum(60), bars, costs)).table
    assert table.index.tolist() == ["costs × 0", "costs × 1", "costs × 2", "costs × 3", "one bar later"]
    for times in (0, 1, 2, 3):
        other = Case(Momentum(60), bars, Costs(commission=0.001 * times, cash_rate=0.02))
        assert table.loc[f"costs × {times}", "Sharpe"] == other.value
    assert (np.diff(table["CAGR"].iloc[:4]) < 0).all()


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.booleans())
def test_a_later_plan_decides_the_same_later(seed, by, band):
    rng = np.random.default_rng(seed)
    plan = Plan(rng.normal(size=(9, 2)), rng.random((9, 2)) if band else None, rng.random((9, 2)))
    found = later(plan, by)
    for part in ("aim", "rate", *(["band"] if band else [])):
        np.testing.assert_array_equal(getattr(found, part)[by:], getattr(plan, part)[:-by])
    assert (found.aim[:by] == 0).all()  # whatever the band and rate, an account in cash stays there
    assert (found.band is None) == (not band)


def test_a_bar_later_is_the_account_on_the_prices_of_a_bar_later():
    """A signal for the next bar alone is worth nothing a bar later: prices are not shifted with the decision."""
    rng = np.random.default_rng(0)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, 500)))[:, None]
    bars = Bars.make(pd.bdate_range("2001-01-01", periods=500), ["A"], close)

    class Oracle(Strategy):
        name = "oracle"

        def plan(self, bars):
            ahead = np.append(np.diff(bars.close[:, 0]), [0.0])
            ahead = np.append(ahead[1:], 0.0)  # filled at the next close, it earns the bar after
            return Plan((ahead > 0)[:, None] * 1.0)

    section = trade_worse(Case(Oracle(), bars, "0bp", Execution(fill="next_close")))
    assert section.table.loc["costs × 1", "Sharpe"] > 10
    assert abs(section.table.loc["one bar later", "Sharpe"]) < 2
    assert "1 bp per side" in section.finding  # none were stated
    assert len(section.draw().data) == 2
