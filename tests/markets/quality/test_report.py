"""Each fault, inserted alone into clean data, is found at its symbol and time, without other findings."""

import html

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from markets import Bars, InputError, load
from markets.bars import Source
from markets.quality.calendars import sessions
from markets.quality.findings import SEVERITIES
from markets.quality.page import thinned
from markets.quality.report import check, check_source

DAYS = sessions("XNYS", pd.Timestamp("2012-01-03"), pd.Timestamp("2016-12-30")).days


def clean(index=DAYS, symbols=3, seed=0, volatility=0.012, tails=6):
    """Fields of a market without faults, with fat tails and clustered volatility."""
    rng = np.random.default_rng(seed)
    shape = (len(index), symbols)
    wild = np.where((np.arange(len(index)) // 60) % 3 == 2, 2.0, 1.0)[:, None]
    noise = rng.standard_t(tails, shape) / np.sqrt(tails / (tails - 2)) * volatility * wild
    close = 50 * np.exp(np.cumsum(noise, axis=0))
    open_ = np.vstack([close[:1], close[:-1]]) * np.exp(rng.normal(0, volatility / 3, shape))
    top, bottom = np.maximum(open_, close), np.minimum(open_, close)
    reach = 1 + np.abs(rng.normal(0, volatility / 2, shape))
    volume = np.exp(rng.normal(12, 0.4, shape))
    return {"open": open_, "high": top * reach, "low": bottom / reach, "close": close, "volume": volume}


def built(fields, index=DAYS, **more):
    fields = dict(fields)
    close = fields.pop("close")
    return Bars.make(index, [f"S{i}" for i in range(close.shape[1])], close, **fields, **more)


def scale_prices(fields, rows, column, factor):
    for field in ("open", "high", "low", "close"):
        fields[field][rows, column] *= factor


def seen(report):
    return [(f.symbol, f.kind, f.severity, f.first, f.last, f.count) for f in report.findings]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("closes_only", [True, False])
def test_clean_days_have_no_finding(seed, closes_only):
    fields = clean(seed=seed)
    report = check(built({"close": fields["close"]} if closes_only else fields))
    assert seen(report) == []
    assert report.table.empty
    assert list(report.table.columns) == ["symbol", "kind", "severity", "first", "last", "count", "detail"]
    assert report.ok
    assert report.facts["calendar"].startswith("XNYS, guessed")
    assert f"bars on {len(DAYS):,} of {len(DAYS):,} sessions" in report.facts["calendar"]


def gap(fields):
    for values in fields.values():
        values[500:530, 1] = np.nan


def stale(fields):
    for field in ("open", "high", "low", "close"):
        fields[field][700:715, 1] = fields["close"][700, 1]


def spike(fields):
    scale_prices(fields, 640, 1, 1.5)


def fat_finger(fields):
    scale_prices(fields, 640, 1, 0.1)


def outlier(fields):
    scale_prices(fields, slice(640, None), 1, 0.75)


def zero_volume(fields):
    fields["volume"][800:803, 1] = 0


def high_out_of_line(fields):
    fields["high"][900, 1] *= 1.6


def low_out_of_line(fields):
    fields["low"][900, 1] /= 1.6


def open_out_of_line(fields):
    fields["open"][900, 1] *= 1.6
    fields["high"][900, 1] *= 1.7


def late_listing(fields):
    for values in fields.values():
        values[:400, 1] = np.nan


def early_end(fields):
    for values in fields.values():
        values[1000:, 1] = np.nan


def partial_bar(fields):
    fields["open"][300:302, 1] = np.nan


PLANTED = [
    (gap, "gap", "warning", 500, 529, 30),
    (stale, "stale", "warning", 700, 714, 15),
    (spike, "spike", "warning", 640, 640, 1),
    (fat_finger, "spike", "error", 640, 640, 1),
    (outlier, "outlier", "note", 640, 640, 1),
    (zero_volume, "zero volume", "warning", 800, 802, 3),
    (high_out_of_line, "out of line", "warning", 900, 900, 1),
    (low_out_of_line, "out of line", "warning", 900, 900, 1),
    (open_out_of_line, "out of line", "warning", 900, 900, 1),
    (late_listing, "late listing", "note", 400, 400, 1),
    (early_end, "early end", "warning", 999, 999, 1),
    (partial_bar, "partial bar", "note", 300, 301, 2),
]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("plant", "kind", "severity", "first", "last", "count"), PLANTED)
def test_a_planted_fault_is_found_where_it_is_and_nothing_else(plant, kind, severity, first, last, count, seed):
    fields = clean(seed=seed)
    plant(fields)
    report = check(built(fields))
    assert seen(report) == [("S1", kind, severity, DAYS[first], DAYS[last], count)]
    assert report.ok == (severity != "error")
    assert report.summary.loc["S1", kind] == count
    assert report.summary.loc["S0", kind] == 0


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("closes_only", [True, False])
@pytest.mark.parametrize(
    ("new", "old", "name"), [(2, 1, "2:1"), (3, 2, "3:2"), (1, 10, "1:10"), (20, 1, "20:1"), (1, 2, "1:2")]
)
def test_a_split_is_named_by_its_ratio(new, old, name, closes_only, seed):
    fields = clean(seed=seed)
    scale_prices(fields, slice(640, None), 1, old / new)
    fields["volume"][640:, 1] *= new / old
    report = check(built({"close": fields["close"]} if closes_only else fields))
    assert seen(report) == [("S1", "split", "error", DAYS[640], DAYS[640], 1)]
    assert f": {name} on {DAYS[640]:%Y-%m-%d}" in report.findings[0].detail


def test_a_crash_by_half_is_no_split_where_the_volume_says_so():
    fields = clean(seed=1)
    scale_prices(fields, slice(640, None), 1, 0.5)
    fields["volume"][640, 1] *= 15
    assert seen(check(built(fields))) == [("S1", "outlier", "note", DAYS[640], DAYS[640], 1)]


def test_a_delisting_that_is_declared_is_a_note():
    fields = clean()
    early_end(fields)
    report = check(built(fields, delisted={"S1": DAYS[1000]}))
    assert [(f.kind, f.severity) for f in report.findings] == [("early end", "note")]
    assert f"delisted from {DAYS[1000]:%Y-%m-%d}" in report.findings[0].detail


def test_unusable_data_is_an_error():
    fields = {"close": clean()["close"]}
    fields["close"][5:, 0] = np.nan
    fields["close"][1:5, 0] = np.nan
    fields["close"][:, 1] = 7.0
    fields["close"][1:700, 2] = np.nan
    report = check(built(fields))
    errors = {(f.symbol, f.kind) for f in report.findings if f.severity == "error"}
    assert errors == {("S0", "no return"), ("S1", "stale"), ("S2", "gap")}
    assert not report.ok


def test_survivorship_is_noted_where_delistings_are_to_be_expected():
    assert seen(check(built(clean(symbols=4)))) == []
    report = check(built(clean(symbols=5)))
    assert [(f.symbol, f.kind, f.severity) for f in report.findings] == [("(all)", "survivorship", "note")]
    fields = clean(symbols=5)
    early_end(fields)
    assert "survivorship" not in check(built(fields)).table["kind"].to_list()


def test_a_stock_in_a_panel_with_weekend_bars_has_gaps_at_weekends():
    index = pd.date_range("2012-01-01", "2016-12-31")
    fields = {"close": clean(index)["close"]}
    fields["close"][~index.isin(DAYS), 1] = np.nan
    report = check(built(fields, index))
    assert report.facts["calendar"].startswith("24/7, guessed")
    gaps = report.table.query("kind == 'gap'")
    assert gaps[["symbol", "severity"]].to_numpy().tolist() == [["S1", "note"]]
    assert "days that recur" in gaps["detail"].iloc[0]


def test_a_few_unchanged_minutes_are_not_stale_but_an_hour_is():
    index = pd.date_range("2024-03-01", periods=20_000, freq="min", tz="UTC")
    rng = np.random.default_rng(0)
    ticks = rng.choice([-1, 0, 0, 0, 1], (len(index), 1))
    close = 100 + np.cumsum(ticks, axis=0) * 0.01
    assert check(built({"close": close}, index)).table.query("kind == 'stale'").empty
    close[5000:5200] = close[5000]
    found = check(built({"close": close}, index)).table.query("kind == 'stale'")
    assert len(found) == 1
    assert abs(found["first"][0] - index[5000]) <= pd.Timedelta("30min")
    assert 200 <= found["count"][0] <= 260


def test_a_night_between_minutes_is_no_outlier():
    at = sessions("XNYS", pd.Timestamp("2024-01-02"), pd.Timestamp("2024-03-28"))
    index = pd.DatetimeIndex(
        np.concatenate([pd.date_range(o, c, freq="5min")[1:] for o, c in zip(at.opens, at.closes, strict=True)])
    ).tz_convert("UTC")
    rng = np.random.default_rng(0)
    nights = np.diff(index.normalize().asi8, prepend=index[0].normalize().value // 1000) != 0
    noise = rng.normal(0, np.where(nights, 0.008, 0.0007))
    report = check(built({"close": 100 * np.exp(np.cumsum(noise))[:, None]}, index))
    assert seen(report) == []
    assert "stamped at their end" in report.facts["times"]


def test_known_faults_of_the_packaged_sets_are_found(stocks):
    report = check(stocks)
    assert report.facts["calendar"].endswith("bars on 8,313 of 8,313 sessions")
    found = {(f.symbol, f.kind, f.severity, f"{f.first:%Y-%m-%d}") for f in report.findings}
    assert found == {
        ("RRC", "stale", "warning", "1990-01-02"),  # hardly traded until 1992
        ("MRK", "outlier", "note", "2004-09-30"),  # withdrawal of a drug
        ("(all)", "survivorship", "note", "1990-01-02"),
    }
    # closed from 11 to 14 September 2001, for the funerals of two presidents, and for a storm
    assert seen(check(load("sp500"))) == []
    assert [row[:5] for row in seen(check(load("nasdaq")))] == [
        ("nasdaq", "zero volume", "warning", pd.Timestamp("2015-05-12"), pd.Timestamp("2018-01-09"))
    ]


def test_real_splits_are_found_when_their_adjustment_is_undone(stocks):
    splits = {
        "AAPL": ("2014-06-09", 7), "MSFT": ("2003-02-18", 2), "WMT": ("1999-04-20", 2), "UNH": ("2005-05-31", 2),
        "XOM": ("2001-07-19", 2),
    }  # fmt: skip
    close = stocks.close.copy()
    for symbol, (day, ratio) in [*splits.items(), ("AAPL", ("2000-06-21", 2)), ("AAPL", ("2005-02-28", 2))]:
        close[stocks.index < day, stocks.symbols.index(symbol)] *= ratio
    found = check(Bars.make(stocks.index, stocks.symbols, close)).table.query("kind == 'split'")
    assert sorted(found["symbol"]) == sorted(splits)
    for row in found.itertuples():
        day, ratio = splits[row.symbol]
        assert row.severity == "error"
        if row.symbol == "AAPL":
            # the second is a profit warning, -52 %, which closes alone cannot tell from 2:1
            assert row.count == 4
            assert "2:1 on 2000-06-21, 2:1 on 2000-09-29, 2:1 on 2005-02-28, 7:1 on 2014-06-09" in row.detail
        else:
            assert row.count == 1
            assert f"{ratio}:1 on {day}" in row.detail


def test_a_slice_is_checked_as_it_is_seen():
    fields = clean()
    spike(fields)
    late_listing(fields)
    bars = built(fields)
    assert seen(check(bars[700:])) == []
    report = check(bars[:100])
    assert [(f.symbol, f.kind) for f in report.findings] == [("S1", "no return")]


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(1, 3))
def test_any_bars_get_a_report(seed, length, symbols):
    rng = np.random.default_rng(seed)
    index = pd.DatetimeIndex(np.sort(rng.choice(np.arange(1, 2000), length, replace=False)).astype("M8[D]"))
    close = np.exp(rng.normal(0, rng.choice([0.01, 3]), (length, symbols)))
    close[rng.random(close.shape) < 0.3] = np.nan
    close[rng.integers(length)] = 1.0
    bars = built({"close": close, "volume": rng.choice([0.0, 1.0, np.nan], close.shape)}, index)
    report = check(bars)
    ranks = [SEVERITIES.index(s) for s in report.table["severity"]]
    assert ranks == sorted(ranks)
    assert not report.table.duplicated(["symbol", "kind"]).any()
    assert (report.table["first"] <= report.table["last"]).all()
    assert len(report.summary) == symbols


def test_wrong_options_say_so():
    bars = built(clean())
    with pytest.raises(InputError, match="calendar 'MOON' is unknown"):
        check(bars, "MOON")
    with pytest.raises(InputError, match="stale is 1"):
        check(bars, stale=1)


def test_the_page_needs_nothing_else_and_shows_what_was_found(tmp_path):
    fields = clean()
    gap(fields)
    scale_prices(fields, slice(640, None), 0, 0.5)
    fields["volume"][640:, 0] *= 2
    report = check(built(fields, name="<mine>"))
    path = report.page(tmp_path / "page.html")
    text = path.read_text()
    assert "&lt;mine&gt;: quality of the data" in text
    assert "3 symbols, 2012-01-03 to 2016-12-30: 1 error, 1 warning." in text
    for finding in report.findings:
        assert finding.detail in text
        assert f'"name":"{finding.kind}"' in text
    assert 'src="http' not in text
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]
    with pytest.raises(InputError, match="the page cannot be written"):
        report.page(tmp_path / "none" / "page.html")


