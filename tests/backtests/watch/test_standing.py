"""Where a watch stands: its account beside others, alarms, and the page that shows it."""

import numpy as np
import pandas as pd
import pytest
from browser import needs_browser, visit
from policies import random_strategy

from backtests import walk_forward
from backtests.monitoring import ComparisonAlarm, EdgeAlarm, FeatureDrift
from backtests.watch import Schedule, Watch
from backtests.watch.page import lines, write_status
from backtests.watch.promise import Promise, drift_before
from backtests.watch.standing import LEVEL
from markets import Bars, Costs, Execution, Features, HiddenMarkovRegimes
from strategies import EqualWeight, InverseVolatility, Momentum, Stops


def watched(folder, model, bars, every=63, detector=None):
    with Watch(folder, model, Schedule(every, detector)) as watch:
        watch.see(bars)
    return watch


def test_others_are_their_backtests_on_the_same_bars(bars, tmp_path):
    span = bars[900:1000]
    found = watched(tmp_path, InverseVolatility(20), span).standing(bars, [EqualWeight(), Momentum(60)])
    expected = walk_forward([InverseVolatility(20), EqualWeight(), Momentum(60)], span, check=False, progress=False)
    for account, name in zip(found.others, ("inverse volatility", "equal weight", "momentum 60"), strict=True):
        np.testing.assert_allclose(account.equity, expected[name].equity if name in [b.name for b in expected] else
                                   expected[2].equity, rtol=1e-12)  # fmt: skip
    assert found.regret(found.unadapted) == pytest.approx(0.0, abs=1e-12)
    best = max(expected, key=lambda b: b.equity[-1])
    assert found.best.equity[-1] == pytest.approx(best.equity[-1])
    assert found.regret(found.best) == pytest.approx((best.equity[-1] - expected[0].equity[-1]) / 1e6)


def test_alarms_are_those_of_the_monitors_at_half_the_level_each(bars, tmp_path):
    """The promise is the walk-forward before the watch, whose figures are fed bar by bar."""
    from strategies import RegimeGated

    span = bars[900:1100]
    model = RegimeGated(HiddenMarkovRegimes(2, restarts=1), [EqualWeight(), InverseVolatility(20)])
    watch = watched(tmp_path, model, span, every=50)
    found = watch.standing(bars)
    unadapted = watch.shelf.get(watch.unadapted)
    first = 900 - len(found.promise.returns) - 1
    before = walk_forward([model], bars[first:900], every=50, check=False, progress=False)[0]
    np.testing.assert_allclose(found.promise.returns, before.returns, rtol=0, atol=1e-12)
    edge = EdgeAlarm.promised(before.returns, level=LEVEL / 2)
    for time, one in zip(span.index[1:], found.account.returns, strict=True):
        edge.update(time, one)
    by = {alarm.name: alarm for alarm in found.alarms}
    assert by["edge"].value == pytest.approx(edge.value)
    assert by["edge"].limit == 40
    other = walk_forward([unadapted], span, check=False, progress=False)[0]
    duel = ComparisonAlarm(volatility=np.std(found.promise.returns - found.promise.unadapted), level=LEVEL / 2)
    for time, one, two in zip(span.index[1:], found.account.returns, other.returns, strict=True):
        duel.update(time, one, two)
    assert by["adaptation"].value == pytest.approx(duel.value)


def test_a_lost_edge_gives_an_alarm_and_a_sentence(tmp_path):
    """Ten years of a Sharpe ratio of about 3, then as much of a loss."""
    rng = np.random.default_rng(0)
    returns = 0.01 * rng.normal(size=(3000, 2)) + np.where(np.arange(3000) < 2000, 0.002, -0.004)[:, None]
    index = pd.bdate_range("2010-01-01", periods=3000)
    bars = Bars.make(index, ["A", "B"], 100 * np.exp(returns.cumsum(axis=0)), name="decay")
    found = watched(tmp_path, EqualWeight(), bars[2000:]).standing(bars)
    edge = found.alarms[0]
    assert edge.name == "edge"
    assert bars.index[2000] < edge.since < bars.index[2200]
    assert edge.value >= 40
    assert any("Alarm since" in line and "less than the backtest promised" in line for line in lines(found))


