from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import samples

from backtests import walk_forward
from backtests.results import Backtest, Backtests
from backtests.significance import Trials, sharpe_gap, verdict
from markets import Bars, Costs, Execution, InputError, Plan
from strategies import BuyAndHold, EqualWeight, InverseVolatility, Momentum


def accounts(returns, cost=None, length=1500):
    """Backtests with these returns, by name, and costs per bar as fractions of equity."""
    length = len(next(iter(returns.values()))) + 1
    index = pd.bdate_range("2010-01-01", periods=length)
    bars = Bars.make(index, ["a"], np.full((length, 1), 100.0))
    found = []
    for name, values in returns.items():
        equity = 1e6 * np.cumprod(np.append(1, 1 + values))
        paid = np.append(0, equity[:-1] * (cost or {}).get(name, 0.0))
        weights = np.ones((length, 1))
        found.append(Backtest(name, index, ("a",), equity, paid, paid, weights, Plan(weights)))
    return Backtests(tuple(found), bars, Costs(), Execution(), 63)


def noise(seed, mean=0.0, length=1500):
    values = np.random.default_rng(seed).normal(0, 0.01, length)
    return values - values.mean() + mean  # so that what a test expects does not hang on luck


MARKET = noise(0, 0.0004)


@pytest.fixture(scope="module")
def judged():
    return verdict(
        accounts(
            {
                "equal weight": MARKET,
                "good": MARKET + noise(1, 0.0010),
                "close": MARKET + 0.2 * noise(2, 0.0002),
                "poor": MARKET + noise(3, -0.0015),
                "dear": 0.9 * MARKET + 0.1 * noise(4, 0.0),
                "copy": MARKET.copy(),
                "cash": np.zeros(1500),
                "ruined": np.append(-1.5, np.zeros(1499)),
            },
            cost={"dear": 0.00008},
        ),
        trials=40,
    )


def test_the_verdict_in_words(judged):
    words = judged.sentences
    assert words["equal weight"].startswith("the benchmark: Sharpe 0.6")
    assert words["equal weight"].endswith("], which may be 0")
    assert words["good"].startswith("better than equal weight (SPA p = .0")
    assert words["close"].startswith("indistinguishable from equal weight (SPA p = .")
    assert words["close"].endswith("more years would be needed")
    assert words["poor"].startswith("worse than equal weight (SPA p ")
    assert words["dear"].endswith("costs eat its lead")
    assert words["copy"] == "the same account as equal weight"
    assert words["cash"] == "no Sharpe ratio: it hardly moves"
    assert words["ruined"] == "ruined on 2010-01-04"
    assert max(len(sentence) for sentence in words.values()) <= 100


def test_its_figures_are_those_of_its_parts(judged):
    row = judged.table.loc["close"]
    result = accounts({"equal weight": MARKET, "close": MARKET + 0.2 * noise(2, 0.0002)})
    gap = sharpe_gap(result[1], result[0], resamples=1000)
    assert [row["difference"], row["difference_low"], row["difference_high"]] == pytest.approx(
        [gap.value, gap.low, gap.high]
    )
    assert row["sharpe"] == pytest.approx(result[1].metrics["Sharpe"])
    assert row["low"] < row["sharpe"] < row["high"]
    assert row["dsr"] < row["psr"]
    assert judged.trials.count == 40
    assert judged.benchmark == "equal weight"


def test_more_trials_make_the_best_less_sure():
    result = accounts({"equal weight": MARKET, "good": MARKET + noise(1, 0.0009), "other": noise(5, -0.0002)})
    few, many = verdict(result, trials=3), verdict(result, trials=Trials(5000, 1.0))
    assert many.table.loc["good", "dsr"] < few.table.loc["good", "dsr"]
    assert ";" not in few.sentences["good"]
    assert "after 5,000 trials" in many.sentences["good"]
    assert few.table["p"].equals(many.table["p"])


def test_the_years_that_are_missing_are_those_after_which_it_would_be_told():
    """Twice the record of the same kind halves what t lacks by the root of two."""
    step = 0.2 * noise(2, 0.0002)
    one = verdict(accounts({"equal weight": MARKET, "x": MARKET + step}))
    times = int(np.ceil(1 + one.table.loc["x", "more_years"] / one.years)) + 1
    more = verdict(accounts({"equal weight": np.tile(MARKET, times), "x": np.tile(MARKET + step, times)}))
    assert one.table.loc["x", "p"] > 0.05
    assert more.table.loc["x", "p"] < 0.05
    assert more.table.loc["x", "more_years"] == 0


def test_a_short_record_tells_nothing():
    found = verdict(accounts({"equal weight": noise(0, length=20), "x": noise(1, length=20)}))
    assert found.sentences["x"] == "the record is too short to tell: 20 returns, and 30 are the least"
    assert found.table.isna().all(axis=None)
    assert np.isnan(found.pbo)


def test_one_strategy_alone_and_an_unknown_benchmark():
    alone = verdict(accounts({"x": MARKET}))
    assert alone.benchmark == "x"
    assert np.isnan(alone.pbo)
    assert alone.finding == "There is no other strategy to compare x with."
    with pytest.raises(InputError, match="benchmark 'y' is none of the strategies; choose from x"):
        verdict(accounts({"x": MARKET}), benchmark="y")
    with pytest.raises(InputError, match="trials is 0"):
        verdict(accounts({"x": MARKET}), trials=0)


def test_on_a_walk_forward_it_is_reproducible_and_has_a_section():
    bars = samples.regime_bars(800, 4, 0)
    result = walk_forward([EqualWeight(), BuyAndHold(), Momentum(20), InverseVolatility(20)], bars, progress=False)
    found = verdict(result)
    assert found.table.equals(verdict(result).table)
    assert list(found.table.index) == [b.name for b in result] == list(found.sentences)
    section = found.section()
    assert section.finding == found.finding
    assert "better than equal weight (of 3 others; SPA p = " in found.finding
    assert len(section.draw().data[0].y) == 4
    assert verdict(result, benchmark="buy and hold").table.loc["buy and hold", "difference"] == 0
    reordered = replace(result, backtests=result.backtests[::-1])
    again = verdict(reordered).table.loc[found.table.index]
    np.testing.assert_allclose(again["p"], found.table["p"], atol=1e-9)


def test_regression_accounts_that_cannot_be_compared_are_told_so():
    half = verdict(accounts({"equal weight": MARKET, "half": 0.5 * MARKET, "copy": MARKET}))
    assert half.sentences["half"] == "a multiple of equal weight, with the same Sharpe ratio"
    assert half.sentences["copy"] == "the same account as equal weight"
    assert half.finding == "No other strategy can be told from equal weight."
    assert half.table["p"].isna().all()
    assert np.isnan(half.pbo), "there is nothing to choose"
    cash = verdict(accounts({"equal weight": MARKET, "cash": 0 * MARKET}), benchmark="cash")
    assert cash.sentences["equal weight"] == "cannot be compared with cash"
    assert cash.finding == "No other strategy can be compared with cash."
    assert np.isnan(cash.pbo)


def test_regression_bars_of_one_day_are_a_short_record_and_not_one_in_cash():
    result = accounts({"equal weight": noise(0, length=300), "x": noise(1, length=300)})
    index = pd.date_range("2020-01-02 09:30", periods=301, freq="min")
    bars = Bars.make(index, ["a"], np.full((301, 1), 100.0))
    found = verdict(replace(result, backtests=tuple(replace(b, index=index) for b in result), bars=bars))
    assert found.sentences["x"] == "the record is too short to tell: it is within a day"
    assert "in a day are more than chance" in found.section().shows
    found.section().draw()
