import json
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
import samples
from hypothesis import given
from hypothesis import strategies as st

from markets import Bars, Features, InputError, feature
from markets.features import Return, VolatilityRatio


def frame(bars) -> pd.DataFrame:
    return pd.DataFrame(bars.close)


@feature(lookback=5)
def swing(bars):
    """Log of the highest over the lowest mark of six bars."""
    rolling = pd.DataFrame(bars.marks).rolling(6)
    return np.log(rolling.max() / rolling.min()).to_numpy() * 100


@feature(lookback=0, needs=("open",))
def overnight(bars):
    return np.log(bars.close / bars.open)


def test_a_users_feature_is_bounded_and_nan_like_the_others(bars):
    features = Features((Return(3, volatility=4), swing, VolatilityRatio(3, 8)))
    found = features.compute(bars)
    assert features.names == ("return_3_volatility_4", "swing", "volatility_ratio_short_3_long_8")
    assert features.lookback == 8
    assert np.isnan(found[:8]).all()
    np.testing.assert_array_equal(found[8:, :, 1], np.clip(swing(bars)[8:], -8, 8))
    np.testing.assert_array_equal(features.compute(bars[40:60]), found[40:60])
    assert found[8:, :, 1].max() == 8


@given(st.integers(0, 2**32 - 1), st.integers(2, 20), st.booleans())
def test_panel_blocks_and_stream_agree_to_the_bit(seed, start, delist):
    bars = samples.gappy_bars(np.random.default_rng(seed), 30, 2, delist=delist)
    features = Features((swing, overnight, Return(2, volatility=3)))
    whole = features.compute(bars)
    np.testing.assert_array_equal(np.concatenate(list(features.blocks(bars, 7))), whole)
    np.testing.assert_array_equal(features.compute(bars[:start]), whole[:start])
    stream = features.stream(bars[:start])
    for t in range(start, 30):
        row = (x[t] for x in (bars.open, bars.high, bars.low, bars.close, bars.volume))
        np.testing.assert_array_equal(stream.push(*row, bars.index[t]), whole[t])


LEAKS = {
    "one bar ahead": lambda bars: frame(bars).pct_change(fill_method=None).shift(-1).to_numpy(),
    "filled backwards": lambda bars: np.log(frame(bars).bfill()).to_numpy(),
    "centred window": lambda bars: frame(bars).rolling(5, center=True, min_periods=1).mean().to_numpy(),
    "whole-sample z-score": lambda bars: ((frame(bars) - frame(bars).mean()) / frame(bars).std()).to_numpy(),
    "share of the span": lambda bars: np.arange(len(bars))[:, None] / len(bars) + np.zeros(bars.shape),
    "level of the last bar": lambda bars: frame(bars).to_numpy() / frame(bars).ffill().iloc[-1].to_numpy(),
}


@pytest.mark.parametrize("leak", LEAKS)
def test_look_ahead_is_refused_with_its_row(leak):
    with pytest.raises(InputError, match=r"looks ahead: row \d+ of [ABC] goes from .* when the bars after row \d+ are"):
        feature(lookback=4)(LEAKS[leak])


def test_other_errors_are_named():
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="two results for the same bars"):
        feature(lookback=4)(lambda bars: rng.normal(size=bars.shape))
    with pytest.raises(InputError, match=r"gives shape \(3,\)"):
        feature(lookback=4)(lambda bars: bars.close[-1])
    with pytest.raises(InputError, match="nan in row 4 of a symbol without gaps"):
        feature(lookback=4)(lambda bars: frame(bars).rolling(9).mean().to_numpy())
    with pytest.raises(InputError, match="reads more than its lookback of 20"):
        feature(lookback=20)(lambda bars: frame(bars).expanding().mean().to_numpy())
    with pytest.raises(
        InputError, match=r"fails on bars that have no more than close .* list the fields it reads in needs"
    ):
        feature(lookback=1)(lambda bars: bars.close / bars.open)
    with pytest.raises(InputError, match=r"reads the bars' times: row \d+ of C goes from .* add needs=\('index',\)"):
        feature(lookback=1)(lambda bars: np.sin(bars.index.day_of_year.to_numpy())[:, None] + np.zeros(bars.shape))
    with pytest.raises(InputError, match="lookback is -1"):
        feature(lookback=-1)
    with pytest.raises(InputError, match="bars have no 'vwap'"):
        feature(lookback=1, needs=("vwap",))


