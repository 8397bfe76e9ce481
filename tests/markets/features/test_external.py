import copy
import json
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
import samples
from hypothesis import given
from hypothesis import strategies as st

from backtests.engine.lookahead import find_lookahead
from markets import Bars, External, Features, InputError
from markets.features import Return, user_defined
from strategies import EqualWeight, Plan, Strategy

DAYS = pd.date_range("2020-01-01", periods=10)


def bars_on(index, symbols=2):
    close = 10 + np.random.default_rng(0).random((len(index), symbols))
    return Bars.make(index, [f"S{i}" for i in range(symbols)], close)


def vix(index, first=0.0):
    return pd.Series(first + np.arange(len(index)) / 10, index, name="vix")


def test_a_value_is_the_last_one_known_a_bar_before():
    series = vix(DAYS[[1, 2, 5]])
    found = External(series, lag=1).joined(bars_on(DAYS))[:, 0]
    np.testing.assert_allclose(found, [np.nan, np.nan, 0, 0.1, 0.1, 0.1, 0.2, 0.2, 0.2, 0.2])
    same = External(series, lag=0).joined(bars_on(DAYS))[:, 0]
    np.testing.assert_allclose(same, [np.nan, 0, 0.1, 0.1, 0.1, 0.2, 0.2, 0.2, 0.2, 0.2])
    np.testing.assert_allclose(External(series, lag=3).joined(bars_on(DAYS))[3:, 0], same[:-3])


def test_a_lag_counts_bars_of_the_market_history_included():
    gappy = bars_on(DAYS).close.copy()
    gappy[4] = np.nan  # no bar
    bars = Bars.make(DAYS, ["S0", "S1"], gappy)
    found = External(vix(DAYS), lag=1).joined(bars)[:, 0] * 10
    np.testing.assert_allclose(found[1:], [0, 1, 2, 2, 3, 5, 6, 7, 8])  # the bar before row 5 is row 3
    np.testing.assert_allclose(External(vix(DAYS), lag=1).joined(bars[5:])[:, 0] * 10, found[5:])


def test_a_value_counts_once_it_is_published():
    series = vix(DAYS[:4])
    late = External(series, lag=0, published="2D").joined(bars_on(DAYS))[:, 0] * 10
    np.testing.assert_allclose(late, [np.nan, np.nan, 0, 1, 2, 3, 3, 3, 3, 3])
    # the second row is published last, when a later one is known: it is news no more
    times = [DAYS[0], DAYS[8], DAYS[4], DAYS[5]]
    found = External(series, lag=0, published=times).joined(bars_on(DAYS))[:, 0] * 10
    np.testing.assert_allclose(found, [0, 0, 0, 0, 2, 3, 3, 3, 3, 3])
    # but if no later one is known, it is
    times = [DAYS[0], DAYS[3], DAYS[4], DAYS[9]]
    found = External(series, lag=0, published=times).joined(bars_on(DAYS))[:, 0] * 10
    np.testing.assert_allclose(found, [0, 0, 0, 1, 2, 2, 2, 2, 2, 3])


def test_times_are_compared_whatever_their_zone_is():
    berlin = pd.date_range("2024-01-02 22:00", periods=6, freq="D", tz="Europe/Berlin")
    new_york = berlin.tz_convert("America/New_York") - pd.Timedelta("1h")
    found = External(vix(new_york), lag=0).joined(bars_on(berlin))[:, 0] * 10
    np.testing.assert_allclose(found, range(6))
    later = External(vix(new_york + pd.Timedelta("2h")), lag=0).joined(bars_on(berlin))[:, 0] * 10
    np.testing.assert_allclose(later, [np.nan, *range(5)])
    published = External(vix(new_york), lag=0, published=berlin + pd.Timedelta("1min")).joined(bars_on(berlin))[:, 0]
    np.testing.assert_allclose(published * 10, [np.nan, *range(5)])


@pytest.mark.parametrize(("ours", "theirs"), [("UTC", None), (None, "UTC")])
def test_times_with_and_without_a_zone_are_not_compared(ours, theirs):
    index = pd.date_range("2024-01-02", periods=6)
    with pytest.raises(InputError, match=r"external_vix: the times of .* have a time zone, and those of .* have none"):
        External(vix(index.tz_localize(theirs))).joined(bars_on(index.tz_localize(ours)))


