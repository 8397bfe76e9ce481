import gzip
import io
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from markets import Bars, InputError, load
from markets.bars import Source
from markets.data.csv_text import parse_csv
from markets.data.tables import read_table

LONG = "date,symbol,open,high,low,close,volume\n"


def test_packaged_sets():
    stocks, sp500, nasdaq = load("stocks"), load("sp500"), load("nasdaq")
    assert stocks.shape == (8313, 20)
    assert stocks.open is None
    assert sp500.shape == nasdaq.shape == (5031, 1)
    assert sp500.volume is not None
    assert str(sp500.index[0])[:10] == "1999-01-04"


def write(path, text):
    path.write_text(text)
    return path


def test_wide_file(tmp_path):
    bars = load(write(tmp_path / "w.csv", "Date,A,B\n2020-01-01,1,2\n2020-01-02,1.5,\n2020-01-03,2,3\n"))
    assert (bars.symbols, bars.name) == (("A", "B"), "w")
    assert np.isnan(bars.close[1, 1])
    assert not bars.tradable[1, 1]


def test_long_file_with_a_symbol_that_starts_late(tmp_path):
    text = LONG + "2020-01-01,A,1,2,1,1.5,10\n2020-01-02,A,1,2,1,1.6,10\n2020-01-02,B,5,6,4,5.5,7\n"
    bars = load(write(tmp_path / "l.csv", text))
    assert bars.symbols == ("A", "B")
    assert np.isnan(bars.close[0, 1])
    assert bars.open[1].tolist() == [1.0, 5.0]
    assert bars.volume[1].tolist() == [10.0, 7.0]


def test_one_symbol_without_a_symbol_column_is_named_after_the_file(tmp_path):
    bars = load(write(tmp_path / "spy.csv", "timestamp,Close\n2020-01-01T10:00:00,1\n2020-01-01T11:00:00,2\n"))
    assert bars.symbols == ("spy",)


def test_adjusted_close_scales_the_whole_bar(tmp_path):
    text = "Date,Open,High,Low,Close,Adj Close,Volume\n2020-01-01,10,12,8,10,5,100\n2020-01-02,10,12,8,11,11,100\n"
    bars = load(write(tmp_path / "x.csv", text))
    assert bars.close[:, 0].tolist() == [5.0, 11.0]
    assert bars.open[0, 0] == 5.0
    assert bars.volume[0, 0] == 100.0


def test_quoted_spreads_are_read_from_csv_and_parquet(tmp_path):
    """From a column that says so: a mere ``spread`` may be in points, as MetaTrader writes it."""
    index = pd.bdate_range("2020-01-01", periods=3)
    quotes = np.array([[0.001, np.nan], [0.002, 0.01], [0.0, 0.003]])
    close = np.array([[10.0, 20.0], [11.0, 21.0], [12.0, 22.0]])
    bars = Bars.make(index, ["A", "B"], close, spread=quotes)
    rows = [
        {"date": time, "symbol": symbol, "close": close[t, a], "Quoted_Spread": quotes[t, a], "spread": 15}
        for t, time in enumerate(index)
        for a, symbol in enumerate("AB")
    ]
    frame = pd.DataFrame(rows)
    frame.to_csv(tmp_path / "x.csv", index=False)
    frame.to_parquet(tmp_path / "x.parquet")
    adjusted = frame.assign(**{"Adj Close": frame["close"] / 2})
    for read in (load(tmp_path / "x.csv"), load(tmp_path / "x.parquet"), load(frame)):
        assert read.hash == bars.hash
    np.testing.assert_array_equal(load(adjusted).spread, quotes)  # a fraction of the price stays one
    assert load(frame.drop(columns="Quoted_Spread")).spread is None
    wrong = write(tmp_path / "y.csv", "date,close,quoted_spread\n2020-01-01,10,0.01\n2020-01-02,10,15\n")
    with pytest.raises(InputError, match=r"row 3, column 'quoted_spread'.*is 15: a spread is a fraction of the price"):
        load(wrong)


