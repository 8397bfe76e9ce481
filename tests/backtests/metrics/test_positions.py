import numpy as np
import pandas as pd
import pytest

from backtests.metrics.positions import holding_days

INDEX = pd.DatetimeIndex(["2024-01-01", "2024-01-02", "2024-01-05", "2024-01-06", "2024-01-10"])


def days(*columns):
    return holding_days(INDEX, np.array(columns, dtype=float).T)


def test_a_position_is_open_from_its_first_mark_to_the_one_without_it():
    assert days([0, 0.5, 0.4, 0, 0]) == 4
    assert days([0, 0.5, 0, 0.5, 0]) == pytest.approx((3 + 4) / 2)


def test_a_change_of_side_closes_one_and_opens_another():
    assert days([0.5, 0.5, -0.5, -0.5, 0]) == pytest.approx((4 + 5) / 2)


def test_what_is_open_at_the_end_counts_until_then():
    assert days([1, 1, 1, 1, 1]) == 9
    assert days([1, 1, 1, 1, 1], [0, 0, 0, 1, 1]) == pytest.approx((9 + 4) / 2)


def test_without_a_position_there_is_no_mean():
    assert np.isnan(days([0, 0, 0, 0, 0]))