def test_a_page_of_many_bars_stays_small(tmp_path):
    index = pd.date_range("2020-01-01", periods=200_000, freq="min", tz="UTC")
    close = np.exp(np.cumsum(np.random.default_rng(0).normal(0, 1e-3, (len(index), 2)), axis=0))
    close[1000:90_000, 1] = np.nan
    path = check(built({"close": close}, index)).page(tmp_path / "page.html")
    assert path.stat().st_size < 6e6


@given(st.integers(0, 2**32 - 1), st.integers(1, 300), st.integers(4, 60))
def test_thinning_keeps_the_ends_and_the_extremes(seed, length, most):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=length)
    values[rng.random(length) < 0.2] = np.nan
    rows = thinned(values, most)
    assert len(rows) <= max(length if length <= most else 0, most + 2)
    assert {0, length - 1} <= set(rows)
    if np.isfinite(values).any():
        assert np.nanmax(values[rows]) == np.nanmax(values)
        assert np.nanmin(values[rows]) == np.nanmin(values)


def test_a_name_is_not_bars():
    with pytest.raises(InputError, match=r"write check\(load\(...\)\)"):
        check("sp500")


@pytest.mark.parametrize("volume", ["raw", "adjusted already"])
@pytest.mark.parametrize(("new", "old"), [(2, 1), (4, 1), (20, 1), (1, 2), (1, 10)])
def test_regression_a_split_is_found_on_a_day_when_the_stock_moved_too(new, old, volume):
    """A day of +8 % hid it, and so did volumes that were adjusted where prices were not."""
    fields = clean(seed=3, volatility=0.02)
    scale_prices(fields, slice(640, None), 1, 1.08 * old / new)
    if volume == "raw":
        fields["volume"][640:, 1] *= new / old
    assert seen(check(built(fields))) == [("S1", "split", "error", DAYS[640], DAYS[640], 1)]


