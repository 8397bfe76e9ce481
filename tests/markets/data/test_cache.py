from pathlib import Path

import pandas as pd
import platformdirs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from markets import InputError
from markets.data.cache import Series, root


@pytest.fixture
def series(tmp_path, monkeypatch):
    monkeypatch.setenv("REGIMESHIFT_CACHE", str(tmp_path))
    return Series.of("ccxt", "binance", "BTC/USDT:USDT", "1h")


def rows(*times):
    return pd.DataFrame({"time": pd.Series(times, dtype="int64"), "close": [float(t) for t in times]})


def test_where_it_is(series, tmp_path, monkeypatch):
    assert series.folder == tmp_path / "ccxt" / "binance" / "BTC%2FUSDT%3AUSDT" / "1h"
    monkeypatch.delenv("REGIMESHIFT_CACHE")
    assert root() == Path(platformdirs.user_cache_path("regimeshift"))


def test_what_is_kept_is_covered_and_read_in_order(series):
    assert series.missing(0, 40) == (0, 40)
    series.keep(20, 30, rows(20, 25))
    series.keep(0, 10, rows())
    assert series.missing(0, 40) == (10, 20)
    series.keep(10, 20, rows(10))
    assert series.missing(0, 30) is None
    assert series.missing(0, 40) == (30, 40)
    assert series.read(0, 40)["time"].tolist() == [10, 20, 25]
    assert series.read(20, 25)["close"].tolist() == [20.0]
    series.replace(5, 50, rows(5, 45))
    assert series.stretches() == [(5, 50)]
    assert series.read(0, 100)["time"].tolist() == [5, 45]


def test_a_response_interrupted_while_writing_does_not_count(series, monkeypatch):
    def killed(self, file, **options):
        file.write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pd.DataFrame, "to_parquet", killed)
        with pytest.raises(KeyboardInterrupt):
            series.keep(0, 10, rows(1))
    assert series.stretches() == []
    series.keep(0, 10, rows(1))
    assert series.read(0, 10)["time"].tolist() == [1]


def test_a_damaged_response_is_named(series):
    series.keep(0, 10, rows(1))
    (series.folder / "0-10.parquet").write_bytes(b"damaged")
    with pytest.raises(
        InputError, match=r"0-10\.parquet: the cached response is damaged .* delete the file and load again"
    ):
        series.read(0, 10)


@given(st.lists(st.tuples(st.integers(-5, 15), st.integers(1, 6)), max_size=5), st.integers(-5, 10), st.integers(1, 10))
def test_missing_is_the_first_interval_that_is_not_covered(answers, since, length):
    class Known(Series):
        def stretches(self):
            return sorted((first, first + n) for first, n in answers)

    covered = {t for first, n in answers for t in range(first, first + n)}
    absent = [t for t in range(since, since + length) if t not in covered]
    missing = Known(Path()).missing(since, since + length)
    if not absent:
        assert missing is None
    else:
        assert missing[0] == absent[0]
        assert set(range(*missing)) <= set(absent)
        assert missing[1] == since + length or missing[1] in covered
