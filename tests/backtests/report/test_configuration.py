from dataclasses import replace

import numpy as np
import pytest

from backtests import walk_forward
from backtests.report.configuration import configuration, known
from markets import Execution
from strategies import EqualWeight, Momentum


@pytest.fixture(scope="module")
def result(bars):
    execution = Execution(gross=1.5, borrowing=True)
    return walk_forward([EqualWeight(), Momentum(50)], bars[1200:], costs="5bp", execution=execution, progress=False)


def test_it_names_all_that_a_result_depends_on(result):
    rows = dict(configuration(result))
    assert rows["data"] == "synthetic: 300 bars, 1,200 earlier bars as history"
    assert rows["data hash"] == result.bars.hash
    assert rows["span hash"] == result.bars.span_hash
    assert rows["costs"] == "commission 0.0005"
    assert rows["execution"] == "borrowing yes, gross 1.5"
    assert rows["benchmark"] == "equal weight"
    assert "numpy " in rows["packages"]
    assert rows["code commit"]


def recorded(result, shift):
    times = result.bars.index.to_numpy().astype("datetime64[ns]")
    seen = np.append(np.datetime64("NaT"), times[:-1])
    seen[100] = times[100 + shift]
    first = replace(result[0], known=seen)
    return replace(result, backtests=(first, *result.backtests[1:]))


def test_a_position_that_knew_the_future_is_named(result):
    assert known(recorded(result, -1)) == "before each fill, without exception"
    assert known(recorded(result, -5)) == "before each fill, without exception"
    assert known(recorded(result, 0)) == "equal weight knew later bars on 1 bar"