def test_parquet_and_frame_agree(tmp_path, stocks):
    frame = pd.DataFrame(stocks.close[:50, :2], index=stocks.index[:50], columns=["A", "B"])
    frame.to_parquet(tmp_path / "two.parquet")
    from_file, from_frame = load(tmp_path / "two.parquet"), load(frame)
    np.testing.assert_array_equal(from_file.close, from_frame.close)
    assert (from_file.index == stocks.index[:50]).all()


def test_sp500_written_as_csv_is_the_packaged_set(tmp_path):
    from arch.data import sp500

    sp500.load().to_csv(tmp_path / "sp.csv")
    bars, packaged = load(tmp_path / "sp.csv"), load("sp500")
    np.testing.assert_allclose(bars.close, packaged.close, rtol=1e-12)
    np.testing.assert_allclose(bars.open, packaged.open, rtol=1e-12)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("date,A\n", "no rows or no price columns"),
        ("date\n2020-01-01\n", "no rows or no price columns"),
        ("date,symbol,open\n2020-01-01,A,1\n", "column 'close' is missing"),
        ("date,A\n2020-01-01,1\n2020-01-01,2\n", "appears twice"),
        ("date,A\n2020-01-02,1\n2020-01-01,2\n", "not sorted"),
        (
            LONG + "2020-01-02,A,1,2,1,1,1\n2020-01-01,A,1,2,1,1,1\n",
            "row 3: A at 2020-01-01 00:00:00 comes out of order",
        ),
        (LONG + "2020-01-02,A,1,2,1,1,1\n2020-01-02,A,1,2,1,1,1\n", "row 3: A at 2020-01-02 00:00:00 appears twice"),
        (LONG + "2020-01-02,,1,2,1,1,1\n2020-01-03,A,1,2,1,1,1\n", "row 2, column 'symbol': no symbol"),
        ("date,A\n2020-01-01,1\n2020-01-02,cheap\n", "row 3, column 'A': 'cheap' is not a number"),
        ("date,A\n2020-01-01,1\nlater,2\n", "row 3, column 'date': 'later' is not a time"),
        ("n,A\n1,1\n2,2\n", "column 'n' should hold times but holds numbers"),
        ("date,A\n2020-01-01,1\n2020-01-02,-2\n", "close of A at 2020-01-02 00:00:00"),
        ("date,A,B\n2020-01-01,1,\n2020-01-02,2,\n", "symbol B has no close at all"),
        ("date,A\n2020-01-01,1\n", "at least 2"),
        ('date,A\n2020-01-01,1\n"2020', "cannot be read as CSV"),
    ],
)
def test_a_broken_file_is_named_with_what_is_wrong(tmp_path, text, message):
    path = write(tmp_path / "broken.csv", text)
    with pytest.raises(InputError, match=message) as error:
        load(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_source_that_is_not_a_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="unknown source 'stonks': use stocks, sp500, nasdaq"):
        load("stonks")
    with pytest.raises(InputError, match="no such file"):
        load(tmp_path / "none.csv")
    with pytest.raises(InputError, match="the folder holds no CSV or Parquet file; put one file per symbol there"):
        load(tmp_path)
    (tmp_path / "x.xlsx").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"unknown kind of file '\.xlsx'"):
        load(tmp_path / "x.xlsx")
    (tmp_path / "x.parquet").write_bytes(b"not parquet")
    with pytest.raises(InputError, match="cannot be read as PARQUET"):
        load(tmp_path / "x.parquet")
    (tmp_path / "x.csv").write_bytes(bytes(range(256)) * 4)
    with pytest.raises(InputError, match="cannot be read as CSV"):
        load(tmp_path / "x.csv")


def test_regression_offsets_that_change_with_summer_time(tmp_path):
    text = "date,A\n2015-03-01 00:00:00-05:00,1\n2015-04-01 00:00:00-04:00,2\n"
    bars = load(write(tmp_path / "ny.csv", text))
    assert [str(t) for t in bars.index] == ["2015-03-01 05:00:00+00:00", "2015-04-01 04:00:00+00:00"]


def test_regression_a_truncated_archive_is_one_line(tmp_path):
    whole = gzip.compress(b"date,A\n" + b"2020-01-01,1\n" * 500)
    (tmp_path / "x.csv.gz").write_bytes(whole[:40])
    with pytest.raises(InputError, match=r"x\.csv\.gz: cannot be read"):
        load(tmp_path / "x.csv.gz")


