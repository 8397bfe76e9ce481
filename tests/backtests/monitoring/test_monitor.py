"""What all monitors share: each is fed the same days, stopped anywhere, and goes on to the bit."""

import json

import numpy as np
import pandas as pd
import pytest

from backtests.monitoring import ComparisonAlarm, CostAlarm, EdgeAlarm, FeatureDrift, Monitor
from markets import InputError

DAYS = pd.bdate_range("2020-01-01", periods=120, tz="UTC")
RNG = np.random.default_rng(3)
ROWS = (
    RNG.standard_normal((120, 3)) * 0.01 - 0.006
)  # a strategy that loses, a challenger of which the first is worse, and costs
TRAINING = RNG.standard_normal((300, 2))


def fresh():
    return {
        "edge": EdgeAlarm(floor=0.06, volatility=0.01),
        "comparison": ComparisonAlarm(volatility=0.01),
        "cost": CostAlarm(volatility=5e-4),
        "drift": FeatureDrift.of(TRAINING, ["one", "two"], half_life=10),
    }


def feed(monitor, time, row):
    if isinstance(monitor, EdgeAlarm):
        monitor.update(time, row[0])
    elif isinstance(monitor, ComparisonAlarm):
        monitor.update(time, row[0], abs(row[1]))
    elif isinstance(monitor, CostAlarm):
        monitor.update(time, 10 + abs(row[2]) * 1e3, 10.0, 1e4)
    else:
        monitor.update(time, 3 + row[:2])


@pytest.fixture(params=fresh())
def kind(request):
    return request.param


@pytest.mark.parametrize("stop", [0, 1, 37])
def test_a_restart_goes_on_to_the_bit(kind, stop):
    through, stopped = fresh()[kind], fresh()[kind]
    for k, (day, row) in enumerate(zip(DAYS, ROWS, strict=True)):
        if k == stop:
            stopped = Monitor.from_dict(json.loads(json.dumps(stopped.to_dict(), allow_nan=False)))
        feed(through, day, row)
        feed(stopped, day, row)
        assert stopped.value == through.value
    assert stopped.to_dict() == through.to_dict()
    assert through.alarm
    assert stopped.since == through.since
    assert DAYS[0] <= through.since < DAYS[-1]


def test_a_replayed_bar_changes_nothing(kind):
    once, twice = fresh()[kind], fresh()[kind]
    for day, row in zip(DAYS[:50], ROWS[:50], strict=True):
        feed(once, day, row)
        feed(twice, day, row)
        feed(twice, day, -row)
    assert once.to_dict() == twice.to_dict()


def test_bars_out_of_order_are_refused_and_change_nothing(kind):
    monitor = fresh()[kind]
    feed(monitor, DAYS[5], ROWS[5])
    before = monitor.to_dict()
    wrongs = {DAYS[4]: "in order", DAYS[6].tz_localize(None): "time zone", pd.NaT: "missing", "noon?": "give a time"}
    for wrong, message in wrongs.items():
        with pytest.raises(InputError, match=message):
            feed(monitor, wrong, ROWS[6])
    assert monitor.to_dict() == before


@pytest.mark.parametrize("kind", ["edge", "comparison", "cost"])
def test_values_that_are_not_finite_are_refused_and_change_nothing(kind):
    """A missing feature is a value."""
    monitor = fresh()[kind]
    with pytest.raises(InputError, match="finite"):
        feed(monitor, DAYS[0], np.full(3, np.nan))
    assert monitor.to_dict() == fresh()[kind].to_dict()


def test_the_state_does_not_grow(kind):
    monitor = fresh()[kind]
    feed(monitor, DAYS[0], ROWS[0])
    short = len(json.dumps(monitor.to_dict()))
    for day, row in zip(DAYS[1:], ROWS[1:], strict=True):
        feed(monitor, day, row)
    assert len(json.dumps(monitor.to_dict())) < 1.5 * short + 100


def test_a_state_of_another_kind_or_format_is_refused(kind):
    state = fresh()[kind].to_dict()
    other = CostAlarm if kind == "edge" else EdgeAlarm
    with pytest.raises(InputError, match=f"not of a {other.__name__}"):
        other.from_dict(state)
    with pytest.raises(InputError, match="later version"):
        Monitor.from_dict(state | {"format": 99})
    for no_monitor in ("os.system", "OneSidedAlarm"):  # the latter is a base class
        with pytest.raises(InputError, match="is not known"):
            Monitor.from_dict(state | {"kind": no_monitor})
    with pytest.raises(InputError, match="damaged"):
        Monitor.from_dict({name: value for name, value in state.items() if name != "last"})
    with pytest.raises(InputError, match="dictionary"):
        Monitor.from_dict([])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EdgeAlarm(floor=0.1, volatility=0.0), "volatility"),
        (lambda: EdgeAlarm(floor=20.0, volatility=0.01), "floor"),
        (lambda: EdgeAlarm(floor=0.1, volatility=0.01, level=1.0), "level"),
        (lambda: ComparisonAlarm(volatility=0.01, clip=-1), "clip"),
        (lambda: CostAlarm(volatility=0.01, tolerance=-1), "tolerance"),
    ],
)
def test_settings_out_of_range_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
