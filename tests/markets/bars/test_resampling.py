"""Resampling gives the same numbers as pandas, without lookahead."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import samples
from hypothesis import given
from hypothesis import strategies as st

from markets import Bars, InputError, check, load
from markets.bars.resampling import localized, period_ends

FIELDS = ("open", "high", "low", "close", "volume")
RULES = ["1W", "W-FRI", "ME", "BME", "QE", "B", "3D"]
CLOCK_RULES = ["2h", "7h", "1D", "1W", "ME", "90min"]
ZONES = [None, "UTC", "America/New_York", "Asia/Tokyo"]


@st.composite
def markets(draw, clock=None):
    """OHLCV with gaps and missing times; dates, or irregular hours in some time zone."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    length = draw(st.integers(3, 90))
    bars = samples.gappy_bars(rng, length, draw(st.integers(1, 3)), delist=draw(st.booleans()))
    index = bars.index
    if draw(st.booleans()) if clock is None else clock:
        hours = np.cumsum(rng.choice([1, 1, 1, 2, 17, 65], length))
        index = pd.Timestamp("2020-02-27 09:30") + pd.to_timedelta(hours, unit="h")
        index = index.tz_localize("UTC").tz_convert(draw(st.sampled_from(ZONES[1:]))) if draw(st.booleans()) else index
    else:
        index = index[0] + pd.to_timedelta(np.cumsum(rng.choice([1, 1, 1, 3], length)), unit="D")
    fields = {field: getattr(bars, field) for field in FIELDS}
    gone = {s: index[list(bars.index).index(t)] for s, t in bars.delisted_from.items()}
    gone = {s: t.tz_localize(None) for s, t in gone.items()}
    quoted = rng.choice([np.nan, 0.0, 1e-4, 2e-3], bars.shape) if draw(st.booleans()) else None
    return Bars.make(index, bars.symbols, fields.pop("close"), **fields, spread=quoted, delisted=gone)


def rule_for(bars, draw):
    return draw(st.sampled_from(RULES if (bars.index == bars.index.normalize()).all() else CLOCK_RULES))


def same(a: Bars, b: Bars):
    pd.testing.assert_index_equal(a.index, b.index)
    for field in (*FIELDS, "spread", "tradable", "delisted"):
        np.testing.assert_array_equal(getattr(a, field), getattr(b, field), err_msg=field)


def resampled(bars, rule):
    """Rows, or None where no period is complete."""
    try:
        return bars.resample(rule)
    except InputError as error:
        if "no complete period" not in str(error):
            raise
        return None


@given(st.data())
def test_dates_agree_with_pandas(data):
    bars = data.draw(markets(clock=False))
    rule = data.draw(st.sampled_from(["1W", "W-FRI", "ME", "BME", "QE"]))
    ours = bars.resample(rule, incomplete="keep")
    check_against_pandas(bars, ours, lambda frame: frame.resample(rule))


@given(st.data())
def test_hours_agree_with_pandas(data):
    bars = data.draw(markets(clock=True))
    rule = data.draw(st.sampled_from(["2h", "7h", "90min"]))
    ours = bars.resample(rule, incomplete="keep")

    def grouped(frame):
        frame = frame if frame.index.tz is None else frame.tz_convert("UTC")  # pandas would count from local midnight
        return frame.resample(rule, closed="right", label="right", origin="epoch")

    check_against_pandas(bars, ours, grouped)


def check_against_pandas(bars, ours, grouped):
    how = dict(zip((*FIELDS[:4], "spread"), ("first", "max", "min", "last", "last"), strict=True))
    seen = pd.Series(1, bars.index)
    there = grouped(seen).count() > 0
    labels = there.index[there]
    labels = labels if bars.index.tz is None else labels.tz_convert(bars.index.tz)
    assert len(ours) == len(labels)
    # the last one is labelled by its last bar if it is not complete
    pd.testing.assert_index_equal(ours.index[:-1], labels[:-1], exact=False, check_names=False)
    assert ours.index[-1] == min(labels[-1], bars.index[-1])
    for field in ("high", "low", "close", "volume", *(() if bars.spread is None else ("spread",))):
        values = getattr(bars, field)
        if field in ("high", "low"):  # without a high or low, use open and close
            instead = (np.fmax if field == "high" else np.fmin)(bars.open, bars.close)
            values = np.where(np.isnan(values), instead, values)
        frame = pd.DataFrame(values, bars.index)
        groups = grouped(frame)
        theirs = groups.sum(min_count=1) if field == "volume" else getattr(groups, how[field])()
        np.testing.assert_allclose(getattr(ours, field), theirs[there.to_numpy()].to_numpy(), rtol=1e-13)
    opens = pd.DataFrame(np.where(bars.tradable, bars.open, np.nan), bars.index)
    first = grouped(opens).first()[there.to_numpy()].to_numpy()
    np.testing.assert_array_equal(ours.open[ours.tradable], first[ours.tradable])
    np.testing.assert_array_equal(ours.tradable, np.isfinite(first))