def test_without_bars_before_it_nothing_is_promised(bars, tmp_path):
    found = watched(tmp_path, EqualWeight(), bars[:30]).standing(bars)
    assert found.promise is None
    assert found.alarms == ()
    assert write_status(found, tmp_path / "status.html", "short").exists()


def test_the_band_of_a_promise_is_that_of_its_returns():
    """Of independent normal returns the growth after n bars is lognormal, with known quantiles."""
    returns, days = np.random.default_rng(1).normal(0.0005, 0.01, 1500), np.arange(251)
    low, middle, high = Promise(returns, returns).band(days, seed=3)
    logs = np.log1p(returns)
    mean, std = logs.mean() * 250, logs.std() * np.sqrt(250)
    for found, quantile in ((low, -1.645), (middle, 0.0), (high, 1.645)):
        assert np.log1p(found[-1]) == pytest.approx(mean + quantile * std, abs=0.025)
    few = Promise(returns, returns).band(days[::50], seed=3)
    np.testing.assert_array_equal(few, np.array([low, middle, high])[:, ::50], "the same paths, seen less often")
    np.testing.assert_array_equal(few[:, 0], 0.0)


def test_regression_an_account_that_stops_promises_nothing(bars):
    """A stop sells all early on: most returns are 0, and the Sharpe ratio of such an account has no interval."""
    stopped = Stops(InverseVolatility(20), loss=0.001)
    assert Promise.of(stopped, stopped, bars[900:], None, Costs(), Execution()) is None


def test_a_promise_begins_after_what_its_model_has_seen(bars):
    class Seen(EqualWeight):
        seen_until = bars.index[700]

    found = Promise.of(Seen(), EqualWeight(), bars[900:], 50, Costs(), Execution())
    assert len(found.returns) == 198  # of the 199 bars from 701 to 899
    Seen.seen_until = bars.index[860]
    assert Promise.of(Seen(), EqualWeight(), bars[900:], 50, Costs(), Execution()) is None


def test_drift_is_measured_from_the_features_before_the_watch(bars):
    """Those that a policy reads, or else the usual ones; nothing of the watch's bars is in them."""
    policy = random_strategy()
    for strategy, features in ((EqualWeight(), Features()), (policy, policy.policy.settings.features)):
        drift = drift_before(strategy, bars[1000:])
        known = bars[features.lookback : 1000]  # a row on which a feature warms up is no sample of it
        expected = FeatureDrift.of(features.compute(known), features.names)
        np.testing.assert_array_equal(drift.monitor.edges, expected.edges)
        np.testing.assert_array_equal(drift.monitor.limits, expected.limits)
        assert drift.features.names == features.names
    for few in (50, 300, Features().lookback + 250):
        assert drift_before(EqualWeight(), bars[few:]) is None, "of some feature there is hardly a value"


def test_regression_features_that_had_hardly_warmed_up_are_no_drift(bars, tmp_path):
    """A year of history: a gauge of what had just become known found all of it drifted after two weeks."""
    found = watched(tmp_path, EqualWeight(), bars[261:300]).standing(bars)
    assert "features" not in [alarm.name for alarm in found.alarms]


@pytest.mark.process
@needs_browser
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_is_whole_in_a_browser(bars, tmp_path, width):
    detector = HiddenMarkovRegimes(2, restarts=1).fit(bars[:900])
    found = watched(tmp_path, InverseVolatility(20), bars[900:1000], detector=detector).standing(bars, [EqualWeight()])
    page = write_status(found, tmp_path / "status.html", "A <watch> & its bars", live=True)
    probe = """return {
      title: document.querySelector('h1').textContent,
      heads: [...document.querySelectorAll('h2')].map(h => h.textContent),
      curves: document.querySelectorAll('#growth .scatterlayer .trace').length,
      positions: [...document.querySelectorAll('h2')].find(h => h.textContent == 'Positions').nextElementSibling.innerText,
    }"""
    answer = visit(page, tmp_path, probe, width)
    seen = answer["found"]
    assert answer["wrong"] == []
    assert answer["scrolls"] <= width
    assert seen["title"] == "A <watch> & its bars"
    assert seen["heads"] == ["Gain", "Alarms", "Positions", "Regimes", "Adaptations"]
    assert seen["curves"] >= 5
    for symbol, weight in zip(bars.symbols, found.account.plan.aim[-1], strict=True):
        assert symbol in seen["positions"]
        assert f"{weight:+.2%}" in seen["positions"]
