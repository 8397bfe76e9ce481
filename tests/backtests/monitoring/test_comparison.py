import numpy as np
import pandas as pd
import pytest

from backtests.monitoring import ComparisonAlarm
from backtests.monitoring.betting import Bets

DAYS = pd.bdate_range("2020-01-01", periods=800)


def first_named(differences):
    """For each path of differences (T, N): whether the challenger, and whether the champion, was ever named; first alone."""
    paths = differences.shape[1]
    alarm = ComparisonAlarm(volatility=0.01)
    alarm.challenger, alarm.champion = (Bets(alarm.clip, np.zeros((paths, 4)), prior=0.0) for _ in range(2))
    named = np.zeros(paths)
    for row in differences:
        alarm.observe(row)
        leads = np.where(alarm.challenger.value > alarm.champion.value, 1, -1)
        named = np.where((named == 0) & (alarm.evidence >= 20), leads, named)
    return (named > 0).mean(), (named < 0).mean()


def noise(bars, paths, seed):
    rng = np.random.default_rng(seed)
    return 0.01 * rng.standard_t(4, (bars, paths)) / np.sqrt(2)


def test_of_two_that_are_alike_neither_is_named():
    challenger, champion = first_named(noise(500, 600, 0))
    assert challenger + champion <= 0.05 + 2.5 * np.sqrt(0.05 * 0.95 / 600)


def test_a_challenger_that_is_never_better_on_average_is_not_named():
    """Worse for 100 bars, better for 100, in turn: it is better at half of the bars, and one that tested each would name it."""
    turns = np.where(np.arange(600) // 100 % 2 == 0, -0.2, 0.2)
    challenger, _ = first_named(noise(600, 300, 1) + 0.01 * turns[:, None])
    assert challenger <= 0.05


def test_the_better_one_is_named():
    assert first_named(noise(600, 200, 2) + 0.002)[0] > 0.9
    assert first_named(noise(600, 200, 2) - 0.002)[1] > 0.9


@pytest.mark.parametrize(("shift", "winner"), [(0.003, "challenger"), (-0.003, "champion")])
def test_exchanging_the_two_exchanges_the_winner(shift, winner):
    alarm = ComparisonAlarm(volatility=0.01)
    for day, one in zip(DAYS, noise(800, 1, 3)[:, 0], strict=True):
        alarm.update(day, 0.0, abs(shift) / shift * one + shift)
    assert alarm.winner == winner
    assert alarm.alarm
    assert getattr(alarm, winner).value > 20


def test_accounts_that_are_the_same_say_nothing():
    alarm = ComparisonAlarm(volatility=0.01)
    for day in DAYS:
        alarm.update(day, 0.01, 0.01)
    assert alarm.value == 1
    assert alarm.winner == ""
