import base64

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unpacking import unpacked

from backtests.report.compact import Clock, packed


@given(st.lists(st.floats(-1e6, 1e6) | st.just(np.nan), min_size=1, max_size=50))
def test_a_value_comes_back_to_a_fraction_of_the_range(values):
    values = np.array(values)
    found = unpacked(packed(values))
    seen = np.isfinite(values)
    np.testing.assert_array_equal(np.isfinite(found), seen)
    span = np.ptp(values[seen]) if seen.any() else 0.0
    np.testing.assert_allclose(found[seen], values[seen], rtol=1e-12, atol=span / 131_000 + 1e-300)


def test_infinities_are_gaps_and_a_constant_is_itself():
    np.testing.assert_array_equal(unpacked(packed(np.array([np.inf, 2.0, -np.inf, 2.0]))), [np.nan, 2, np.nan, 2])
    assert np.isnan(unpacked(packed(np.array([np.nan])))).all()


@pytest.mark.parametrize(("freq", "unit"), [("D", 86_400_000), ("B", 86_400_000), ("h", 3_600_000), ("15min", 900_000)])
def test_a_clock_counts_whole_steps(freq, unit):
    index = pd.date_range("2020-01-03", periods=60, freq=freq)
    clock = Clock.of(index)
    assert clock.unit == unit
    back = pd.to_datetime(clock.start + clock.unit * clock.offsets, unit="ms")
    assert (back == index).all()


def test_a_clock_shows_what_the_markets_clocks_show():
    index = pd.DatetimeIndex(["2024-03-08 16:00", "2024-03-11 16:00"]).tz_localize("America/New_York")
    clock = Clock.of(index)
    assert pd.Timestamp(clock.start, unit="ms") == pd.Timestamp("2024-03-08 16:00")
    assert clock.unit * clock.offsets[1] == 3 * 86_400_000  # although that night had 23 hours


def test_many_minutes_need_more_bits():
    clock = Clock.of(pd.date_range("2020", periods=70_000, freq="min"))
    held = clock.packed(np.array([0, 69_999]))
    assert held["kind"] == "u4"
    np.testing.assert_array_equal(np.frombuffer(base64.b64decode(held["b"]), "<u4"), [0, 69_999])
    assert Clock.of(pd.date_range("2020", periods=3, freq="D")).packed(np.array([2]))["kind"] == "u2"


def test_a_single_bar_has_a_clock():
    clock = Clock.of(pd.DatetimeIndex(["2020-01-01"]))
    assert (clock.unit, clock.offsets.tolist()) == (1, [0])
