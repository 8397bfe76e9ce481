import copy
import pickle

import numpy as np
import pandas as pd
import pytest
import samples
from hypothesis import given
from hypothesis import strategies as st

from markets import Bars, InputError

INDEX = pd.date_range("2020-01-01", periods=4)
CLOSE = np.array([[1.0, 2.0], [1.1, np.nan], [1.2, 2.2], [1.3, 2.3]])


def make(close=CLOSE, index=INDEX, symbols=("A", "B"), **fields):
    return Bars.make(index, symbols, close, **fields)


def test_a_gap_is_untradable_and_keeps_its_last_mark():
    bars = make()
    assert bars.tradable.tolist() == [[True, True], [True, False], [True, True], [True, True]]
    assert bars.marks[:, 1].tolist() == [2.0, 2.0, 2.2, 2.3]


def test_marks_before_a_listing_are_unknown_not_filled_backwards():
    close = CLOSE.copy()
    close[:2, 1] = np.nan
    assert np.isnan(make(close).marks[:2, 1]).all()


def test_values_cannot_be_changed():
    bars = make()
    for array in (bars.close, bars.tradable, bars.marks):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    source = CLOSE.copy()
    bars = make(source)
    source[0, 0] = 99
    assert bars.close[0, 0] == 1.0


def test_a_slice_keeps_its_past_and_nothing_later():
    bars = make()
    middle = bars["2020-01-02":"2020-01-03"]
    assert (len(middle), middle.past) == (2, 1)
    assert len(middle.with_past()) == 3
    assert middle._fields["close"].shape[0] == 3
    assert len(middle.without_past().with_past()) == 2
    assert middle[1:].past == 2
    assert len(bars.until("2020-01-02")) == 2


def test_slices_by_position():
    bars = make()
    assert bars[-1:].index[0] == INDEX[3]
    assert bars[1:3].index.tolist() == INDEX[1:3].tolist()
    assert bars[-2:].past == 2


@given(st.integers(0, 3), st.integers(1, 4))
def test_marks_of_a_slice_are_the_slice_of_marks(first, last):
    bars = make()
    if first < last:
        np.testing.assert_array_equal(bars[first:last].marks, bars.marks[first:last])


def test_select_keeps_the_past():
    part = make()["2020-01-03":].select(["B"])
    assert (part.symbols, part.past) == (("B",), 2)
    assert part.close.tolist() == [[2.2], [2.3]]


def test_hash_depends_on_every_value():
    changed = CLOSE.copy()
    changed[3, 1] += 1e-12
    assert make().hash == make().hash
    assert make().hash != make(changed).hash
    assert make().hash != make(symbols=("A", "C")).hash
    assert make().hash != make(index=INDEX + pd.Timedelta("1h")).hash


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"index": INDEX[[0, 1, 1, 2]]}, r"2020-01-02 00:00:00 appears twice \(bars 1 and 2\)"),
        ({"index": INDEX[[0, 2, 1, 3]]}, r"not sorted: bar 2 \(2020-01-02"),
        ({"index": INDEX[:1], "close": CLOSE[:1]}, "at least 2"),
        ({"symbols": ("A", "A")}, "'A' appears twice"),
        ({"close": np.where(CLOSE == 1.2, -1.2, CLOSE)}, r"close of A at 2020-01-03 00:00:00 \(bar 2\) is -1.2"),
        ({"close": np.where(CLOSE == 1.2, 0.0, CLOSE)}, "a price must be positive"),
        ({"close": np.where(CLOSE == 1.2, np.inf, CLOSE)}, "must be finite"),
        ({"close": np.where(CLOSE >= 2, np.nan, CLOSE)}, "symbol B has no close at all"),
        ({"volume": -CLOSE}, "a volume cannot be negative"),
        ({"high": CLOSE * 0.9}, "above the high of the same bar"),
        ({"low": CLOSE * 1.1}, "below the low of the same bar"),
        ({"open": CLOSE[:2]}, r"open has shape \(2, 2\)"),
    ],
)
def test_impossible_values_are_refused_by_name(change, message):
    with pytest.raises(InputError, match=message):
        make(**change)


