import datetime
import decimal

import numpy as np
import pandas as pd
import pytest

from markets import InputError, load
from markets.quality import check_source

DAYS = pd.date_range("2020-01-01", periods=3, name="Date")


def yfinance_frame(order=("Price", "Ticker")):
    """A frame like the result of `yfinance.download(["SPY", "QQQ"], auto_adjust=False)`."""
    fields = {"Adj Close": 0.5, "Close": 1.0, "High": 1.2, "Low": 0.8, "Open": 1.1, "Volume": 1e3}
    columns = {
        (field, s): np.arange(1.0, 4) * scale * (i + 1)
        for field, scale in fields.items()
        for i, s in enumerate(["QQQ", "SPY"])
    }
    frame = pd.DataFrame(columns, index=DAYS).rename_axis(columns=["Price", "Ticker"])
    return frame.reorder_levels(list(order), axis=1)


@pytest.mark.parametrize("order", [("Price", "Ticker"), ("Ticker", "Price")])
def test_a_frame_of_yfinance(order, tmp_path):
    frame = yfinance_frame(order)
    bars = load(frame)
    assert bars.symbols == ("QQQ", "SPY")
    np.testing.assert_allclose(bars.close, [[0.5, 1], [1, 2], [1.5, 3]])
    np.testing.assert_allclose(bars.open, bars.close * 1.1)
    np.testing.assert_allclose(bars.volume[:, 0], [1000, 2000, 3000])
    frame.to_csv(tmp_path / "x.csv")
    frame.to_parquet(tmp_path / "x.parquet")
    for path in (tmp_path / "x.csv", tmp_path / "x.parquet"):
        np.testing.assert_allclose(load(path).close, bars.close)
        np.testing.assert_allclose(load(path, start="2020-01-02", symbols=["SPY"]).close, bars.close[1:, 1:])


def test_what_is_wrong_with_a_frame_of_two_levels_is_named():
    frame = yfinance_frame()
    frame.loc[DAYS[1], ("Low", "SPY")] = -1
    with pytest.raises(InputError, match="row 1, column 'Low, SPY': low of SPY at 2020-01-02"):
        load(frame)
    with pytest.raises(InputError, match="neither level of the columns has a 'close'"):
        load(frame[["Open", "High"]])
    with pytest.raises(InputError, match="column 'Open, QQQ' appears twice"):
        load(pd.concat([frame, frame[["Open"]]], axis=1))


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"A": [1, 2, 3]}, index=DAYS),
        pd.DataFrame({"A": [1, 2, 3]}, index=DAYS.astype(str)),
        pd.DataFrame({"A": [1, 2, 3]}, index=pd.Index([d.date() for d in DAYS], name="date")),
        pd.DataFrame({"when": DAYS, "A": [1, 2, 3]}),
        pd.DataFrame({"A": [1, 2, 3], "Timestamp": [datetime.datetime(2020, 1, d) for d in (1, 2, 3)]}),
        pd.DataFrame({"date": DAYS, "A": [decimal.Decimal(n) for n in (1, 2, 3)]}),
        pd.DataFrame({"date": DAYS, "A": pd.array([1, 2, 3], dtype="Int64")}),
        pd.DataFrame({"date": DAYS, "A": ["1", "2.0", "3"]}),
        pd.DataFrame({"date": DAYS, "symbol": pd.Categorical(["A"] * 3), "close": [1, 2, 3]}),
    ],
)
def test_the_ways_in_which_a_frame_holds_its_times_and_prices(frame):
    bars = load(frame)
    assert (bars.symbols, bars.close[:, 0].tolist()) == (("A",), [1.0, 2.0, 3.0])
    assert (bars.index == DAYS).all()


def test_tickers_that_are_words_for_prices():
    bars = load(pd.DataFrame({"LOW": [1.0, 2], "OPEN": [3.0, 4], "V": [5.0, 6]}, index=DAYS[:2]))
    assert bars.symbols == ("LOW", "OPEN", "V")


@pytest.mark.parametrize(
    "column", ["vol", "Volume", "Turnover", "amount", "returns", "Return", "AdjClose", "Open_Interest", "Change %"]
)
def test_regression_a_field_in_a_wide_table_is_no_symbol(column):
    """Volumes were traded as if they were prices: equal weight grew by 361,054 % a year."""
    with pytest.raises(InputError, match="is no symbol, but in a wide table each column holds"):
        load(pd.DataFrame({"A": [1.0, 2], column: [5.0, 6]}, index=DAYS[:2]))


def test_regression_a_column_called_unnamed_has_no_name():
    with pytest.raises(InputError, match="column 'Unnamed' has no name"):
        load(pd.DataFrame({"A": [1.0, 2], "Unnamed": [5.0, 5]}, index=DAYS[:2]))


def test_regression_rows_without_a_symbol_are_all_listed():
    frame = pd.DataFrame({"date": DAYS.repeat(2), "symbol": ["A", "B"] * 3, "close": np.arange(1.0, 7)})
    frame.loc[[2, 5], "symbol"] = None
    report = check_source(frame)
    assert [cell.split(":")[0] for cell in report.cells] == ["row 2, column 'symbol'", "row 5, column 'symbol'"]
    np.testing.assert_array_equal(report.bars.close, [[1, 2], [np.nan, 4], [5, np.nan]])
    with pytest.raises(InputError, match="row 2, column 'symbol': no symbol"):
        load(frame)


def test_spans_and_symbols_of_any_source():
    stocks = load("stocks")
    some = load("stocks", start="2008", end="2009", symbols=["MSFT", "AAPL"])
    assert (some.symbols, some.past, some.name) == (("MSFT", "AAPL"), 0, "stocks")
    np.testing.assert_array_equal(some.close, stocks["2008":"2009"].select(["MSFT", "AAPL"]).close)
    frame = pd.DataFrame({"A": [1.0, 2, 3], "B": [np.nan, np.nan, 3]}, index=DAYS)
    assert load(frame, end="2020-01-02").symbols == ("A",)
    for options, message in (
        ({"symbols": ["C"]}, "there is no symbol 'C'; there are A, B"),
        ({"symbols": "AB"}, r"give a list, as in symbols=\['AB'\]"),
        ({"symbols": []}, "symbols is empty"),
        ({"symbols": ["B"], "end": "2020-01-02"}, "symbol B has no close at all"),
        ({"start": "2021"}, "no rows from 2021-01-01 00:00:00 to the end: the data runs from 2020-01-01"),
    ):
        with pytest.raises(InputError, match=message):
            load(frame, **options)


def test_an_error_after_a_cut_names_the_row_of_the_file(tmp_path):
    rows = "".join(f"2020-01-{d:02},{d},{d if d != 20 else -1}\n" for d in range(1, 31))
    (tmp_path / "x.csv").write_text("date,A,B\n" + rows)
    with pytest.raises(InputError, match="row 21, column 'B': close of B at 2020-01-20"):
        load(tmp_path / "x.csv", start="2020-01-15", symbols=["B", "A"])
    assert load(tmp_path / "x.csv", start="2020-01-21").shape == (10, 2)
