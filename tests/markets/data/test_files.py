import gzip

import numpy as np
import pandas as pd
import pytest

from markets import InputError, load


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "prices"
    folder.mkdir()
    (folder / "AAPL.csv").write_text("date,close\n2020-01-01,1\n2020-01-02,2\n2020-01-03,3\n")
    (folder / "MSFT.csv.gz").write_bytes(gzip.compress(b"Date;Close\n2020-01-02;10,5\n2020-01-05;11,5\n"))
    frame = pd.DataFrame({"close": [5.0, 6.0]}, index=pd.date_range("2020-01-03", periods=2))
    frame.to_parquet(folder / "0700.parquet")
    (folder / "README.md").write_text("not data")
    (folder / ".hidden.csv").write_text("not data")
    return folder


def test_a_folder_is_one_file_per_symbol_joined_on_time(folder):
    bars = load(folder)
    assert (bars.name, bars.symbols) == ("prices", ("0700", "AAPL", "MSFT"))
    assert [f"{t:%d}" for t in bars.index] == ["01", "02", "03", "04", "05"]
    nan = np.nan
    expected = [[nan, 1, nan], [nan, 2, 10.5], [5, 3, nan], [6, nan, nan], [nan, nan, 11.5]]
    np.testing.assert_array_equal(bars.close, expected)


def test_a_span_of_a_folder_leaves_out_symbols_without_rows(folder):
    assert load(folder, end="2020-01-02").symbols == ("AAPL", "MSFT")
    assert load(folder, start="2020-01-02", symbols=["MSFT", "AAPL"]).symbols == ("MSFT", "AAPL")
    with pytest.raises(InputError, match=r"0700\.parquet: no rows from the beginning to 2020-01-02"):
        load(folder, end="2020-01-02", symbols=["0700"])
    with pytest.raises(InputError, match=r"prices: there is no file for symbol 'IBM'; there are 0700, AAPL, MSFT"):
        load(folder, symbols=["IBM"])


def test_files_of_other_symbols_are_not_read(folder):
    (folder / "BAD.csv").write_bytes(b"\0\0\0")
    assert load(folder, symbols=["AAPL"]).shape == (3, 1)
    with pytest.raises(InputError, match=r"BAD\.csv: cannot be read as CSV: row 1 holds a NUL byte"):
        load(folder)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("MSFT.csv", "date,close\n2020-01-01,1\n", "MSFT.csv and MSFT.csv.gz are the same symbol; keep one"),
        ("X.csv", "date,A,B\n2020-01-01,1,2\n", "X.csv: 2 symbols in one file"),
        (
            "X.csv",
            "date,close\n2020-01-01T00:00:00Z,1\n",
            "the times of X.csv have a UTC offset, those of 0700.parquet have none",
        ),
        ("X.csv", "date,open,close\n2020-01-01,1,2\n", "prices: 0700.parquet has no column 'open', but X.csv has"),
        (
            "X.csv",
            "date,close\n2020-01-01,1\n2020-01-02,-2\n",
            r"prices: X.csv: row 3, column 'close': close of X at 2020-01-02",
        ),
    ],
)
def test_what_is_wrong_with_one_file_of_a_folder(folder, name, text, message):
    (folder / name).write_text(text)
    with pytest.raises(InputError, match=message):
        load(folder)


def test_times_of_two_zones_are_joined_as_instants(tmp_path):
    (tmp_path / "NY.csv").write_text("time,close\n2020-01-01T10:00:00-05:00,1\n2020-01-01T11:00:00-05:00,2\n")
    (tmp_path / "LN.csv").write_text("time,close\n2020-01-01T15:00:00Z,1\n2020-01-01T17:00:00Z,2\n")
    bars = load(tmp_path)
    assert [str(t) for t in bars.index] == [f"2020-01-01 {h}:00:00+00:00" for h in (15, 16, 17)]
    np.testing.assert_array_equal(bars.close, [[1, 1], [np.nan, 2], [2, np.nan]])