def test_an_empty_span_says_what_there_is():
    with pytest.raises(InputError, match="no bars from 2030 to the end: bars runs from 2020-01-01"):
        make()["2030":]
    with pytest.raises(InputError, match="not a span of time"):
        make()["soon":]
    with pytest.raises(InputError, match="no symbol 'X'; it has A, B"):
        make().select(["X"])


def test_listed_is_known_at_each_bar():
    close = np.full((60, 3), 5.0)
    close[:10, 0] = np.nan
    close[20:, 1] = np.nan
    close[30:, 2] = np.nan
    index = pd.date_range("2020-01-01", periods=60)
    bars = Bars.make(index, ["late", "gone", "delisted"], close, delisted={"delisted": index[30]})
    listed = bars.listed
    assert np.flatnonzero(listed[:, 0]).tolist() == list(range(10, 60))
    assert np.flatnonzero(listed[:, 1]).tolist() == list(range(19 + 30 + 1))  # 30 days after its last close
    assert np.flatnonzero(listed[:, 2]).tolist() == list(range(30))
    np.testing.assert_array_equal(bars[:25].listed, listed[:25])
    np.testing.assert_array_equal(bars[35:].listed, listed[35:])


def test_what_is_delisted_cannot_trade_after():
    with pytest.raises(InputError, match="A is delisted from 2020-01-03 00:00:00, but trades after"):
        make(delisted={"A": "2020-01-03"})
    with pytest.raises(InputError, match="there is no symbol 'X'"):
        make(delisted={"X": "2020-01-03"})


def test_regression_a_span_that_is_not_one_of_time():
    with pytest.raises(InputError, match="not a span of time"):
        make()["nan":]


def test_regression_marks_are_read_only_after_select_too(bars):
    chosen = bars.select(bars.symbols[:1])
    with pytest.raises(ValueError, match="read-only"):
        chosen.marks[0] = 99
    with pytest.raises(InputError, match="name at least one symbol"):
        bars.select([])


def test_other_values_keep_times_past_and_delistings(bars):
    other = bars["2003":].with_values(close=bars.close * 2)
    assert other.past == bars["2003":].past
    np.testing.assert_array_equal(other.close, 2 * bars["2003":].close)


def test_regression_a_delisting_is_part_of_the_identity():
    index = pd.date_range("2020-01-01", periods=5)
    close = np.array([10.0, 10.0, 10.0, np.nan, np.nan])[:, None]
    listed, gone = Bars.make(index, ["A"], close), Bars.make(index, ["A"], close, delisted={"A": index[4]})
    assert listed.hash != gone.hash


@pytest.mark.parametrize("again", [copy.deepcopy, lambda bars: pickle.loads(pickle.dumps(bars))])
def test_a_copy_is_as_immutable_as_the_bars(again):
    other = again(make())
    for array in (other.close, other.tradable, other.marks):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_regression_one_hash_of_the_data_set_and_one_of_the_span():
    """The hash hung on where the visible rows began, so that no two logs of one data set could be matched."""
    bars = samples.regime_bars(60, 2, seed=1)
    late = bars[40:]
    assert late.hash == bars.hash == bars.with_past().hash
    assert late.span_hash == late.without_past().hash == bars[30:][10:].span_hash
    assert late.span_hash != bars.span_hash == bars.hash
    assert bars[:40].hash not in (bars.hash, late.span_hash)


NAIVE = pd.date_range("2020-01-01", periods=40)
AWARE = NAIVE.tz_localize("America/New_York")


def line(index, **more):
    return Bars.make(index, ["A", "B"], np.arange(1.0, 1 + 2 * len(index)).reshape(-1, 2), **more)


