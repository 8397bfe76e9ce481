"""The sets: small ones of the same layout from an index on this machine, and the real ones where they have been fetched."""

import numpy as np
import pandas as pd
import pytest
from index_server import small_universes

from markets import Costs, InputError, check, load
from markets.data.loading import NAMES
from markets.data.nyse import nyse_sessions
from markets.data.universes import UNIVERSES, fetch_universes
from markets.data.universes.futures import REPEATED
from markets.quality import check_source

CACHED = {name: universe.archive.path for name, universe in UNIVERSES.items()}  # before a test has a cache of its own


@pytest.fixture
def index(tmp_path, monkeypatch):
    with small_universes(tmp_path / "cache", monkeypatch) as server:
        yield server


@pytest.mark.parametrize("name", UNIVERSES)
def test_a_set_that_is_missing_says_how_to_fetch_it(name, index):
    with pytest.raises(InputError) as error:
        load(name)
    assert str(error.value) == f"{name} is not in the cache yet: regimeshift data fetch {name}"
    fetch_universes([name])
    index.status = 500  # offline from now on
    bars = load(name)
    assert bars.name == name
    assert bars.source is UNIVERSES[name].source
    assert bars.source.adjusted
    assert Costs.parse(bars.source.costs).commission > 0
    assert bars.hash == load(name).hash


def test_all_sets_at_once_and_each_archive_once(index):
    assert [universe.name for universe in fetch_universes(["fx", "all", "us74"])] == list(UNIVERSES)
    assert len(index.transfers()) == 3  # futures and us74 are in the same one
    assert fetch_universes([]) == []
    with pytest.raises(
        InputError, match="there is no set 'stocks' to fetch; there are futures, us74, fx, nyse_o, or all"
    ):
        fetch_universes(["fx", "stocks"])


def test_a_set_that_has_changed_is_refused_by_load(index):
    (universe,) = fetch_universes(["fx"])
    universe.archive.path.write_bytes(b"x")
    with pytest.raises(
        InputError, match=rf"has changed: its SHA-256 is 2d711642.* but {universe.archive.sha256} was pinned"
    ):
        load("fx")


def test_futures_are_without_the_series_that_repeat_others_and_the_holidays_of_all(index):
    fetch_universes(["futures"])
    bars = load("futures")
    assert bars.symbols == ("11", "-22")  # a hash is a name, not a number
    assert len(bars) == 59
    assert bars.tradable.sum(axis=0).tolist() == [58, 40]
    assert set(REPEATED).isdisjoint(bars.symbols)


def test_us74_has_the_sessions_and_the_quoted_spreads(index):
    fetch_universes(["us74"])
    bars = load("us74")
    assert len(bars) == 59
    assert pd.Timestamp("2000-01-17") not in bars.index
    assert np.isnan(bars.spread).sum() == 1  # a quote of zero is none
    assert ((bars.spread > 0) | np.isnan(bars.spread)).all()
    assert np.nanmax(bars.spread) < 3e-3
    part = load("us74", start="2000-02", end="2000-02-15", symbols=["T1"])
    rows = (bars.index >= "2000-02-01") & (bars.index <= "2000-02-15")
    np.testing.assert_array_equal(part.spread[:, 0], bars.spread[rows, 1])
    assert check_source("us74").bars.spread is not None


def test_fx_is_in_euros_and_its_currencies_end(index):
    fetch_universes(["fx"])
    bars = load("fx")
    assert bars.symbols == ("USD", "EEK", "ISK")
    assert bars.index.is_monotonic_increasing
    np.testing.assert_allclose(
        bars.close[:, 0], [1 / 0.5, 1 / 0.8, 1 / 1.0, 1 / 1.25]
    )  # the dollar falls, and so does a long position
    assert bars.delisted[:, 1].tolist() == [False, False, True, True]
    assert bars.listed[:, 1].tolist() == [True, True, False, False]
    assert bars.delisted_from == {"EEK": pd.Timestamp("2000-01-06")}  # ISK has gaps, and goes on
    assert bars.tradable[:, 2].tolist() == [True, False, False, True]
    assert load("fx", symbols=["USD", "ISK"]).delisted_from == {}
    assert load("fx", end="2000-01-05").delisted_from == bars.delisted_from


def test_nyse_o_has_the_sessions_of_its_time(index, monkeypatch):
    fetch_universes(["nyse_o"])
    bars = load("nyse_o")
    assert (bars.shape, str(bars.index[0].date()), str(bars.index[-1].date())) == (
        (5651, 2),
        "1962-07-03",
        "1984-12-31",
    )
    monkeypatch.setattr(
        "markets.data.universes.nyse_o.nyse_sessions", lambda first, last: nyse_sessions(first, last)[1:]
    )
    with pytest.raises(InputError, match="nyse_o has 5,651 rows, but the calendar has 5,650 sessions"):
        load("nyse_o")