@pytest.mark.parametrize("row", [1, 2, len(DAYS) - 1])
def test_regression_a_split_at_either_end_of_the_data_is_found(row):
    fields = {"close": clean()["close"]}
    fields["close"][row:, 1] /= 3
    assert seen(check(built(fields))) == [("S1", "split", "error", DAYS[row], DAYS[row], 1)]


@pytest.mark.parametrize("factor", [10.46, 9.3, 1 / 150])
def test_regression_a_lasting_move_by_such_a_factor_is_an_error(factor):
    """+946 % in a day was a note."""
    fields = clean(seed=2)
    scale_prices(fields, slice(640, None), 1, factor)
    (found,) = check(built(fields)).findings
    assert (found.severity, found.first) == ("error", DAYS[640])


def test_what_the_source_says_is_adjusted_has_no_split():
    fields = {"close": clean()["close"]}
    fields["close"][640:, 1] /= 2
    report = check(built(fields, source=Source(adjusted=True)))
    assert seen(report) == [("S1", "outlier", "note", DAYS[640], DAYS[640], 1)]


def spoilt(tmp_path):
    """A wide file with six wrong cells, and the place of each."""
    frame = pd.DataFrame(clean()["close"][:300], columns=["A", "B", "C"]).astype(object)
    frame.insert(0, "date", [f"{day:%Y-%m-%d}" for day in DAYS[:300]])
    frame.loc[5, "A"], frame.loc[7, "B"], frame.loc[9, "C"], frame.loc[11, "C"] = -3, "abc", "inf", 0
    frame.loc[13, "date"] = "someday"
    frame.loc[20, "date"] = frame.loc[19, "date"]
    frame.to_csv(tmp_path / "spoilt.csv", index=False)
    places = [
        "row 7, column 'A'",
        "row 9, column 'B'",
        "row 11, column 'C'",
        "row 13, column 'C'",
        "row 15, column 'date'",
    ]
    return tmp_path / "spoilt.csv", [*places, "row 22: time"]


