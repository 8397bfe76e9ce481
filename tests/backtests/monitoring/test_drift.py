import numpy as np
import pandas as pd
import pytest

from backtests.monitoring import FeatureDrift
from markets import InputError

RNG = np.random.default_rng(0)
TRAINING = RNG.standard_normal((1500, 2))
DAYS = pd.bdate_range("2020-01-01", periods=1000)


def test_the_index_is_that_of_the_definition():
    monitor = FeatureDrift.of(np.arange(100.0)[:, None], ["x"], bins=2, half_life=1)
    assert monitor.edges.tolist() == [[49.5]]
    assert monitor.reference.tolist() == [[0.5, 0.5, 0.0]]
    assert monitor.value == 0
    monitor.update(DAYS[0], np.array([99.0]))  # shares .25 and .75
    wanted = -0.25 * np.log(0.5) + 0.25 * np.log(1.5)
    assert monitor.indices[0] == pytest.approx(wanted, rel=1e-12)


def test_limits_are_what_training_itself_reached():
    """Of a feature that wanders slowly any few months differ from the whole: that is no drift."""
    slow = np.cumsum(RNG.standard_normal(1500)) / 10
    monitor = FeatureDrift.of(np.column_stack([TRAINING[:, 0], slow]), ["quick", "slow"])
    assert monitor.limits[0] == 0.25
    assert monitor.limits[1] > 0.5


def test_no_alarm_while_nothing_changes_and_one_when_a_feature_moves():
    monitor = FeatureDrift.of(TRAINING, ["still", "moves"])
    fresh = np.random.default_rng(1).standard_normal((600, 2))
    for day, row in zip(DAYS[:400], fresh, strict=False):
        monitor.update(day, row)
        assert not monitor.alarm
    for day, row in zip(DAYS[400:600], fresh[400:], strict=True):
        monitor.update(day, row + np.array([0.0, 1.0]))
    assert monitor.alarm
    assert list(monitor.drifted) == ["moves"]
    assert monitor.drifted["moves"] >= 0.25
    assert DAYS[405] < monitor.since < DAYS[460]


def test_the_alarm_goes_out_when_the_feature_comes_back():
    monitor = FeatureDrift.of(TRAINING, ["one", "two"], half_life=20)
    fresh = np.random.default_rng(2).standard_normal((1000, 2))
    for day, row in zip(DAYS[:100], fresh, strict=False):
        monitor.update(day, row + 2)
    assert monitor.alarm
    for day, row in zip(DAYS[100:], fresh[100:], strict=True):
        monitor.update(day, row)
    assert monitor.since is None or monitor.since > DAYS[200]


def test_missing_values_are_a_bin_of_their_own():
    monitor = FeatureDrift.of(TRAINING, ["one", "two"], half_life=20)
    for day in DAYS[:40]:
        monitor.update(day, np.array([np.nan, 0.0]) if day.day % 2 else np.array([0.1, np.inf]))
    assert set(monitor.drifted) == {"one", "two"}
    assert monitor.shares[:, -1].min() > 0.2


def test_symbols_count_alike():
    panel = np.random.default_rng(3).standard_normal((500, 4, 2))
    monitor = FeatureDrift.of(panel, ["one", "two"], bins=4, half_life=1)
    monitor.update(DAYS[0], np.array([[9.0, -9.0], [9.0, -9.0], [-9.0, -9.0], [9.0, -9.0]]))
    assert monitor.shares[0, [0, 3]] == pytest.approx([0.5 * 0.25 + 0.5 * 0.25, 0.5 * 0.25 + 0.5 * 0.75])
    assert monitor.shares[1, 0] == pytest.approx(0.5 * 0.25 + 0.5)
    assert monitor.shares.sum(axis=1) == pytest.approx(1)


def test_a_feature_of_two_values_has_no_drift_where_it_does_not_change():
    coins = np.random.default_rng(4).integers(0, 2, (1000, 1)).astype(float)
    monitor = FeatureDrift.of(coins, ["coin"])
    for day, row in zip(DAYS, coins, strict=True):
        monitor.update(day, row)
    assert not monitor.alarm


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FeatureDrift.of(TRAINING, ["one"]), "names"),
        (lambda: FeatureDrift.of(np.full((9, 1), np.nan), ["one"]), "no value"),
        (lambda: FeatureDrift.of(TRAINING, ["a", "b"], bins=1), "bins"),
        (lambda: FeatureDrift.of(TRAINING, ["a", "b"], limit=0), "limit"),
        (lambda: FeatureDrift.of(TRAINING, ["a", "b"], half_life=0), "half_life"),
        (lambda: FeatureDrift.of(TRAINING, ["a", "b"]).update(DAYS[0], np.zeros(3)), "shape"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