@pytest.mark.parametrize("header", ["date,A,A,C", "date,close,Close,volume"])
def test_regression_a_header_that_repeats_itself_is_refused(tmp_path, header):
    with pytest.raises(InputError, match="appears twice in the header"):
        load(write(tmp_path / "x.csv", f"{header}\n2020-01-01,1,2,3\n2020-01-02,1,2,3\n"))


def test_regression_a_row_number_is_no_symbol(tmp_path):
    bars = load(write(tmp_path / "x.csv", ",date,A\n1,2020-01-01,5\n2,2020-01-02,6\n"))
    assert bars.symbols == ("A",)
    bars = load(write(tmp_path / "y.csv", ",A\n2020-01-01,5\n2020-01-02,6\n"))
    assert bars.symbols == ("A",)
    with pytest.raises(InputError, match="column 3 has no name"):
        load(write(tmp_path / "z.csv", "date,A,\n2020-01-01,5,1\n2020-01-02,6,1\n"))


def test_regression_symbols_are_text_and_a_last_blank_line_is_nothing(tmp_path):
    text = "date,symbol,close\n2020-01-01,NA,1\n2020-01-01,0700,2\n2020-01-02,NA,1\n2020-01-02,0700,2\n\n"
    assert load(write(tmp_path / "x.csv", text)).symbols == ("0700", "NA")


OHLCV = "date,open,high,low,close,volume\n2020-01-01,10,12,9,11,100\n2020-01-02,11,13,10,12,200\n"


def gz(text):
    return gzip.compress(text.encode())


def parquet(frame, **options):
    out = io.BytesIO()
    frame.to_parquet(out, **options)
    return out.getvalue()


FRAME = pd.DataFrame({"close": [11.0, 12.0]}, index=pd.DatetimeIndex(["2020-01-01", "2020-01-02"], name="Date"))
READ = [11.0, 12.0]

