import io

import numpy as np
import pytest
from PIL import Image

from backtests import walk_forward
from backtests.report.pictures import pictures, shown_first
from markets import HiddenMarkovRegimes
from strategies import EqualWeight, Momentum

PLOTS = {"equity", "rolling", "weights", "turnover", "months", "distribution"}


def colours(png):
    return {tuple(c) for c in np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).reshape(-1, 3)}


@pytest.fixture(scope="module")
def result(bars):
    regimes = HiddenMarkovRegimes(2, restarts=2).fit(bars[:900])
    return walk_forward([EqualWeight(), Momentum(50)], bars[900:], regimes=regimes.filter(bars[900:]), progress=False)


@pytest.fixture(scope="module")
def found(result):
    return pictures(result)


def test_each_main_plot_is_a_picture_that_shows_something(found):
    assert set(found) == PLOTS
    for png in found.values():
        assert Image.open(io.BytesIO(png)).width == 1000
    for name in ("equity", "rolling", "turnover", "distribution"):
        assert {(0x00, 0x72, 0xB2), (0xB3, 0x59, 0x00)} <= colours(found[name])  # the chosen one and the benchmark


def test_the_same_result_gives_the_same_bytes_and_another_strategy_others(result, found):
    assert pictures(result, "momentum 50") == found
    assert pictures(result, "equal weight")["weights"] != found["weights"]


def test_the_first_that_is_not_the_benchmark_is_shown(result, bars):
    assert shown_first(result) == "momentum 50"
    assert shown_first(walk_forward([EqualWeight()], bars[1400:], progress=False)) == "equal weight"


def test_times_of_a_zone_and_few_bars_are_drawn(bars):
    from markets import Bars

    zoned = Bars.make(bars.index[:5].tz_localize("America/New_York"), bars.symbols, bars.close[:5])
    assert set(pictures(walk_forward([EqualWeight()], zoned, progress=False))) == PLOTS