def test_regression_all_wrong_cells_are_listed_not_only_the_first(tmp_path):
    path, places = spoilt(tmp_path)
    with pytest.raises(InputError, match="row 15, column 'date': 'someday' is not a time"):
        load(path)
    report = check_source(path)
    assert not report.ok
    assert len(report.cells) == len(places)
    for place in places:
        assert sum(cell.startswith(place) for cell in report.cells) == 1, place
    assert (report.findings[0].kind, report.findings[0].severity, report.findings[0].count) == (
        "wrong cell",
        "error",
        6,
    )
    assert report.bars.shape == (298, 3)
    assert np.isnan(report.bars.close).sum() == 4
    text = report.page(tmp_path / "page.html").read_text()
    assert all(html.escape(cell) in text for cell in report.cells)


@pytest.mark.parametrize("form", ["long", "folder", "levels"])
def test_wrong_cells_of_other_forms_are_listed(tmp_path, form):
    frames = {}
    for k, symbol in enumerate(["A", "B"]):
        close = clean(symbols=2)["close"][:60, k].astype(object)
        close[3 + k], close[30 + k] = "x", -1.0
        frames[symbol] = pd.DataFrame({"date": DAYS[:60], "close": close, "volume": 1.0})
    path = tmp_path / "mine.csv"
    if form == "long":
        pd.concat([f.assign(symbol=s) for s, f in frames.items()]).to_csv(path, index=False)
    elif form == "folder":
        path = tmp_path / "mine"
        path.mkdir()
        for symbol, frame in frames.items():
            frame.to_csv(path / f"{symbol}.csv", index=False)
    else:
        wide = pd.concat({s: f.set_index("date") for s, f in frames.items()}, axis=1).swaplevel(axis=1)
        wide.columns.names = ["Price", "Ticker"]
        wide.to_csv(path)
    report = check_source(path)
    assert len(report.cells) == 4
    assert sum("'x' is not a number" in cell for cell in report.cells) == 2
    assert sum("a price must be positive" in cell for cell in report.cells) == 2
    if form == "folder":
        assert sum(cell.startswith("B.csv: row ") for cell in report.cells) == 2