def test_what_is_known_of_a_set_is_in_its_quality_report(index):
    fetch_universes(["fx", "futures"])
    report = check(load("futures"))
    assert report.facts["from"] == UNIVERSES["futures"].source.origin
    kinds = report.table.set_index("kind")["detail"]
    assert kinds["survivorship"].startswith("46 futures that still trade in 2023")
    assert set(kinds[["to know"]]) == set(UNIVERSES["futures"].source.caveats)
    assert "survivorship" not in set(check(load("fx")).table["kind"])  # what ended stays in


def test_names_in_messages_are_those_of_all_sets():
    with pytest.raises(InputError, match=f"unknown source 'stonks': use {', '.join(NAMES)}"):
        load("stonks")
    assert set(UNIVERSES) < set(NAMES)


# ---------------------------------------------------------------------------------------------------- the real ones


@pytest.fixture
def real(request, monkeypatch):
    name = request.param
    if not CACHED[name].is_file():
        pytest.skip(f"not in the cache: regimeshift data fetch {name}")
    return load(name)


def only(name):
    return pytest.mark.parametrize("real", [name], indirect=True)


@pytest.mark.parametrize(
    ("real", "shape", "first", "last", "closes"),
    [
        ("futures", (13697, 46), "1970-01-05", "2023-04-26", 446_849),
        ("us74", (5970, 74), "2000-01-04", "2023-09-26", 441_780),
        ("fx", (7126, 41), "1999-01-04", "2026-10-30", 221_702),
        ("nyse_o", (5651, 36), "1962-07-03", "1984-12-31", 203_436),
    ],
    indirect=["real"],
)
def test_the_real_set_is_as_described_and_has_no_errors(real, shape, first, last, closes):
    assert real.shape == shape
    assert (str(real.index[0].date()), str(real.index[-1].date())) == (first, last)
    assert np.isfinite(real.close).sum() == closes
    assert check(real).ok


@only("futures")
def test_the_real_futures(real):
    begun = pd.DataFrame(real.close, real.index).apply(pd.Series.first_valid_index)
    assert ((begun < "1976").sum(), (begun < "1991").sum(), begun.max().year) == (15, 36, 2009)
    weekly = pd.DataFrame(np.log(real.marks), real.index).resample("W-FRI").last().diff()
    correlation = weekly.corr().to_numpy().copy()
    np.fill_diagonal(correlation, 0)
    assert np.nanmax(correlation) < 0.97


@only("us74")
def test_the_real_us74(real):
    pd.testing.assert_index_equal(real.index, nyse_sessions(real.index[0], real.index[-1]), check_names=False)
    assert np.isnan(real.spread).sum() == 2_688
    by_year = pd.DataFrame(real.spread, real.index).groupby(real.index.year).median().median(axis=1) * 1e4
    assert (round(by_year[2000]), round(by_year[2008]), round(by_year[2023])) == (21, 11, 1)
    theirs, i = load("stocks", start="2000-01-04"), real.symbols.index("T18")
    days = real.index.intersection(theirs.index)
    ratio = real.close[real.index.isin(days), i] / theirs.close[theirs.index.isin(days), theirs.symbols.index("MRK")]
    assert abs(np.log(ratio[-1] / ratio[0])) < 0.01  # dividends of 22 years, a half of the price, are in both


@only("fx")
def test_the_real_fx(real):
    assert len(real.delisted_from) == 12
    assert sorted(
        s for s, time in real.delisted_from.items() if (time.month, time.day) >= (12, 30) or time.dayofyear == 1
    ) == [
        *("BGN", "CYP", "EEK", "HRK", "LTL", "LVL", "MTL", "SIT", "SKK", "TRL"),
    ]
    i = real.symbols.index("CYP")
    assert real.close[np.isfinite(real.close[:, i]), i][-1] == pytest.approx(1 / 0.585274, rel=5e-4)  # what it became
    gaps = ~np.isfinite(real.close[:, real.symbols.index("ISK")])
    assert (gaps.sum(), str(real.index[gaps][0].date()), str(real.index[gaps][-1].date())) == (
        2341,
        "2008-12-10",
        "2018-01-31",
    )
    others = [i for i, s in enumerate(real.symbols) if s != "ISK"]
    for i in others:  # no other has a gap between its first and its last rate
        there = np.flatnonzero(np.isfinite(real.close[:, i]))
        assert len(there) == there[-1] - there[0] + 1


@only("nyse_o")
def test_the_dates_of_the_real_nyse_o_are_those_of_the_days_that_are_remembered(real):
    mean = pd.Series(np.diff(np.log(real.close), axis=0).mean(axis=1), real.index[1:])
    for day in ("1963-11-26", "1970-05-27", "1971-08-16", "1982-08-17"):  # the largest rise of its year
        assert mean[day[:4]].idxmax() == pd.Timestamp(day)
    assert mean["1963-11-22"] < -0.025
    assert check(real).facts["calendar"].endswith("bars on 5,651 of 5,651 sessions")