# Files as vendors write them, and the expected result: the closes if the file is unambiguous, otherwise the error message, in
# which the row is the line of the file.
VENDORS_FILES = {
    # encoding and compression
    "byte order mark": ("x.csv", b"\xef\xbb\xbf" + OHLCV.encode(), READ),
    "UTF-16 with its mark": ("x.csv", OHLCV.encode("utf-16"), READ),
    "UTF-16 without its mark": (
        "x.csv",
        OHLCV.encode("utf-16-le"),
        "row 1 holds a NUL byte: binary, damaged, or UTF-16",
    ),
    "gzip": ("x.csv.gz", gz(OHLCV), READ),
    "gzip under another name": ("x.csv", gz(OHLCV), READ),
    "gzip cut short": ("x.csv.gz", gz(OHLCV * 50)[:60], "cannot be read as CSV"),
    "0 bytes": ("x.csv", b"", "the file is empty"),
    "0 bytes of Parquet": ("x.parquet", b"", "cannot be read as PARQUET"),
    "blank lines only": ("x.csv", b"\n\n \n", "the file is empty"),
    "a binary file": ("x.csv", bytes(range(256)), "row 1 holds a NUL byte"),
    "NUL bytes where the disk was full": (
        "x.csv",
        (OHLCV + "2020-01-03,\0\0\0").encode(),
        "row 4 holds a NUL byte: binary, damaged",
    ),
    "Latin-1": (
        "x.csv",
        "date,symbol,close\n2020-01-01,Nestlé,11\n".encode("latin-1"),
        "row 2 holds byte 0xE9, which is not UTF-8; is it Latin-1",
    ),
    "Excel": ("x.csv", b"PK\x03\x04" + bytes(30), "an Excel workbook; unpack it, or save it as CSV"),
    "Parquet by another name": ("x.csv", parquet(FRAME), "a Parquet file; name it .parquet"),
    "a web page": ("x.csv", b"<!doctype html><p>Too many requests", "a web page: the download failed"),
    "a vendor's apology": ("x.csv", b'{"error": "limit reached"}', "JSON, perhaps a vendor's error message"),
    "CSV by the name of Parquet": ("x.parquet", OHLCV.encode(), "cannot be read as PARQUET"),
    "Parquet cut short": ("x.parquet", parquet(FRAME)[:-30], "cannot be read as PARQUET"),
    "Parquet with an index column": ("x.parquet", parquet(FRAME), READ),
    "Parquet with times as text": ("x.parquet", parquet(FRAME.reset_index().astype({"Date": str})), READ),
    "Parquet without times": ("x.parquet", parquet(FRAME.reset_index(drop=True)), "no rows or no price columns"),
    "old Mac line ends": ("x.csv", OHLCV.replace("\n", "\r"), READ),
    "Windows line ends": ("x.csv", OHLCV.replace("\n", "\r\n"), READ),
    # layout of the table
    "semicolons": ("x.csv", OHLCV.replace(",", ";"), READ),
    "tabs": ("x.tsv", OHLCV.replace(",", "\t"), READ),
    "bars between": ("x.csv", OHLCV.replace(",", "|"), READ),
    "brackets and capitals": ("x.txt", "<DATE>,<OPEN>,<CLOSE>,<VOL>\n20200101,1,11,5\n20200102,1,12,5\n", READ),
    "a delimiter at every end": ("x.csv", OHLCV.replace("\n", ",\n"), READ),
    "a blank line in the middle": ("x.csv", "date,close\n2020-01-01,11\n\n2020-01-02,12\n\n\n", READ),
    "rows of delimiters": ("x.csv", "date,close\n2020-01-01,11\n,\n2020-01-02,12\n,\n", READ),
    "a blank line first": ("x.csv", "\n" + OHLCV, READ),
    "a row cut short": (
        "x.csv",
        OHLCV + "2020-01-03,11,13\n2020-01-04,1,1,1,1,1\n",
        "row 4 has 3 cells, but the header has 6; it is cut short",
    ),
    "a row too long": (
        "x.csv",
        "date,close\n2020-01-01,1,100\n2020-01-02,2\n",
        "row 2 has 3 cells, but the header has 2",
    ),
    "an open quotation mark": ("x.csv", 'date,close\n2020-01-01,"11\n2020-01-02,12\n', "row 2 opens a quotation mark"),
    "a quotation mark in a cell": (
        "x.csv",
        'date,close\n2020-01-01,1"1\n2020-01-02,1"2\n',
        "row 2 has a quotation mark inside",
    ),
    "a title": ("x.csv", "Prices of ACME\n" + OHLCV, "row 1 is a title; the first line should name the columns"),
    "the header twice": ("x.csv", OHLCV + OHLCV, "row 4, column 'date': 'date' is not a time"),
    "units under the header": ("x.csv", "date,close\n,USD\n2020-01-01,11\n", "row 2, column 'date': no time; complete"),
    "yfinance's three lines of header": (
        "x.csv",
        "Price,Close,High\nTicker,ACME,ACME\nDate,,\n2020-01-01,11,12\n2020-01-02,12,13\n",
        READ,
    ),
    "a total at the end": (
        "x.csv",
        "date,close\n2020-01-01,11\nTotal,23\n",
        "row 3, column 'date': 'Total' .* remove it",
    ),
    "no header": (
        "x.csv",
        "2020-01-01,11\n2020-01-02,12\n",
        "row 1 holds values: the first line should name the columns",
    ),
    "a column twice": (
        "x.csv",
        "date,close,Close \n2020-01-01,1,1\n2020-01-02,1,1\n",
        "'close' appears twice in the header",
    ),
    "no times": ("x.csv", "close\n11\n12\n", "no rows or no price columns"),
    "no time column": ("x.csv", "open,close\n10,11\n11,12\n", "column 'open' should hold times but holds numbers"),
    "no close": ("x.csv", "date,open,high,low,price\n2020-01-01,1,1,1,1\n", "column 'close' is missing"),
    "a header alone": ("x.csv", "date,close\n", "no rows or no price columns"),
    "one row": ("x.csv", "date,close\n2020-01-01,11\n", "at least 2"),
    # format of times
    "milliseconds since 1970": ("x.csv", "time,close\n1577836800000,11\n1577840400000,12\n", READ),
    "seconds since 1970": ("x.csv", 'time,close\n"1577836800","11"\n"1577840400","12"\n', READ),
    "20200131": ("x.csv", "date,close\n20200131,11\n20200201,12\n", READ),
    "Excel's days since 1900": (
        "x.csv",
        "date,close\n43831,11\n43832,12\n",
        "column 'date' should hold times but holds",
    ),
    "31/01/2020": ("x.csv", "date,close\n31/01/2020,11\n01/02/2020,12\n", READ),
    "01/31/2020": ("x.csv", "date,close\n1/31/2020 9:30,11\n2/1/2020 16:00,12\n", READ),
    "31.01.2020": ("x.csv", "date;close\n31.01.2020;11,0\n01.02.2020;12,0\n", READ),
    "day or month first?": (
        "x.csv",
        "date,close\n01/02/2020,11\n02/02/2020,12\n",
        "row 2, column 'date': is '01/02/2020' day or month first",
    ),
    "day and month first": (
        "x.csv",
        "date,close\n31/01/2020,11\n02/13/2020,12\n",
        "row 3, column 'date': '02/13/2020' has the month first, but '31/01/2020' in row 2 the day",
    ),
    "two-digit years": (
        "x.csv",
        "date,close\n31/01/20,11\n",
        "row 2, column 'date': '31/01/20' is not a time; write it as",
    ),
    "months by name": ("x.csv", "date,close\n31-Jan-2020,11\n01-Feb-2020,12\n", READ),
    "American dates": ("x.csv", 'date,close\n"Jan 31, 2020",11\n"Feb 1, 2020",12\n', READ),
    "2020/1/31": ("x.csv", "date,close\n2020/1/31,11\n2020/2/1,12\n", READ),
    "day and clock apart": ("x.csv", "Date,Time,Close\n2020-01-01,09:30:00,11\n2020-01-01,09:31:00,12\n", READ),
    "no such day": (
        "x.csv",
        "date,close\n2020-02-28,11\n2020-02-30,12\n",
        "row 3, column 'date': '2020-02-30' is not a time",
    ),
    "a time missing": ("x.csv", "date,close\n2020-01-01,11\n,12\n2020-01-03,13\n", "row 3, column 'date': no time"),
    "offsets that change": (
        "x.csv",
        "time,close\n2020-03-08T01:00:00-05:00,11\n2020-03-08T03:00:00-04:00,12\n",
        READ,
    ),
    "some with an offset": (
        "x.csv",
        "time,close\n2020-01-01T10:00:00Z,11\n2020-01-01T11:00:00,12\n",
        "row 3, column 'time': of '2020-01-01T11:00:00' and '2020-01-01T10:00:00Z' one has a UTC offset",
    ),
    "an hour twice, as clocks are put back": (
        "x.csv",
        "time,close\n2020-11-01 01:00,11\n2020-11-01 01:00,12\n2020-11-01 02:00,13\n",
        "row 3: time 2020-11-01 01:00:00 appears twice; keep one, or if clocks were set back, write times with their UTC",
    ),
    "a day twice": (
        "x.csv",
        "date,close\n2020-01-01,11\n2020-01-01,11\n",
        "row 3: time 2020-01-01 00:00:00 appears twice",
    ),
    "unsorted": (
        "x.csv",
        "date,close\n2020-01-02,11\n2020-01-01,11\n2020-01-03,1\n",
        "row 3: times are not sorted: 2020-01-01 00:00:00 comes after 2020-01-02",
    ),
    "newest first": ("x.csv", "date,close\n2020-01-02,11\n2020-01-01,11\n", "newest first; reverse the order"),
    # format of numbers
    "quoted numbers": ("x.csv", '"date","close"\n"2020-01-01","11"\n"2020-01-02","12.0"\n', READ),
    "European decimals": ("x.csv", "date;close;volume\n2020-01-01;11,0;1.000\n2020-01-02;12,0;2.500\n", READ),
    "European decimals in quotes": ("x.csv", 'date,close\n2020-01-01,"11,00"\n2020-01-02,"12,00"\n', READ),
    "European thousands": ("x.csv", "date;close\n2020-01-01;1.011,5\n2020-01-02;1.012\n", [1011.5, 1012.0]),
    "thousands": ("x.csv", 'date,close\n2020-01-01,"1,011.50"\n2020-01-02,"1,012"\n', [1011.5, 1012.0]),
    "thousands without a decimal": (
        "x.csv",
        'date,close\n2020-01-01,"1,011,000"\n2020-01-02,"1,012"\n',
        [1011000.0, 1012.0],
    ),
    "Swiss thousands": ("x.csv", "date,close\n2020-01-01,1'011.5\n2020-01-02,1 012\n", [1011.5, 1012.0]),
    "1,234?": (
        "x.csv",
        'date,close\n2020-01-01,"1,234"\n2020-01-02,"1,235"\n',
        "row 2, column 'close': is '1,234' 1234 or 1.234",
    ),
    "decimals in two ways": (
        "x.csv",
        "date;close\n2020-01-01;11,5\n2020-01-02;12.5\n",
        "row 2, column 'close': '11,5' writes decimals with a comma, but '12.5' in row 3 with a dot",
    ),
    "currency signs": ("x.csv", 'date,close\n2020-01-01,$11.00\n2020-01-02,"$ 12.00"\n', READ),
    "currencies behind": ("x.csv", "date;close\n2020-01-01;11,00 €\n2020-01-02;12,00 €\n", READ),
    "two currencies": (
        "x.csv",
        "date,close\n2020-01-01,$11.00\n2020-01-02,€12.00\n",
        "row 3, column 'close': '€12.00' is in €, but row 2 is in",
    ),
    "a word for a gap": ("x.csv", "date,A,B\n2020-01-01,11,1\n2020-01-02,12,N/A\n", READ),
    "a word": (
        "x.csv",
        "date,close\n2020-01-01,11\n2020-01-02,halted\n",
        "row 3, column 'close': 'halted' is not a number",
    ),
    "per cent": (
        "x.csv",
        "date,close\n2020-01-01,11%\n2020-01-02,12%\n",
        "row 2, column 'close': '11%' is not a number",
    ),
    "true and false": ("x.csv", "date,A\n2020-01-01,True\n2020-01-02,False\n", "column 'A' holds bool, not numbers"),
    # impossible values
    "infinite volume": (
        "x.csv",
        "date,close,volume\n2020-01-01,11,5\n2020-01-02,12,inf\n",
        r"row 3, column 'volume': volume of x at 2020-01-02 00:00:00 \(bar 1\) is inf: values must be finite",
    ),
    "negative volume": (
        "x.csv",
        "date,close,volume\n2020-01-01,11,-5\n2020-01-02,12,5\n",
        "row 2, column 'volume': .*negative",
    ),
    "zero price": (
        "x.csv",
        "date,A\n2020-01-01,0\n2020-01-02,12\n",
        "row 2, column 'A': close of A .* is 0: a price must be",
    ),
    "zero adjusted close": (
        "x.csv",
        "date,close,adj close\n2020-01-01,11,0\n2020-01-02,12,12\n",
        "row 2, column 'adj close': adj close is 0: a price must be positive",
    ),
    "a close above the high": (
        "x.csv",
        "date,symbol,high,close\n2020-01-01,A,12,11\n2020-01-01,B,12,11\n2020-01-02,A,12,11\n2020-01-02,B,12,13\n",
        "row 5, column 'close': close of B .* is 13: above the high of the same bar",
    ),
    "an adjusted close above the high": (
        "x.csv",
        "date,high,close,adj close\n2020-01-01,6,5,11\n2020-01-02,6,5,12\n",
        READ,
    ),
    "a symbol without a price": ("x.csv", "date,A,B\n2020-01-01,1,\n2020-01-02,2,\n", "symbol B has no close at all"),
    "a symbol twice": (
        "x.csv",
        "date,symbol,close\n2020-01-01,A,1\n2020-01-01,A,1\n2020-01-02,A,1\n",
        "row 3: A at 2020-01-01 00:00:00 appears twice",
    ),
    "an unknown kind": ("x.xlsx", b"PK", "unknown kind of file '.xlsx'"),
}


