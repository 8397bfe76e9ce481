import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from markets import InputError, load

SYMBOLS = ("AAPL", "MSFT", "0700")


def long_frame(first="2019-11-01", days=120, symbols=SYMBOLS):
    index = pd.date_range(first, periods=days)
    rng = np.random.default_rng(0)
    parts = []
    for i, symbol in enumerate(symbols):
        close = (i + 1) * 100 * np.exp(np.cumsum(rng.normal(0, 0.01, days)))
        parts.append(
            pd.DataFrame({"date": index, "symbol": symbol, "close": close, "volume": np.arange(days), "note": "x"})
        )
    return pd.concat(parts, ignore_index=True)


def write_dataset(folder, frame, keys, kinds):
    partitioning = ds.partitioning(pa.schema(list(zip(keys, kinds, strict=True))), flavor="hive")
    ds.write_dataset(
        pa.Table.from_pandas(frame, preserve_index=False), folder, format="parquet", partitioning=partitioning
    )
    return folder


@pytest.mark.parametrize("keys", ["symbol", "year", "year month", "symbol year", "ticker"])
def test_every_way_of_partitioning_holds_the_same_bars(tmp_path, keys):
    frame = long_frame()
    expected = load(frame)
    frame["year"], frame["month"] = frame.date.dt.year, frame.date.dt.month
    frame = frame.rename(columns={"symbol": "ticker"} if keys == "ticker" else {})
    kinds = [pa.int32() if key in ("year", "month") else pa.string() for key in keys.split()]
    drop = [key for key in ("year", "month") if key not in keys]
    folder = write_dataset(tmp_path / "set", frame.drop(columns=drop), keys.split(), kinds)
    bars = load(folder)
    assert (bars.name, bars.symbols) == ("set", ("0700", "AAPL", "MSFT"))
    np.testing.assert_array_equal(bars.close, expected.close)
    np.testing.assert_array_equal(bars.volume, expected.volume)
    some = load(folder, start="2019-12-15", end="2020-01", symbols=["MSFT", "0700"])
    np.testing.assert_array_equal(some.close, expected["2019-12-15":"2020-01"].select(["MSFT", "0700"]).close)
    assert (some.past, some.symbols) == (0, ("MSFT", "0700"))


def test_folders_outside_of_the_filter_are_not_opened(tmp_path):
    folder = write_dataset(tmp_path / "set", long_frame(), ["symbol"], [pa.string()])
    next((folder / "symbol=MSFT").glob("*.parquet")).write_bytes(b"damaged")
    assert load(folder, symbols=["AAPL"]).shape == (120, 1)
    with pytest.raises(InputError, match=r"set: cannot be read as PARQUET"):
        load(folder)


def test_years_outside_of_the_span_are_not_opened(tmp_path):
    frame = long_frame(days=1200)
    frame["year"] = frame.date.dt.year
    folder = write_dataset(tmp_path / "set", frame, ["year"], [pa.int32()])
    for year in (2021, 2022):
        next((folder / f"year={year}").glob("*.parquet")).write_bytes(b"damaged")
    assert str(load(folder, end="2020-06-30").index[-1])[:10] == "2020-06-30"


def test_row_groups_outside_of_the_span_are_not_decoded(tmp_path):
    path = tmp_path / "one.parquet"
    frame = long_frame(days=4000, symbols=["A"])
    pq.write_table(pa.Table.from_pandas(frame), path, row_group_size=1000, compression="none")
    first = pq.ParquetFile(path).metadata.row_group(0)
    whole = bytearray(path.read_bytes())
    for i in range(first.num_columns):
        at = first.column(i).dictionary_page_offset or first.column(i).data_page_offset
        whole[at : at + first.column(i).total_compressed_size] = b"\xff" * first.column(i).total_compressed_size
    path.write_bytes(whole)
    start = frame.date[1000]
    assert len(load(path, start=start)) == 3000
    with pytest.raises(InputError, match=r"one\.parquet: cannot be read as PARQUET"):
        load(path)


PEAK = """
import sys, pyarrow as pa
from markets import load
bars = load(sys.argv[1], start="2003-01-01", end="2003-01-31", symbols=["S07"])
print(bars.shape, pa.default_memory_pool().max_memory())
"""


def test_only_the_requested_span_is_in_memory(tmp_path):
    index = pd.date_range("2000-01-01", periods=1_200_000 // 20, freq="h")
    frame = pd.concat(
        [pd.DataFrame({"time": index, "symbol": f"S{i:02}", "close": np.linspace(1, 2, len(index))}) for i in range(20)]
    )
    folder = write_dataset(tmp_path / "set", frame, ["symbol"], [pa.string()])
    done = subprocess.run([sys.executable, "-c", PEAK, str(folder)], capture_output=True, text=True, check=True)
    shape, peak = done.stdout.rsplit(None, 1)
    assert shape == "(744, 1)"
    assert int(peak) < 0.1 * 16 * len(frame)  # a tenth of the size of times and closes


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
def test_a_span_is_in_the_time_zone_of_the_data(tmp_path, unit, zone):
    index = pd.date_range("2020-03-06", periods=240, freq="h", tz=zone).as_unit(unit)
    frame = pd.DataFrame({"time": index, "close": np.arange(1.0, 241)})
    frame.to_parquet(tmp_path / "x.parquet")
    for start, end in (("2020-03-08", "2020-03-09"), ("2020-03-07T05:30", None), (None, "2020-03-07T05:30:00")):
        bars, whole = load(tmp_path / "x.parquet", start=start, end=end), load(frame)
        np.testing.assert_array_equal(bars.close, whole[start:end].close)
        assert (bars.index == whole[start:end].index).all()


def test_a_stored_index_dates_and_whole_prices(tmp_path):
    frame = pd.DataFrame({"A": [1, 2, 3], "B": [4, 5, 6]}, index=pd.date_range("2020-01-01", periods=3))
    frame.to_parquet(tmp_path / "index.parquet")
    assert load(tmp_path / "index.parquet", start="2020-01-02", symbols=["B"]).close.tolist() == [[5.0], [6.0]]
    frame["day"] = frame.index.date
    frame.reset_index(drop=True).to_parquet(tmp_path / "date.parquet")
    bars = load(tmp_path / "date.parquet", start="2020-01-02")
    assert (bars.symbols, bars.close.tolist()) == (("A", "B"), [[2.0, 5.0], [3.0, 6.0]])
    with pytest.raises(InputError, match=r"date\.parquet: there is no symbol 'C'; there are A, B"):
        load(tmp_path / "date.parquet", symbols=["C"])


def test_a_span_without_rows_says_so(tmp_path):
    folder = write_dataset(tmp_path / "set", long_frame(), ["symbol"], [pa.string()])
    with pytest.raises(InputError, match="set: no rows from 2030-01-01 00:00:00 to the end of AAPL"):
        load(folder, start="2030", symbols=["AAPL"])
    with pytest.raises(InputError, match="there is no symbol 'IBM'; there are AAPL"):
        load(folder, symbols=["AAPL", "IBM"])


def test_a_flat_folder_of_parts_is_a_data_set(tmp_path):
    frame = long_frame()
    for part in range(3):
        frame[frame.symbol == SYMBOLS[part]].to_parquet(tmp_path / f"part-{part}.parquet")
    np.testing.assert_array_equal(load(tmp_path).close, load(frame).close)
