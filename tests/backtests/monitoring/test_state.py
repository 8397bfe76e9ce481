import json
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtests.monitoring.state import from_state, to_state
from markets import InputError


@dataclass
class Inner:
    variance: float | np.ndarray


@dataclass
class Outer:
    name: str
    count: int
    weights: np.ndarray
    when: pd.Timestamp | None
    inner: Inner
    names: tuple[str, ...] = ("a",)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1), st.floats(-1e300, 1e300))
def test_numbers_come_back_to_the_bit(weights, variance):
    one = Outer("x", 3, np.array(weights), pd.Timestamp("2020-01-02 03:04:05.123456789", tz="UTC"), Inner(variance))
    back = from_state(Outer, json.loads(json.dumps(to_state(one))), "state")
    assert back.weights.tobytes() == np.array(weights).tobytes()
    assert back.inner.variance == variance
    assert (back.name, back.count, back.when, back.names) == (one.name, one.count, one.when, one.names)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": 1.5}, "count is damaged"),
        ({"count": True}, "count is damaged"),
        ({"weights": ["x"]}, "no array of numbers"),
        ({"weights": [float("nan")]}, "not finite"),
        ({"when": "yesterday's"}, "no time"),
        ({"inner": {"variance": float("inf")}}, "state: inner: variance is damaged"),
        ({"inner": 3}, "it must have"),
        ({"more": 3}, "it must have"),
    ],
)
def test_damage_is_named(change, message):
    state = to_state(Outer("x", 3, np.array([1.0]), None, Inner(1.0)))
    assert from_state(Outer, state, "state").when is None
    with pytest.raises(InputError, match=message):
        from_state(Outer, state | change, "state")