def test_a_field_that_bars_lack_is_named(bars):
    with pytest.raises(InputError, match="overnight reads the open, but synthetic has none"):
        Features((overnight,)).compute(bars)


def test_a_saved_composition_refers_to_features_by_name():
    features = Features((swing, Return(5)))
    config = json.loads(json.dumps(asdict(features)))
    assert Features.from_dict(config) == features
    config["parts"][0]["name"] = "elsewhere"
    with pytest.raises(InputError, match="'elsewhere' is not defined; import the file"):
        Features.from_dict(config)


def test_the_decorator_needs_a_lookback():
    with pytest.raises(InputError, match=r"as in @feature\(lookback=20\)"):

        @feature
        def bare(bars):
            return bars.close


def test_regression_a_feature_that_names_a_symbol_says_so():
    """It died when it was defined: 'VIX' is not in list."""

    def fear(bars):
        vix = np.log(bars.marks[:, bars.symbols.index("VIX")])
        return np.repeat(vix[:, None], bars.shape[1], axis=1)

    with pytest.raises(
        InputError, match=r"fails on the test bars, of A, B, C .* @feature\(lookback=20, symbols=\('VIX',\)\)"
    ):
        feature(lookback=0)(fear)
    with pytest.raises(InputError, match=r"has no symbol 'VIX'.*symbols="):
        feature(lookback=0)(lambda bars: np.repeat(bars.select(["VIX"]).marks, bars.shape[1], axis=1))
    with pytest.raises(InputError, match=r"write a tuple, as in symbols=\('VIX',\)"):
        feature(lookback=0, symbols="VIX")
    part = feature(lookback=0, symbols=("VIX",))(fear)
    features = Features((part, Return(2, volatility=3)))
    assert Features.from_dict(json.loads(json.dumps(asdict(features)))) == features
    close = np.random.default_rng(0).uniform(10, 20, (30, 2))
    index = pd.date_range("2020", periods=30)
    bars = Bars.make(index, ["A", "VIX"], close, tradable=np.tile([True, False], (30, 1)))
    np.testing.assert_array_equal(features.compute(bars)[3:, 0, 0], np.log(close[3:, 1]))
    assert np.isnan(features.compute(bars)[:, 1]).all()
    with pytest.raises(InputError, match="fear reads 'VIX', but bars has no such symbol"):
        features.compute(bars.select(["A"]))


TABLE = pd.Series(20.0, index=pd.date_range("2010", "2019-12-31"))


@pytest.mark.parametrize(
    "look_up",
    [
        lambda bars: TABLE.reindex(bars.index),
        lambda bars: TABLE.loc[bars.index],
        lambda bars: pd.Series([TABLE[time] for time in bars.index]),
    ],
)
@pytest.mark.parametrize("needs", [(), ("index",)])
def test_regression_a_table_of_dates_is_refused_with_what_to_do(look_up, needs):
    """The message was about the lookback."""
    with pytest.raises(
        InputError, match=r"looks dates up in a table of its own.* untradable symbol.* Exogenous"
    ) as refused:
        feature(lookback=0, needs=needs)(lambda bars: np.tile(look_up(bars).to_numpy()[:, None], bars.shape[1]))
    assert "\n" not in str(refused.value)


@given(st.integers(0, 2**32 - 1))
def test_rows_on_which_nothing_trades_change_no_feature(seed):
    rng = np.random.default_rng(seed)
    bars = samples.gappy_bars(rng, 40, 3)
    more, at = samples.with_empty_rows(bars, rng)
    features = Features((swing, overnight))
    np.testing.assert_array_equal(features.compute(more)[at], features.compute(bars))
