import numpy as np
import pandas as pd
import pytest

from markets import External, Features, InputError
from markets.features import Calendar, Range, Return, VolumeSurprise
from strategies import (
    Blend,
    Donchian,
    EqualWeight,
    Momentum,
    Policy,
    PolicySettings,
    PolicyStrategy,
    Strategy,
    WeightLimit,
    needs,
)


def policy(*parts):
    return PolicyStrategy(Policy(PolicySettings(features=Features((Return(5, 8), *parts)), base_window=8)).eval(), 4)


class Reads(Strategy):
    reads = ("spread", "open")

    def __init__(self, series):
        self.series = series

    def plan(self, bars):
        return EqualWeight().plan(bars)


@pytest.fixture
def series(bars):
    return External(pd.Series(np.arange(4.0), bars.index[:4], name="rate"))


def test_columns_are_those_of_all_parts_in_one_order(series):
    assert needs.columns(Momentum(5)) == ()
    assert needs.columns(policy(Calendar())) == ()  # times are always sent
    assert needs.columns(policy(VolumeSurprise(5))) == ("volume",)
    whole = WeightLimit(Blend([policy(VolumeSurprise(5), Range(5)), Reads(series), Donchian(3)]), 0.5)
    assert needs.columns(whole) == ("open", "high", "low", "volume", "spread")
    unknown = Reads(series)
    unknown.reads = "vix"
    with pytest.raises(InputError, match="reads has 'vix'; bars have open, high, low, volume, spread"):
        needs.columns(unknown)
    assert [type(part).__name__ for part in needs.walk(whole)] == [
        "WeightLimit", "Blend", "PolicyStrategy", "Reads", "Donchian"
    ]  # fmt: skip


def test_a_part_that_depends_on_all_bars_makes_the_whole_do_so(bars):
    assert not needs.endless(Blend([Momentum(5), EqualWeight()]))
    whole = Blend([Momentum(5), Donchian(3)])
    assert needs.endless(whole)
    assert needs.window(whole, bars[-2:]).past == len(bars) - 2
    assert needs.window(whole.parts[0], bars[-2:]).past == 6


def test_series_are_found_and_changed_in_a_copy(series):
    other = External(pd.Series([9.0], series_index(series), name="rate"))
    ours = WeightLimit(Blend([policy(series), Reads(series), Momentum(5)]), 0.5)
    found = needs.with_series(ours, lambda part: other)
    assert needs.external_series(ours) == [series, series]
    assert needs.external_series(found) == [other, other]
    assert found.strategy.parts[2] is ours.strategy.parts[2]
    assert needs.with_series(Momentum(5), lambda part: other).window == 5


def series_index(series):
    return pd.DatetimeIndex(pd.to_datetime([series.frame.known[0]], unit="us"))