@pytest.mark.parametrize("time", ["2020-01-11", pd.Timestamp("2020-01-11"), np.datetime64("2020-01-11")])
def test_regression_a_time_without_an_offset_is_in_the_zone_of_the_bars(time):
    """A naive Timestamp on aware bars was refused as "not a span of time"."""
    assert line(AWARE)[time:].index[0] == AWARE[10]
    assert line(AWARE).until(time).index[-1] == AWARE[10]
    assert line(NAIVE)[time:].index[0] == NAIVE[10]


def test_regression_a_time_with_an_offset_is_converted_or_refused_in_one_line():
    """An aware Timestamp on naive bars was a raw TypeError, or a message about writing 2008."""
    utc = pd.Timestamp("2020-01-11 05:00", tz="UTC")  # midnight in New York
    assert line(AWARE)[utc:].index[0] == AWARE[10]
    for ask in (lambda: line(NAIVE)[utc:], lambda: line(NAIVE).until(utc)):
        with pytest.raises(InputError, match="has a UTC offset, but the times of the data have none"):
            ask()


def test_regression_delisting_dates_with_and_without_an_offset():
    """An aware date was a raw ValueError on aware bars, and a raw TypeError on naive ones."""
    close = np.arange(1.0, 81).reshape(-1, 2)
    close[20:, 1] = np.nan
    for index in (NAIVE, AWARE):
        gone = Bars.make(index, ["A", "B"], close, delisted={"B": "2020-01-21"})
        assert gone.delisted[:, 1].sum() == 20
    utc = pd.Timestamp("2020-01-21 05:00", tz="UTC")
    assert Bars.make(AWARE, ["A", "B"], close, delisted={"B": utc}).delisted_from["B"] == AWARE[20]
    with pytest.raises(
        InputError, match=r"delisted: B 2020-01-21 .* has a UTC offset, but the times of the data have none"
    ):
        Bars.make(NAIVE, ["A", "B"], close, delisted={"B": utc})
    with pytest.raises(InputError, match="delisted: B 'soon' is not a time"):
        Bars.make(NAIVE, ["A", "B"], close, delisted={"B": "soon"})


QUOTED = np.array([[1e-3, np.nan], [2e-3, 3e-3], [0.0, 4e-3], [5e-3, np.nan]])


def test_quoted_spreads_go_along_with_the_rows_and_the_symbols():
    bars = make(spread=QUOTED)
    np.testing.assert_array_equal(bars[1:3].spread, QUOTED[1:3])
    np.testing.assert_array_equal(bars[1:3].with_past().spread, QUOTED[:3])
    np.testing.assert_array_equal(bars[2:].without_past().spread, QUOTED[2:])
    np.testing.assert_array_equal(bars.select(["B"]).spread, QUOTED[:, 1:])
    np.testing.assert_array_equal(bars.with_values(close=CLOSE * 2).spread, QUOTED)
    np.testing.assert_array_equal(bars.with_values(close=CLOSE, spread=QUOTED / 2).spread, QUOTED / 2)
    with pytest.raises(ValueError, match="read-only"):
        bars.spread[0] = 1
    assert "spread" not in bars.fields  # it is no price, and nothing that a feature reads
    assert bars.tradable.tolist() == make().tradable.tolist()


def test_quoted_spreads_are_part_of_the_hash():
    bars = make(spread=QUOTED)
    hashes = {make().hash, bars.hash, make(spread=QUOTED * 2).hash}
    assert make().spread is None
    assert len(hashes) == 3
    assert bars[:2].span_hash == make(spread=QUOTED)[:2].span_hash


@pytest.mark.parametrize("value", [-1e-4, 1.0, np.inf])
def test_a_spread_is_a_fraction_of_the_price(value):
    wrong = QUOTED.copy()
    wrong[2, 1] = value
    with pytest.raises(InputError, match=r"spread of B at 2020-01-03 00:00:00 \(bar 2\) is .*: (a spread|values)"):
        make(spread=wrong)
