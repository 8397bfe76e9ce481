import numpy as np
import pandas as pd
import pytest
import samples

from backtests.robustness import Case, compare_with_random
from backtests.robustness.null import _reached
from markets import Bars, InputError, simulate
from strategies import InverseVolatility, Momentum, Plan, Strategy


class Best(Strategy):
    """Half of the account in one symbol, changed to another every `every` bars."""

    name = "best"

    def __init__(self, columns=(0,), every=50):
        self.columns, self.every = columns, every

    def plan(self, bars: Bars) -> Plan:
        aim = np.zeros(bars.shape)
        which = np.array(self.columns)[np.arange(len(bars)) // self.every % len(self.columns)]
        aim[np.arange(len(bars)), which] = 0.5
        return Plan(aim)


def noise(seed: int, edge: float = 0.0) -> Bars:
    """Eight symbols without drift, but for the first two."""
    rng = np.random.default_rng(seed)
    returns = rng.normal(0, 0.01, (1000, 8)) + edge * (np.arange(8) < 2)
    index = pd.bdate_range("2001-01-01", periods=1000)
    return Bars.make(index, [f"S{i}" for i in range(8)], 100 * np.exp(np.cumsum(returns, axis=0)), name="noise")


def share(case: Case, seed: int = 0) -> float:
    table = compare_with_random(case, accounts=40, seed=seed, progress=False)
    return float(table.finding.split("better than ")[1].split("%")[0]) / 100


def test_skill_in_choosing_symbols_stands_out():
    assert share(Case(Best((0, 1)), noise(0, edge=0.002), "0bp")) > 0.85
    assert share(Case(Best((4, 5)), noise(0, edge=0.002), "0bp")) < 0.3


def test_without_skill_the_strategy_is_one_of_them():
    found = [share(Case(Best((0, 3, 5)), noise(seed))) for seed in range(12)]
    assert 0.25 < np.mean(found) < 0.75  # uniform: 0.5 with a standard error of 0.083
    assert min(found) < 0.4
    assert max(found) > 0.6


@pytest.mark.parametrize("strategy", [Momentum(60), InverseVolatility(40), Best((0, 1, 2))], ids=lambda s: s.name)
def test_they_trade_about_as_much(strategy):
    bars = samples.regime_bars(1000, 6, seed=2)[100:]
    section = compare_with_random(Case(strategy, bars), accounts=20, progress=False)
    theirs, ours = section.table.loc["random, median", "turnover"], section.table.loc["the strategy", "turnover"]
    assert 0.6 < theirs / ours < 1.4
    assert section.draw().data


def test_the_weights_reached_are_those_of_an_account_where_prices_stand_still():
    rng = np.random.default_rng(0)
    bars = Bars.make(pd.bdate_range("2001-01-01", periods=30), ["A", "B"], np.full((30, 2), 10.0))
    plan = Plan(rng.uniform(0, 0.5, (30, 2)), rng.uniform(0, 0.1, (30, 2)), rng.uniform(0.2, 1, (30, 2)))
    paths = simulate(bars, plan, costs="0bp")
    np.testing.assert_allclose(_reached(plan)[:-1], paths.shares[0, 1:] * 10 / 1e6, atol=1e-12)


def test_the_seed_reproduces_to_the_bit():
    case = Case(Momentum(60), noise(1))
    one, two, other = (compare_with_random(case, accounts=12, seed=s, progress=False).table for s in (1, 1, 2))
    pd.testing.assert_frame_equal(one, two, check_exact=True)
    assert not one.equals(other)


def test_what_cannot_be_compared(bars):
    with pytest.raises(InputError, match="one symbol, among which nothing can be divided at random"):
        compare_with_random(Case(Momentum(20), bars.select(["S0"])))
    with pytest.raises(InputError, match="accounts is 0"):
        compare_with_random(Case(Momentum(20), bars), accounts=0)
