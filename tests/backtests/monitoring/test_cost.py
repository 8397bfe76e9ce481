import numpy as np
import pandas as pd
import pytest

from backtests.monitoring import CostAlarm
from backtests.monitoring.betting import Bets
from markets import InputError

DAYS = pd.bdate_range("2020-01-01", periods=500)


def fed(times, tolerance=0.0, seed=0):
    """An alarm after 500 days on which 10 basis points were assumed, and `times` as much was paid on average."""
    rng, alarm = np.random.default_rng(seed), CostAlarm(volatility=5e-4, tolerance=tolerance)
    for day, factor in zip(DAYS, np.exp(0.5 * rng.standard_normal(500) - 0.125), strict=True):
        alarm.update(day, 1e-3 * 1e5 * times * factor, 1e-3 * 1e5, 1e5)
    return alarm


def test_costs_as_assumed_give_no_alarm():
    rng, alarm = np.random.default_rng(1), CostAlarm(volatility=5e-4)
    alarm.bets = Bets(alarm.clip, np.zeros((600, 4)))
    largest = np.zeros(600)
    for _ in range(500):
        alarm.observe(1e-3 * (np.exp(0.5 * rng.standard_normal(600) - 0.125) - 1))
        largest = np.maximum(largest, alarm.evidence)
    assert (largest >= 20).mean() <= 0.05 + 2.5 * np.sqrt(0.05 * 0.95 / 600)


def test_higher_costs_give_an_alarm_and_sooner_the_higher_they_are():
    half, double = fed(1.5), fed(2.0)
    assert half.alarm
    assert double.alarm
    assert double.since < half.since
    assert double.since < DAYS[80]


def test_costs_within_the_tolerance_give_none():
    assert fed(1.3).alarm
    assert not fed(1.3, tolerance=0.4).alarm


def test_bars_without_trades_are_no_evidence():
    alarm = CostAlarm(volatility=5e-4)
    for day in DAYS:
        alarm.update(day, 0.0, 0.0, 0.0)
    assert alarm.value == 1
    assert alarm.last == DAYS[-1]


def test_the_size_of_the_trades_does_not_matter():
    small, large = CostAlarm(volatility=5e-4), CostAlarm(volatility=5e-4)
    for k, day in enumerate(DAYS[:50]):
        small.update(day, 1.0 + k % 3, 1.0, 1e3)
        large.update(day, 1e6 * (1.0 + k % 3), 1e6, 1e9)
    assert small.value == pytest.approx(large.value, rel=1e-9)


def test_an_amount_that_is_none_is_refused():
    with pytest.raises(InputError, match="traded -1"):
        CostAlarm(volatility=5e-4).update(DAYS[0], 1.0, 1.0, -1.0)
