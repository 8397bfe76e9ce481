"""From bars and positions to decisions, by hand and through the command."""

import numpy as np
import pandas as pd
import pytest
import samples
from command import call

from markets import Bars, InputError
from metalearner.inverse import history, infer, soft_values
from metalearner.inverse.experts import autoregressive_market


@pytest.fixture(scope="module")
def traded():
    """Bars whose expected returns are a chain, and the positions of a trader who knows them: 15,000 decisions."""
    market, grid = autoregressive_market(5, std=0.002, variance=1e-4), np.linspace(0, 1, 11)
    true = np.array([15.0, 2e-4, 1e-4])
    policy = np.exp(soft_values(market, grid, true, 0.99).log_policy)
    rng, level, place = np.random.default_rng(0), 2, 0
    levels, places = np.empty(15_000, dtype=int), np.empty(15_000, dtype=int)
    for t in range(15_000):
        place = rng.choice(11, p=policy[level, place])
        levels[t], places[t] = level, place
        level = rng.choice(5, p=market.transition[level])
    returns = market.mean[levels] + 0.01 * rng.standard_normal(15_000)
    index = pd.date_range("1970-01-01", periods=15_000, freq="D")
    close = 100 * np.append(1.0, np.exp(np.log1p(returns[:-1]).cumsum()))
    bars = Bars.make(index, ["A"], close[:, None], name="traded")
    held = pd.DataFrame({"A": grid[places]}, index)
    return bars, held, pd.DataFrame({"A": market.mean[levels]}, index), true


def test_his_preferences_are_found_from_prices_positions_and_his_forecast(traded):
    bars, held, forecast, true = traded
    past = history(bars, held, forecast, levels=5, places=11)
    assert past.t > 10
    found = infer(past.decisions, past.grid)
    for parameter, value in zip(found.parameters, true, strict=True):
        assert parameter.value == pytest.approx(value, rel=0.15)


def test_decisions_are_counted_where_two_bars_in_a_row_are_known(traded):
    bars, held, forecast, _ = traded
    part = held.iloc[np.r_[0:1000, 1500:2000]]
    past = history(bars, part, forecast.loc[part.index], levels=5, places=11)
    assert past.decisions[0].counts.sum() == 999 + 499


def test_the_trend_is_the_forecast_where_none_is_given(traded):
    bars, held, _, _ = traded
    past = history(bars[:5000], held[:4900])
    assert past.forecast.startswith("the trend:")
    expected = past.decisions[0].market.mean
    assert (np.diff(expected) > 0).all()


def test_what_does_not_fit_the_bars_is_refused(traded):
    bars, held, forecast, _ = traded
    with pytest.raises(InputError, match="positions have B"):
        history(bars, held.rename(columns={"A": "B"}))
    with pytest.raises(InputError, match="no bar of traded"):
        history(bars[:100], held)
    with pytest.raises(InputError, match="250 or more"):
        history(bars, held[:100], forecast)
    with pytest.raises(InputError, match="ascending"):
        history(bars, held[::-1])


def test_the_command_says_what_he_optimises(tmp_path):
    bars = samples.regime_bars(900, 2, seed=3)
    close = pd.DataFrame(bars.close, index=bars.index.rename("Date"), columns=list(bars.symbols))
    close.to_csv(tmp_path / "bars.csv")
    trend = np.sign(close.diff(60).fillna(0)).clip(lower=0) / 2
    trend.to_csv(tmp_path / "held.csv")
    done = call("infer", "bars.csv", "--positions", "held.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for text in ("risk aversion", "cost", "temperature", "from 1,6", "t-statistic", "looks ahead"):
        assert text in done.stdout
    for words, message in (
        (("infer", "bars.csv"), "name what he held"),
        (("infer", "bars.csv", "--positions", "none.csv"), "--positions none.csv: not a table"),
        (("infer", "bars.csv", "--positions", "held.csv", "--horizon", "0"), "--horizon 0"),
    ):
        done = call(*words, cwd=tmp_path)
        assert done.returncode == 2
        assert message in done.stderr
