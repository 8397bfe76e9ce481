import numpy as np
import pandas as pd
import pytest

from markets import InputError, load

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
        ("date,A\n2020-01-01,1\n2020-01-01,2\n", "stands twice"),
        ("date,A\n2020-01-02,1\n2020-01-01,2\n", "not sorted"),
        (
            LONG + "2020-01-02,A,1,2,1,1,1\n2020-01-01,A,1,2,1,1,1\n",
            "row 3: A at 2020-01-01 00:00:00 comes out of order",
        ),
        (LONG + "2020-01-02,A,1,2,1,1,1\n2020-01-02,A,1,2,1,1,1\n", "row 3: A at 2020-01-02 00:00:00 stands twice"),
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


def test_what_is_no_file(tmp_path):
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
    import gzip

    whole = gzip.compress(b"date,A\n" + b"2020-01-01,1\n" * 500)
    (tmp_path / "x.csv.gz").write_bytes(whole[:40])
    with pytest.raises(InputError, match=r"x\.csv\.gz: cannot be read"):
        load(tmp_path / "x.csv.gz")


@pytest.mark.parametrize("header", ["date,A,A,C", "date,close,Close,volume"])
def test_regression_a_header_that_repeats_itself_is_refused(tmp_path, header):
    with pytest.raises(InputError, match="stands twice in the header"):
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