def test_a_source_without_wrong_cells_is_checked_as_its_bars_are(tmp_path):
    pd.DataFrame(clean()["close"], DAYS, ["A", "B", "C"]).rename_axis("date").to_csv(tmp_path / "mine.csv")
    report = check_source(tmp_path / "mine.csv")
    assert report.findings == check(load(tmp_path / "mine.csv")).findings
    assert report.cells == ()


@pytest.mark.parametrize(("days", "word"), [(-1, "early"), (1, "late")])
@pytest.mark.parametrize("calendar", [None, "XNYS"])
def test_regression_dates_a_day_off_are_seen(days, word, calendar):
    """Sunday to Thursday was no finding; the calendar was "not guessed"."""
    index = DAYS + pd.Timedelta(days=days)
    found = check(built({"close": clean()["close"]}, index), calendar).findings
    assert f"the dates seem to be a day {word}" in next(f.detail for f in found if f.kind == "date shift")


def test_regression_midnight_of_another_zone_is_a_day_off():
    index = DAYS.tz_localize("Europe/Berlin").tz_convert("UTC")
    (found,) = [f for f in check(built({"close": clean()["close"]}, index)).findings if f.kind == "date shift"]
    assert "bars on Sundays and none on Fridays" in found.detail


def test_one_symbol_a_day_off_among_others_is_named():
    frame = pd.DataFrame(clean()["close"], DAYS, ["A", "B", "C"])
    early = frame[["B"]].set_axis(DAYS - pd.Timedelta(days=1))
    joint = frame[["A", "C"]].join(early, how="outer")
    found = check(Bars.make(joint.index, list(joint.columns), joint.to_numpy())).findings
    assert [f.symbol for f in found if f.kind == "date shift"] == ["B"]