@given(st.data())
def test_no_lookahead(data):
    bars = data.draw(markets())
    rule = rule_for(bars, data.draw)
    whole = resampled(bars, rule)
    cut = data.draw(st.integers(2, len(bars)))
    early = resampled(bars[:cut], rule)
    if early is None:
        assert whole is None or whole.index[0] > bars.index[cut - 1]
    else:
        same(early, whole.until(bars.index[cut - 1]))


@given(st.data())
def test_a_row_is_never_labelled_before_its_last_bar(data):
    bars = data.draw(markets())
    rule = rule_for(bars, data.draw)
    dates = (bars.index == bars.index.normalize()).all()
    ends = period_ends(bars.index, rule, dates)
    assert (ends >= bars.index).all()
    assert ends.is_monotonic_increasing
    # the rows up to a label contain every bar up to that label and no later one
    volume = np.nancumsum(bars.volume, axis=0)
    rows = bars.resample(rule, incomplete="keep")
    known = bars.index.searchsorted(rows.index, side="right") - 1
    np.testing.assert_allclose(np.nancumsum(rows.volume, axis=0), volume[known])


@given(st.data())
def test_a_slice_resamples_to_a_slice_of_the_whole(data):
    bars = data.draw(markets())
    rule = rule_for(bars, data.draw)
    whole = resampled(bars, rule)
    first = data.draw(st.integers(0, len(bars) - 2))
    last = data.draw(st.integers(max(first + 1, 2), len(bars)))
    part = resampled(bars[first:last], rule)
    if part is not None:
        same(part, whole[bars.index[first] : bars.index[last - 1]])
        assert part.past == (whole.index < bars.index[first]).sum()
        same(part.with_past(), whole.until(bars.index[last - 1]))


@given(st.data())
def test_rows_are_bars_that_validation_accepts(data):
    bars = data.draw(markets())
    rows = bars.resample(rule_for(bars, data.draw), incomplete="keep")
    fields = {field: getattr(rows, field) for field in FIELDS}
    live = np.isfinite(rows.close).any(axis=0)
    if len(rows) > 1 and live.all():
        gone = {s: t.tz_localize(None) for s, t in rows.delisted_from.items()}
        Bars.make(rows.index, rows.symbols, fields.pop("close"), **fields, tradable=rows.tradable, delisted=gone)
    with pytest.raises(ValueError, match="read-only"):
        rows.close[0] = 1


def test_resampling_twice_equals_resampling_once():
    bars = load("sp500")
    same(bars.resample("W-FRI"), bars.resample("B").resample("W-FRI"))
    same(bars.resample("QE"), bars.resample("ME").resample("QE"))
    same(bars.resample("1D"), bars)


def test_an_incomplete_week_is_dropped():
    index = pd.date_range("2024-01-01", periods=10)  # a Monday to the Wednesday after the next
    bars = Bars.make(index, ["A"], np.arange(1.0, 11.0)[:, None])
    assert bars.resample("1W").index.tolist() == [pd.Timestamp("2024-01-07")]
    assert bars.resample("1W").close.tolist() == [[7.0]]
    kept = bars.resample("1W", incomplete="keep")
    assert kept.index.tolist() == [pd.Timestamp("2024-01-07"), pd.Timestamp("2024-01-10")]
    assert kept.close.tolist() == [[7.0], [10.0]]
    with pytest.raises(InputError, match="no complete period of 'ME' between 2024-01-01"):
        bars.resample("ME")
    with pytest.raises(InputError, match="'drop' or 'keep'"):
        bars.resample("1W", incomplete="yes")


def test_a_bar_that_ends_on_the_hour_belongs_to_that_hour():
    index = pd.date_range("2024-03-08 09:45", periods=6, freq="15min", tz="America/New_York")
    bars = Bars.make(index, ["A"], np.arange(1.0, 7.0)[:, None])
    rows = bars.resample("1h")
    assert rows.index.tolist() == [index[1], index[5]]
    assert rows.close[:, 0].tolist() == [2.0, 6.0]
    assert rows.index.tz is bars.index.tz


