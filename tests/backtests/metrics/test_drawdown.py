from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtests.metrics import drawdowns
from backtests.metrics.drawdown import longest_drawdown
from markets.common.statistics import max_drawdown


def account(equity):
    return SimpleNamespace(
        index=pd.date_range("2024-01-01", periods=len(equity)), equity=np.asarray(equity, dtype=float)
    )


def test_each_fall_has_its_top_bottom_and_end():
    table = drawdowns(account([100, 110, 99, 104.5, 110, 121, 60.5, 80]))
    assert table["depth"].tolist() == pytest.approx([0.5, 0.1])
    assert [str(t.date()) for t in table["start"]] == ["2024-01-06", "2024-01-02"]
    assert [str(t.date()) for t in table["bottom"]] == ["2024-01-07", "2024-01-03"]
    assert pd.isna(table["end"][0])
    assert str(table["end"][1].date()) == "2024-01-05"
    assert table["days"].tolist() == [2, 3]


def test_an_account_that_only_rises_has_none():
    assert drawdowns(account([1, 2, 3])).empty
    assert longest_drawdown(pd.date_range("2024", periods=3), np.array([1.0, 2, 3])) == 0


@given(st.lists(st.floats(1, 1e3), min_size=2, max_size=40))
def test_the_worst_is_the_metric_and_the_longest_is_among_them(equity):
    found = drawdowns(account(equity), worst=100)
    depth = max_drawdown(np.asarray(equity))
    assert (found["depth"].max() if len(found) else 0.0) == pytest.approx(depth, abs=1e-12)
    days = longest_drawdown(account(equity).index, np.asarray(equity))
    assert days == (found["days"].max() if len(found) else 0)
    assert found["depth"].is_monotonic_decreasing
