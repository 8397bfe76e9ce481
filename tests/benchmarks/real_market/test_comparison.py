"""Figures and differences of made-up accounts, whose answers are known."""

import numpy as np
import pandas as pd
import pytest

from backtests.results import Backtest
from benchmarks.real_market import text
from benchmarks.real_market.comparison import Comparison
from benchmarks.real_market.contenders import Contender
from benchmarks.real_market.protocol import Protocol
from benchmarks.real_market.trial import Traded
from strategies import Plan

STATISTICS = Protocol.read().statistics | {"resamples": 300}


def account(name, returns, start="2000-01-03"):
    equity = np.cumprod(np.r_[1.0, 1 + returns])
    index = pd.bdate_range(start, periods=len(equity))
    none = np.zeros(len(equity))
    return Backtest(name, index, ("a",), equity, none, none, np.ones((len(equity), 1)), Plan(np.ones((len(equity), 1))))


def compared(**universes):
    """A comparison of accounts by universe and name."""
    traded = {u: Traded(None, {n: account(n, r) for n, r in accounts.items()}, {}) for u, accounts in universes.items()}
    names = dict.fromkeys(n for accounts in universes.values() for n in accounts)
    return Comparison(traded, {n: Contender(n, "baseline", None) for n in names}, STATISTICS)


def noise(seed, days=800):
    return 0.01 * np.random.default_rng(seed).standard_normal(days)


def test_half_the_position_has_a_quarter_of_the_variance():
    rest = noise(9) / 10
    found = compared(x={"half": noise(0) / 2, "all": noise(0) + rest}, y={"half": noise(1) / 2, "all": noise(1) + rest})
    difference = found.difference("half", "all", "log variance")
    for one in (*difference.by_universe.values(), difference.pooled):
        assert one.value == pytest.approx(np.log(0.25), abs=0.03)
        assert one.high < 0
        assert one.detectable > one.error > 0
    assert max(difference.adjusted.values()) < 0.05


def test_a_lower_risk_aversion_minds_less():
    found = compared(x={"half": noise(0) / 2, "all": noise(0)})
    values = []
    for aversion in (1, 5):
        found.statistics = STATISTICS | {"risk_aversion": aversion}
        values.append(found._difference("half", "all", "certainty equivalent").pooled.value)
    variance = np.var(noise(0), ddof=1)
    year = 261
    assert values[1] - values[0] == pytest.approx(0.5 * 4 * 0.75 * variance * year, rel=0.05)


def test_universes_weigh_alike_as_the_protocol_says():
    found = compared(x={"a": noise(0) * 0.5, "b": noise(0)}, y={"a": noise(1, 3000), "b": noise(1, 3000)})
    assert found.difference("a", "b", "log variance").pooled.value == pytest.approx(np.log(0.25) / 2, abs=1e-3)


def test_a_universe_on_which_a_statistic_is_not_defined_is_left_out_of_its_pool():
    still = noise(0)
    still[200:400] = 0.0  # out of the market for more than a quarter
    found = compared(x={"a": still, "b": noise(1)}, y={"a": noise(2), "b": noise(3)})
    difference = found.difference("a", "b", "volatility of volatility")
    assert np.isnan(difference.by_universe["x"].value)
    assert difference.pooled.value == pytest.approx(difference.by_universe["y"].value)
    contender = Contender("a", "adapted", None, control="b")
    lines = list(text.differences(found, contender, ["b"]))
    assert any("not defined here" in line for line in lines)
    assert not any("nan" in line for line in lines)
    assert max(map(len, lines)) <= 80


def test_only_universes_that_both_traded_are_compared():
    found = compared(x={"a": noise(0), "b": noise(1)}, y={"b": noise(2)})
    assert found.where("a", "b") == ("x",)
    assert [*found.difference("a", "b", "sharpe").by_universe] == ["x"]


def test_sharpe_ratios_are_pooled_by_years():
    found = compared(x={"a": noise(0, 500) + 5e-4}, y={"a": noise(1, 2000)})
    one, other = (found.backtest(u, "a").metrics["Sharpe"] for u in ("x", "y"))
    assert found.pooled_sharpe("a") == pytest.approx((one + 4 * other) / 5, abs=0.01)
    assert np.isnan(found.pooled_sharpe("nobody"))