def test_a_market_open_on_sundays_is_not_a_day_off():
    index = sessions("XSAU", pd.Timestamp("2022-01-02"), pd.Timestamp("2023-12-28")).days
    found = check(built({"close": clean(index)["close"]}, index), "XSAU").findings
    assert [f.kind for f in found] == []


def test_rows_with_a_wrong_number_of_cells_are_listed(tmp_path):
    frame = pd.DataFrame({"date": DAYS[:40], "A": clean()["close"][:40, 0].round(2)})
    lines = frame.to_csv(index=False).splitlines()
    lines[5] = "2012-01-09,1,234.5"
    lines[9] = "2012-01-13"
    lines[20] = lines[20].replace(".", "x", 1)
    (tmp_path / "mine.csv").write_text("\n".join(lines))
    assert [cell.split(";")[0] for cell in check_source(tmp_path / "mine.csv").cells] == [
        "row 6 has 3 cells, but the header has 2",
        "row 10 has 1 cells, but the header has 2",
        f"row 21, column 'A': '{lines[20].split(',')[1]}' is not a number",
    ]


def test_regression_a_column_of_text_has_one_line():
    """Each of its cells had a line of its own, which hid all other findings."""
    frame = pd.DataFrame({"A": clean()["close"][:300, 0], "sector": "tech"}, DAYS[:300].rename("date"))
    report = check_source(frame)
    assert [cell for cell in report.cells if "number" in cell] == [
        "column 'sector': 300 cells are not numbers, the first 'tech' in row 0; remove the column"
    ]
    with pytest.raises(InputError, match="column 'sector': 300 cells are not numbers"):
        load(frame)


def beside_a_coin(days=540):
    """Hourly bars: a coin at all hours, and a stock at seven hours of New York's sessions, whose hours in UTC change."""
    index = pd.date_range("2020-01-01", periods=24 * days, freq="h", tz="UTC")
    local = index.tz_convert("America/New_York")
    market = sessions("XNYS", pd.Timestamp("2020-01-01"), pd.Timestamp("2021-12-31")).days
    trading = (local.hour >= 10) & (local.hour <= 16) & local.tz_localize(None).normalize().isin(market)
    close = clean(index, symbols=2, volatility=0.004)["close"]
    close[~trading, 1] = np.nan
    return index, close, np.flatnonzero(trading)


