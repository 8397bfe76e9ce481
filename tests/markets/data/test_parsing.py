import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from markets import InputError
from markets.data.parsing import parse_numbers, parse_times

WHERE = "row {}".format
STYLES = {"US": (",", "."), "European": (".", ","), "Swiss": ("’", "."), "French": ("\u202f", ","), "plain": ("", ".")}


def read(*cells):
    return parse_numbers({"x": pd.Series(cells, dtype=object)}, WHERE)["x"].tolist()


@given(
    st.lists(st.integers(1, 10**11), min_size=1, max_size=6),
    st.sampled_from(sorted(STYLES)),
    st.sampled_from(["", "$", "EUR "]),
)
def test_a_number_means_the_same_in_every_style(cents, style, sign):
    """Two decimals decide which of comma and dot is the decimal mark."""
    thousands, decimal = STYLES[style]
    cells = [sign + f"{c / 100:,.2f}".replace(",", "t").replace(".", decimal).replace("t", thousands) for c in cents]
    assert read(*cells) == [c / 100 for c in cents]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=6))
def test_what_python_writes_is_read_exactly(values):
    assert read(*map(repr, values)) == values


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1,234", "12.5"], [1234.0, 12.5]),
        (["1,234", "12,5"], [1.234, 12.5]),
        (["1,234", "1,234,567"], [1234.0, 1234567.0]),
        (["1.234", "1.234.567"], [1234.0, 1234567.0]),
        (["0,123"], [0.123]),
        (["1,2345"], [1.2345]),
        (["1.234"], [1.234]),
        ([" 12 ", None, ""], [12.0, np.nan, np.nan]),
        (["-$1,234.50", "$-2.00"], [-1234.5, -2.0]),
        ([12, "13"], [12.0, 13.0]),
    ],
)
def test_ambiguous_cells_are_read_by_the_unambiguous_ones(cells, values):
    np.testing.assert_array_equal(read(*cells), values)


def test_another_column_can_resolve_the_ambiguity():
    columns = {"volume": pd.Series(["1,234", "2,345"]), "close": pd.Series(["10.5", "11"])}
    assert parse_numbers(columns, WHERE)["volume"].tolist() == [1234.0, 2345.0]


@pytest.mark.parametrize("cell", ["1,23,456", "1.2.3", "12%", "(12)", "1 2", "--1", "1,5,", "$", "1e5,0", "12 USD EUR"])
def test_wrong_numbers_are_refused(cell):
    with pytest.raises(InputError, match=r"row 1, column 'x': .* is not a number"):
        read("1", cell)


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["2020-01-31", "2020-02-01"], "2020-01-31 00:00:00"),
        (["2020-01-31T09:30", "2020-01-31T09:31"], "2020-01-31 09:30:00"),
        (["31/01/2020", "01/02/2020"], "2020-01-31 00:00:00"),
        (["3/1/2020 9:30:15", "13/1/2020 9:30:15"], "2020-01-03 09:30:15"),
        (["1-3-2020", "1-13-2020"], "2020-01-03 00:00:00"),
        (["03-Jan-2020 09:30", "04-Jan-2020 09:30"], "2020-01-03 09:30:00"),
        (["2020.01.03 09:30:15.5", "2020.01.04 09:30:15.5"], "2020-01-03 09:30:15.500000"),
        (["20200103", "20200104"], "2020-01-03 00:00:00"),
        ([1577836800, 1577836801], "2020-01-01 00:00:00+00:00"),
        ([1577836800.25, 1577836801.0], "2020-01-01 00:00:00.250000+00:00"),
        (["1577836800123", "1577836800124"], "2020-01-01 00:00:00.123000+00:00"),
        ([1577836800123456, 1577836800123457], "2020-01-01 00:00:00.123456+00:00"),
        ([1577836800123456789, 1577836800123456790], "2020-01-01 00:00:00.123456789+00:00"),
        (["2020-01-01T10:00+01:00", "2020-01-01T11:00+02:00"], "2020-01-01 09:00:00+00:00"),
        (["2020-01-01T10:00+01:00", "2020-01-01T11:00+01:00"], "2020-01-01 10:00:00+01:00"),
    ],
)
def test_times_are_parsed(cells, expected):
    assert str(parse_times(pd.Series(cells), "t", WHERE)[0]) == expected


@given(
    st.lists(st.datetimes(pd.Timestamp("1990"), pd.Timestamp("2099")), min_size=1, max_size=5), st.sampled_from("dm")
)
def test_day_and_month_are_told_apart_or_asked_about(moments, first):
    style = "%d/%m/%Y %H:%M" if first == "d" else "%m/%d/%Y %H:%M"
    column = pd.Series([f"{m:{style}}" for m in moments])
    if all(m.day <= 12 for m in moments):
        with pytest.raises(InputError, match="day or month first"):
            parse_times(column, "t", WHERE)
    else:
        assert parse_times(column, "t", WHERE).tolist() == [m.replace(second=0, microsecond=0) for m in moments]


@pytest.mark.parametrize("cells", [[43831, 43832], [1577836800, 1577836800000], [True, False], [20201301, 20200101]])
def test_numbers_that_are_no_times(cells):
    with pytest.raises(InputError, match="column 't'"):
        parse_times(pd.Series(cells), "t", WHERE)