@pytest.mark.parametrize("case", VENDORS_FILES)
def test_a_vendors_file_is_read_correctly_or_refused_by_name(tmp_path, case):
    name, content, expected = VENDORS_FILES[case]
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    if not isinstance(expected, str):
        assert load(path).close[:, 0].tolist() == expected
        return
    with pytest.raises(InputError, match=expected) as error:
        load(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


SEEDS = [content if isinstance(content, bytes) else content.encode() for _, content, _ in VENDORS_FILES.values()]
SPLICES = st.lists(
    st.tuples(
        st.floats(0, 1),
        st.integers(0, 8),
        st.sampled_from([b"", b",", b";", b'"', b"\n", b"-", b"9", b"\xff", b"\0", b"e", b"inf"]),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=400)
@given(st.sampled_from(SEEDS), SPLICES, st.sampled_from(["x.csv", "x.csv", "x.tsv", "x.parquet"]))
def test_damage_anywhere_is_one_line_or_bars(tmp_path_factory, seed, splices, name):
    for at, cut, put in splices:
        at = int(at * len(seed))
        seed = seed[:at] + put + seed[at + cut :]
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(seed)
    found = outcome(path)
    assert isinstance(found, Bars) or str(found).startswith(f"{path}: ")
    assert "\n" not in str(found)


def outcome(path):
    try:
        return load(path)
    except InputError as error:
        return error


def test_regression_what_is_known_of_a_set_goes_by_where_it_comes_from(stocks, tmp_path):
    """A user's stocks.csv was told that it is the packaged set of survivors."""
    assert "still listed in 2022" in stocks.source.survivorship
    for part in (stocks["2008":], stocks.select(["AAPL"]), stocks.resample("W-FRI"), stocks[-500:].without_past(9)):
        assert part.source == stocks.source
    assert stocks.with_values(close=stocks.close * 2).source == replace(stocks.source, adjusted=False)
    frame = pd.DataFrame(stocks.close[-50:], stocks.index[-50:], stocks.symbols)
    frame.rename_axis("date").to_csv(tmp_path / "stocks.csv")
    mine = load(tmp_path / "stocks.csv")
    assert mine.name == "stocks"
    assert mine.source == Source()


@pytest.mark.parametrize("name", ["Unnamed: 0", ""])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_regression_a_saved_index_is_no_symbol(tmp_path, name, kind):
    """Pandas writes row numbers as a column "Unnamed: 0"; it was taken for a symbol."""
    frame = pd.DataFrame(
        {name: range(4), "date": pd.date_range("2020-01-01", periods=4), "A": [1, 2, 3, 4], "B": [2, 3, 4, 5]}
    )
    path = tmp_path / f"mine.{kind}"
    frame.to_csv(path, index=False) if kind == "csv" else frame.to_parquet(path)
    assert load(path).symbols == ("A", "B")
    assert load(frame).symbols == ("A", "B")


@pytest.mark.parametrize("column", ["volume", "Volume", "Adj Close", "dividends"])
def test_regression_a_field_of_a_wide_table_is_no_symbol(column):
    """The volume was bought and sold like a stock."""
    frame = pd.DataFrame({"date": ["2020-01-01", "2020-01-02"], "A": [1, 2], "B": [2, 3], column: [9e6, 8e6]})
    with pytest.raises(InputError, match=f"^column '{column}' is no symbol, but in a wide table each column holds"):
        load(frame)


def test_a_column_of_prices_without_a_name_is_refused():
    frame = pd.DataFrame({"date": ["2020-01-01", "2020-01-02"], "A": [1, 2], "Unnamed: 2": [2.5, 3.7]})
    with pytest.raises(InputError, match="column 'Unnamed: 2' has no name; name it after its symbol"):
        load(frame)


def test_symbols_may_differ_by_case_alone():
    text = b"date,BRKa,BRKA\n2020-01-01,1,2\n2020-01-02,1,2\n"
    assert read_table(parse_csv(text)[0], "x", "row {}".format).symbols == ("BRKa", "BRKA")