@pytest.mark.parametrize("days", [15, 540])
def test_regression_a_nightly_close_is_neither_a_gap_nor_an_end(days):
    """A stock beside a coin, hourly: an error (79 % of bars missing) and a warning (it cannot be sold)."""
    index, close, _ = beside_a_coin(days)
    report = check(built({"close": close}, index))
    assert report.ok
    assert set(report.table["severity"]) == {"note"}
    assert "early end" not in report.table["kind"].to_list()
    gaps = report.table.query("symbol == 'S1' and kind == 'gap'")
    assert "hours or days that recur" in gaps["detail"].iloc[0]


def test_regression_a_gap_in_a_symbols_own_hours_is_found():
    index, close, trading = beside_a_coin()
    close[trading[700:910], 1] = np.nan  # 30 sessions
    gaps = check(built({"close": close}, index)).table.query("symbol == 'S1' and kind == 'gap'")
    assert gaps["severity"].to_list() == ["warning"]
    assert "bars from " + f"{index[trading[700]]:%Y-%m-%d %H:%M}" in gaps["detail"].iloc[0]


@pytest.mark.parametrize(("sessions_missing", "severity"), [(0, None), (1, "note"), (3, "note"), (5, "warning")])
def test_regression_an_end_is_measured_in_a_symbols_own_sessions(sessions_missing, severity):
    index, close, trading = beside_a_coin()
    close[trading[len(trading) - 7 * sessions_missing :], 1] = np.nan
    ends = check(built({"close": close}, index)).table.query("kind == 'early end'")
    assert ends["severity"].to_list() == ([severity] if severity else [])
    assert all("cannot be sold" in detail for detail in ends["detail"]) == (severity != "note")


def test_regression_one_late_close_can_still_be_sold():
    fields = {"close": clean()["close"]}
    fields["close"][-1, 1] = np.nan
    (end,) = check(built(fields)).findings
    assert (end.kind, end.severity) == ("early end", "note")
    assert "1 bar before the data ends" in end.detail


@pytest.mark.parametrize("share", [0.3, 0.6])
def test_bars_missing_at_random_are_no_closed_hours(share):
    index, close, _ = beside_a_coin(100)
    close[np.random.default_rng(0).random(len(index)) < share, 0] = np.nan
    gaps = check(built({"close": close}, index)).table.query("symbol == 'S0' and kind == 'gap'")
    assert gaps["severity"].to_list() == ["error" if share > 0.5 else "warning"]
    assert "recur" not in gaps["detail"].iloc[0]


def test_regression_a_column_of_volumes_is_not_a_price():
    fields = clean()
    fields["close"][:, 1] = fields["volume"][:, 1]
    found = check(built({"close": fields["close"]})).table.query("kind == 'not a price'")
    assert found[["symbol", "severity"]].to_numpy().tolist() == [["S1", "warning"]]
    (volume,) = check(load("sp500")).bars.volume.T
    traded = np.isfinite(volume) & (volume > 0)
    real = built({"close": volume[traded][:, None]}, load("sp500").index[traded])
    assert "not a price" in check(real).table["kind"].to_list()


def test_a_price_that_is_known_to_be_fixed_is_no_fault():
    fields = clean()
    fields = {"close": fields["close"]}
    fields["close"][200:, 1] = fields["close"][199, 1]
    plain, known = (check(built(fields, source=source)) for source in (Source(), Source(pegged=("S1",))))
    assert [f.severity for f in plain.findings if f.kind == "stale"] == ["error"]
    (found,) = [f for f in known.findings if f.kind == "stale"]
    assert (found.symbol, found.severity) == ("S1", "note")
    assert found.detail.endswith("; the price was fixed")
    assert known.ok


def test_what_the_source_is_and_what_to_know_of_it_are_in_the_report():
    source = Source(origin="A set of ours", caveats=("names are hidden", "no dividends"))
    report = check(built(clean(), source=source))
    assert report.facts["from"] == "A set of ours"
    assert [(f.kind, f.severity, f.detail) for f in report.findings] == [
        ("to know", "note", "names are hidden"),
        ("to know", "note", "no dividends"),
    ]
    assert report.ok
