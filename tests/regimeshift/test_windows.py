import numpy as np
import pandas as pd
import pytest

from markets import Bars, Features, InputError
from regimeshift.windows import Windows


def every(freq, length=1000):
    close = np.exp(np.random.default_rng(0).normal(0, 0.01, (length, 1)).cumsum(axis=0))
    return Bars.make(pd.date_range("2000-01-31", periods=length, freq=freq), ["A"], close)


@pytest.mark.parametrize(
    ("freq", "year", "quarter", "volatility", "task"),
    [
        ("min", 252, 63, 63, 60),
        ("D", 252, 63, 63, 60),
        ("B", 252, 63, 63, 60),
        ("W-FRI", 52, 13, 13, 12),
        ("ME", 12, 3, 12, 12),
    ],
)
def test_windows_are_of_the_same_time_for_longer_bars(freq, year, quarter, volatility, task):
    found = Windows.of(every(freq))
    assert (found.year, found.lookback, found.quarter, found.volatility, found.task) == (
        year,
        year,
        quarter,
        volatility,
        task,
    )
    assert found.features == Features.for_bars(every(freq))
    assert found.features.lookback == year


def test_a_lookback_shortens_the_features_alone():
    found = Windows.of(every("D"), lookback=50)
    assert (found.year, found.task, found.features.lookback) == (252, 60, 50)
    assert Windows.of(every("D", 500), lookback=50).task == 37  # a twelfth of what is left
    assert found.needed == 50 + 1 + 5 * 60


def test_features_are_scaled_from_the_default():
    assert Features.scaled(252) == Features()
    assert [part.horizon for part in Features.scaled(12).parts[:3]] == [1, 3, 12]
    for lookback in (4, 5, 12, 20, 52, 100, 1000):
        assert Features.scaled(lookback).lookback == lookback
    with pytest.raises(InputError, match="lookback is 3; it must be at least 4"):
        Features.scaled(3)
