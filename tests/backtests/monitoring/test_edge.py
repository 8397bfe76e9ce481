import numpy as np
import pandas as pd
import pytest

from backtests.monitoring import EdgeAlarm
from backtests.monitoring.betting import Bets
from markets import InputError

FLOOR, PATHS, BARS = 0.9 / np.sqrt(252), 600, 500
DAYS = pd.bdate_range("2020-01-01", periods=BARS)


def student(rng, shape):
    return rng.standard_t(4, shape) / np.sqrt(2)


def volatilities(kind, shocks, rng):
    """The volatility of each bar, (BARS, PATHS), from the shocks before it."""
    found, variance, log = np.empty_like(shocks), np.ones(shocks.shape[1]), np.zeros(shocks.shape[1])
    for t, shock in enumerate(shocks):
        if kind == "garch":
            found[t] = np.sqrt(variance)
            variance = 0.02 + variance * (0.9 + 0.08 * shock**2)
        else:  # log volatility is autocorrelated, with leverage
            found[t] = np.exp(log)
            log = 0.97 * log + 0.12 * (0.8 * rng.standard_normal(log.shape) - 0.6 * shock)
    return found


def returns(kind, sharpe=FLOOR, seed=0):
    rng = np.random.default_rng(seed)
    shocks = rng.standard_normal((BARS, PATHS)) if kind == "gaussian" else student(rng, (BARS, PATHS))
    volatility = 1.0 if kind in ("gaussian", "student") else volatilities(kind, shocks, rng)
    return 0.01 * volatility * (sharpe + shocks)


def evidence(path, floor=FLOOR):
    """E_t after each bar, (BARS, PATHS)."""
    alarm = EdgeAlarm(floor=floor, volatility=0.01)
    alarm.bets = Bets(alarm.clip, np.zeros((path.shape[1], 4)))
    found = np.empty_like(path)
    for t, row in enumerate(path):
        alarm.observe(row)
        found[t] = alarm.evidence
    return found


@pytest.mark.parametrize("kind", ["gaussian", "student", "garch", "autocorrelated"])
def test_a_kept_promise_gives_no_alarm_however_often_one_looks(kind):
    """By Ville's inequality at most 5 %; 2.5 standard errors of 600 paths are allowed on top."""
    found = evidence(returns(kind)).max(axis=0)
    assert (found >= 20).mean() <= 0.05 + 2.5 * np.sqrt(0.05 * 0.95 / PATHS)
    assert (found >= 4).mean() <= 0.25 + 2.5 * np.sqrt(0.25 * 0.75 / PATHS)


@pytest.mark.parametrize("kind", ["gaussian", "student"])
def test_the_evidence_is_1_on_average_at_the_floor_and_less_above_it(kind):
    """At every bar, as of any bet that is fair."""
    at_floor = evidence(returns(kind, seed=1))
    for t in (0, 9, 99, 249):
        error = at_floor[t].std() / np.sqrt(PATHS)
        assert abs(at_floor[t].mean() - 1) < 4 * error + 1e-12
    assert evidence(returns(kind, 3 * FLOOR, seed=1))[-1].mean() < at_floor[-1].mean()


def test_the_null_is_exact_where_the_mean_follows_the_expected_volatility():
    """Symmetric shocks of any tails about s times the volatility that is expected: a fair game."""
    shock = np.array([[5.0, -5.0]])
    alarm = EdgeAlarm(floor=FLOOR, volatility=0.01)
    alarm.bets = Bets(alarm.clip, np.zeros((2, 4)))
    alarm.observe(0.01 * (FLOOR + shock[0]))
    assert alarm.evidence.mean() == pytest.approx(1, abs=1e-12)


def test_a_lost_edge_gives_an_alarm_after_the_change():
    path = returns("garch", 1.5 / np.sqrt(252), seed=2)[:, :200]
    path[100:] -= 0.01 * 4.5 / np.sqrt(252)
    found = evidence(path)
    assert (found[:100] >= 20).any(axis=0).mean() < 0.02
    assert (found >= 20).any(axis=0).mean() > 0.7


def test_one_bar_at_a_time_is_the_same_as_many_paths_at_once():
    path = returns("student", -0.1, seed=4)
    many = evidence(path[:, :3])
    for k in range(3):
        alarm = EdgeAlarm(floor=FLOOR, volatility=0.01)
        first = None
        for t, day in enumerate(DAYS):
            alarm.update(day, path[t, k])
            assert alarm.value == pytest.approx(many[t, k], rel=1e-12)
            first = day if first is None and alarm.value >= 20 else first
        assert alarm.since == first
        assert alarm.alarm == (first is not None)


def test_an_alarm_stays():
    alarm = EdgeAlarm(floor=FLOOR, volatility=0.01)
    for day in DAYS[:60]:
        alarm.update(day, -0.01)
    since = alarm.since
    for day in DAYS[60:400]:
        alarm.update(day, 0.01)
    assert alarm.value < 20
    assert alarm.alarm
    assert alarm.since == since


def test_no_single_bar_gives_an_alarm():
    alarm = EdgeAlarm(floor=FLOOR, volatility=0.01)
    alarm.update(DAYS[0], -0.9)
    assert alarm.value < 1.01


def test_bars_on_which_nothing_is_held_are_no_evidence():
    alarm, below = EdgeAlarm(floor=FLOOR, volatility=0.01), EdgeAlarm(floor=-FLOOR, volatility=0.01)
    for day in DAYS:
        alarm.update(day, 0.0)
        below.update(day, 0.0)
    assert alarm.value == 1
    assert below.value < 1
    assert alarm.last == DAYS[-1]


def test_a_backtest_promises_the_lower_end_of_its_interval():
    rng = np.random.default_rng(5)
    earned = 0.01 * (0.1 + rng.standard_normal(2500))
    alarm = EdgeAlarm.promised(earned)
    assert alarm.volatility == pytest.approx(earned.std(ddof=1))
    assert 0.1 - 3.5 / 50 < alarm.floor < earned.mean() / earned.std() - 1 / 50
    assert EdgeAlarm.promised(earned, confidence=0.5).floor > alarm.floor
    assert EdgeAlarm.promised(7 * earned).floor == pytest.approx(alarm.floor, rel=1e-9)


@pytest.mark.parametrize(
    ("earned", "message"),
    [(np.zeros(100), "do not vary"), (np.ones(5), "30 or more"), (np.full(100, np.nan), "finite")],
)
def test_a_backtest_without_returns_promises_nothing(earned, message):
    with pytest.raises(InputError, match=message):
        EdgeAlarm.promised(earned)