def test_dates_beside_times_of_day_need_to_say_when_they_are_known():
    index = pd.date_range("2024-01-02 10:00", periods=60, freq="h")
    daily = vix(pd.date_range("2024-01-02", periods=4))
    with pytest.raises(InputError, match="the series has dates, and bars times of day; say when a value is known"):
        External(daily).joined(bars_on(index))
    found = External(daily, lag=0, published="1D").joined(bars_on(index))[:, 0]
    assert np.isnan(found[index < "2024-01-03"]).all()
    assert (found[(index >= "2024-01-03") & (index < "2024-01-04")] == 0).all()


def frames():
    good = pd.DataFrame({"vix": np.arange(5.0), "rate": 0.1}, DAYS[:5])
    return {
        "row 3 .*2020-01-02.* comes after": good.iloc[[0, 2, 3, 1, 4]],
        "row 2 .*2020-01-02.* appears twice": good.iloc[[0, 1, 1, 2]],
        "vix is nan in row 2 .*drop that row": good.where(good["vix"] != 2),
        "rate is inf in row 0": good.assign(rate=np.inf),
        "row 1 has no time": good.set_axis([DAYS[0], pd.NaT, *DAYS[2:5]]),
        "not DataFrame by RangeIndex": good.reset_index(drop=True),
        "not list": [1, 2],
        "must be numbers": good.assign(rate="low"),
        "it must have rows": good.iloc[:0],
        "columns of different names": good.set_axis(["a", "a"], axis=1),
        "name it, as in": good["vix"].rename(None),
    }