def test_days_of_a_clock_end_at_midnight_of_its_zone():
    index = pd.date_range("2024-03-08 01:00", periods=90, freq="h", tz="America/New_York")  # clocks change on the 10th
    rows = Bars.make(index, ["A"], np.arange(1.0, 91.0)[:, None]).resample("1D")
    assert [str(t) for t in rows.index] == [
        "2024-03-09 00:00:00-05:00", "2024-03-10 00:00:00-05:00", "2024-03-11 00:00:00-04:00",
    ]  # fmt: skip
    assert rows.close[:, 0].tolist() == [24.0, 48.0, 71.0]


def test_a_week_without_bars_has_no_row_and_one_without_a_symbols_bars_is_a_gap():
    index = pd.DatetimeIndex(["2024-01-01", "2024-01-05", "2024-01-15", "2024-01-19"])
    bars = Bars.make(index, ["A", "B"], np.array([[1, 5], [2, np.nan], [3, np.nan], [4, np.nan]], dtype=float))
    rows = bars.resample("W-FRI")
    assert rows.index.tolist() == [index[1], index[3]]
    np.testing.assert_array_equal(rows.close, [[2, 5], [4, np.nan]])
    assert rows.tradable.tolist() == [[True, True], [True, False]]


@pytest.mark.parametrize(("gone", "row"), [(3, 1), (5, 1), (7, 1), (8, 2)])
def test_a_delisted_symbol_is_gone_with_the_row_after_its_last_price(gone, row):
    index = pd.date_range("2024-01-01", periods=21)
    close = np.full((21, 2), 5.0)
    close[gone:, 1] = np.nan
    bars = Bars.make(index, ["A", "B"], close, delisted={"B": index[gone]})
    rows = bars.resample("1W")
    assert np.flatnonzero(rows.delisted[:, 1])[0] == row
    assert not (rows.delisted & rows.tradable).any()
    assert not rows.delisted[:, 0].any()


def test_regression_a_symbol_delisted_long_after_its_last_bar():
    index = pd.date_range("2024-01-01 01:00", periods=100, freq="h")
    close = np.full((100, 2), 5.0)
    close[3:, 1] = np.nan
    bars = Bars.make(index, ["A", "B"], close, delisted={"B": index[90]})
    assert np.flatnonzero(bars.resample("2h").delisted[:, 1])[0] == 45


def test_history_alone_gives_no_visible_row():
    bars = load("sp500")
    with pytest.raises(InputError, match="no complete period"):
        bars["2018-12-24":"2018-12-26"].resample("W-FRI")
    assert len(bars["2018-12-24":"2018-12-28"].resample("W-FRI")) == 1


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("M", "'M' is not a period .*use 'ME'"),
        ("fortnight", "'fortnight' is not a period"),
        ("", "'' is not a period"),
        ("MS", "'MS' has no period end to label bars by"),
        ("-1D", "'-1D' has no period end"),
        ("bh", "'bh' has no period end"),
        ("2W", "'2W' would depend on the first bar"),
        ("1h", "'1h' is finer than a day, but the bars are daily"),
    ],
)
def test_wrong_periods_are_refused(rule, message):
    with pytest.raises(InputError, match=message):
        load("sp500").resample(rule)


def test_no_label_depends_on_where_the_data_starts():
    bars = load("sp500")
    for rule in ("5D", "W-FRI", "BME"):
        labels = [set(bars[k:].without_past().resample(rule).index) for k in range(4)]
        assert all(later <= earlier for earlier, later in pairwise(labels))


def test_regression_zones_whose_clocks_change_at_midnight():
    for zone, first in (("America/Sao_Paulo", "2017-10-09"), ("America/Havana", "2017-10-30")):
        index = localized(pd.date_range(first, periods=15), zone)
        bars = Bars.make(index, ["A"], np.arange(1.0, 16.0)[:, None])
        rows = bars.resample("1W")
        assert [f"{t:%m-%d}" for t in rows.index] == [f"{t:%m-%d}" for t in index[[6, 13]]]
        assert rows.close[:, 0].tolist() == [7.0, 14.0]
        same(bars[:9].resample("1W"), rows.until(index[8]))
        assert check(bars).table.query("kind != 'no return'").empty