@pytest.mark.parametrize("message", frames())
def test_input_that_is_wrong_is_refused_with_its_row(message):
    with pytest.raises(InputError, match=message):
        External(frames()[message])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lag": -1}, "lag is -1"),
        ({"lag": 0.5}, "lag is 0.5"),
        ({"published": "soon"}, "published is 'soon'"),
        ({"published": "-1D"}, "row 0 .* is published at 2019-12-31 .* before it"),
        ({"published": DAYS[:3]}, "published has 3 times .* one for each of the 10 rows"),
        ({"published": [*DAYS[:9], pd.NaT]}, "row 9 .* is published at NaT"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(InputError, match=message):
        External(vix(DAYS), **settings)


def test_a_level_that_features_do_not_hold_is_refused():
    with pytest.raises(InputError, match=r"external_vix is 20\.1 in row 1, and features are bounded to ±8; scale"):
        Features((External(vix(DAYS, first=20).where(DAYS[0] < DAYS, 1)),)).compute(bars_on(DAYS))
    assert External(vix(DAYS, first=20)).joined(bars_on(DAYS))[-1, 0] == pytest.approx(20.8)  # rules read any


@given(seed=st.integers(0, 2**32 - 1), t=st.integers(1, 58), lag=st.integers(0, 4))
def test_a_row_is_bit_identical_whatever_comes_later(seed, t, lag):
    """Later bars cut off, later values of the series cut off, or others in their place."""
    rng = np.random.default_rng(seed)
    bars = samples.gappy_bars(rng, 60, 3)
    times = bars.index[np.sort(rng.choice(60, 25, replace=False))] + pd.Timedelta("3h")
    frame = pd.DataFrame(rng.normal(0, 1, (25, 2)), times, ["vix", "rate"])
    published = times + pd.to_timedelta(rng.integers(0, 200, 25), unit="h")
    features = Features((Return(2, 4), External(frame, lag, published)))
    whole = features.compute(bars)
    assert whole.shape == (60, 3, 3)
    np.testing.assert_array_equal(features.compute(bars[: t + 1]), whole[: t + 1])
    known = published <= bars.index[t]
    other = frame.where(np.column_stack([known, known]), rng.normal(0, 1, (25, 2)))
    np.testing.assert_array_equal(
        Features((Return(2, 4), External(other, lag, published))).compute(bars)[: t + 1], whole[: t + 1]
    )
    if known.any():
        cut = External(frame[known], lag, published[known])
        np.testing.assert_array_equal(Features((Return(2, 4), cut)).compute(bars)[: t + 1], whole[: t + 1])


@given(seed=st.integers(0, 2**32 - 1))
def test_a_stream_and_blocks_are_the_panel(seed):
    rng = np.random.default_rng(seed)
    bars = samples.gappy_bars(rng, 40, 3)
    times = bars.index[::3] + pd.Timedelta("1h")
    frame = pd.DataFrame(rng.normal(0, 1, (len(times), 2)), times, ["vix", "rate"])
    features = Features((Return(2, 4), External(frame, 2)))
    whole = features.compute(bars)
    np.testing.assert_array_equal(np.concatenate(list(features.blocks(bars, 7))), whole)
    stream = features.stream(bars[:20])
    for t in range(20, 40):
        row = [values[t] for values in bars.fields.values()]
        np.testing.assert_array_equal(stream.push(*row, bars.index[t], bars.tradable[t]), whole[t])


def test_it_passes_the_check_of_functions():
    """The one that refuses a user's function which looks ahead."""
    index = pd.date_range("2019-12-01", periods=200, freq="17h")
    for lag in (0, 1, 3):
        part = External(pd.Series(np.sin(np.arange(200.0)), index, name="vix"), lag, published="5h")
        user_defined.check_causal("vix", lambda bars, p=part: p.values(bars)[..., 0], lag, ("index",))


def test_in_a_gap_of_a_symbol_the_series_moves_on():
    close = bars_on(DAYS).close.copy()
    close[3:7, 0] = np.nan
    found = Features((External(vix(DAYS), 1),)).compute(Bars.make(DAYS, ["S0", "S1"], close))
    np.testing.assert_array_equal(found[1:, 0], found[1:, 1])


def test_it_is_saved_with_its_values():
    zoned = pd.DataFrame({"vix": [1.0, 2.0], "long rate": [0.1, 0.2]}, pd.DatetimeIndex(DAYS[:2], tz="UTC"))
    features = Features((Return(2, 4), External(zoned, 0, "2h")))
    again = Features.from_dict(json.loads(json.dumps(asdict(features))))
    assert again == features
    assert hash(again) == hash(features)
    assert again.names == ("return_2_volatility_4", "external_vix_lag_0", "external_long_rate_lag_0")
    assert copy.deepcopy(features) == features


class Fearful(Strategy):
    """A user's own rule: in cash while the series is above 0."""

    name = "fearful"

    def __init__(self, series, lag):
        self.fear = External(series, lag)

    def plan(self, bars):
        calm = self.fear.joined(bars)[:, 0] <= 0
        return Plan(np.where(calm[:, None], EqualWeight().plan(bars).aim, 0.0))


def test_a_rule_of_ones_own_reads_it_without_looking_ahead(bars):
    series = pd.Series(np.sin(np.arange(len(bars))), bars.index, name="fear")
    assert find_lookahead(lambda: Fearful(series, 1), bars[-200:], cuts=4, progress=False) == []
    assert 0.3 < (Fearful(series, 1).plan(bars).aim.sum(axis=1) > 0).mean() < 0.7


def test_regression_a_day_of_25_hours_ends_at_midnight():
    """24 hours after midnight of 1 November 2020 it was 23:00 in New York, and the day not over."""
    zone = "America/New_York"
    daily = vix(pd.date_range("2020-11-01", periods=3, tz=zone))
    index = pd.date_range("2020-11-01 20:00", periods=60, freq="h", tz=zone)
    found = External(daily, lag=0, published="1D").joined(bars_on(index))[:, 0]
    assert np.isnan(found[index < pd.Timestamp("2020-11-02", tz=zone)]).all()
    assert np.isfinite(found[index >= pd.Timestamp("2020-11-02", tz=zone)]).all()


def test_regression_a_day_of_23_hours_ends_at_midnight():
    zone = "America/New_York"
    daily = vix(pd.date_range("2020-03-08", periods=3, tz=zone))
    index = pd.date_range("2020-03-08 20:00", periods=60, freq="h", tz=zone)
    found = External(daily, lag=0, published="1D").joined(bars_on(index))[:, 0]
    np.testing.assert_array_equal(np.isfinite(found), index >= pd.Timestamp("2020-03-09", tz=zone))
