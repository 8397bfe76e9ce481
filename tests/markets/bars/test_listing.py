import numpy as np
import pandas as pd
import pytest
import samples
from hypothesis import given
from hypothesis import strategies as st

from markets import Bars


def bars_on(index: pd.DatetimeIndex, *traded: np.ndarray, **kwargs) -> Bars:
    """Symbols that trade on the rows where `traded` is True; prices rise by a per mille a row."""
    price = np.exp(np.arange(len(index)) / 1000)
    close = np.column_stack([np.where(there, price, np.nan) for there in traded])
    return Bars.make(index, [f"S{i}" for i in range(len(traded))], close, **kwargs)


def stale_after(bars: Bars, last: int) -> pd.Timedelta:
    """Time from the last close of the second symbol, in row `last`, to the first row on which it is not listed."""
    listed = bars.listed[:, 1]
    assert listed[last]
    gone = last + int(np.argmin(listed[last:]))
    assert not listed[gone:].any()
    return bars.index[gone] - bars.index[last]


EVERY = {
    "minute": pd.date_range("2024-01-02 09:30", periods=3000, freq="min"),
    "hour": pd.date_range("2024-01-01", periods=24 * 200, freq="h"),
    "day": pd.date_range("2020-01-01", periods=500),
    "business day": pd.bdate_range("2020-01-01", periods=500),
    "month": pd.date_range("2000-01-31", periods=120, freq="ME"),
    "quarter": pd.date_range("1990-03-31", periods=120, freq="QE"),
}


@pytest.mark.parametrize("every", EVERY)
@pytest.mark.parametrize("skip", [1, 30])
def test_regression_a_symbol_is_listed_through_its_own_pauses(every, skip):
    """It was unlisted after 21 bars of the common index: on minute bars, between two prints half an hour apart."""
    index = EVERY[every]
    there = np.arange(len(index)) % skip == 0
    bars = bars_on(index, np.ones(len(index), dtype=bool), there)
    unlisted = ~bars.listed[:, 1]
    # after its first close alone, its spacing is not known: a month is all that it is given
    second = skip
    assert not unlisted[second:].any()
    assert not unlisted[index <= index[0] + pd.Timedelta("30D")].any()


@pytest.mark.parametrize(
    ("every", "last", "least", "most"),
    [
        ("hour", 1000, "30D", "31D"), ("day", 200, "30D", "31D"), ("business day", 200, "30D", "34D"),
        ("month", 60, "90D", "125D"), ("quarter", 60, "270D", "370D"),
    ],
)  # fmt: skip
def test_what_stopped_is_unlisted_after_a_month_or_three_of_its_spacings(every, last, least, most):
    index = EVERY[every]
    rows = np.arange(len(index))
    found = stale_after(bars_on(index, rows >= 0, rows <= last), last)
    assert pd.Timedelta(least) <= found <= pd.Timedelta(most)


def test_a_symbol_of_a_slower_calendar_keeps_its_own_rhythm():
    """Daily and monthly series in one folder."""
    index = pd.bdate_range("2010-01-01", "2016-12-31")
    month_end = np.append(np.diff(index.month) != 0, False)
    bars = bars_on(index, np.ones(len(index), dtype=bool), month_end)
    begun = int(np.flatnonzero(month_end)[1])
    assert bars.listed[begun:, 1].all()
    last = int(np.flatnonzero(month_end)[40])
    stopped = bars_on(index, np.ones(len(index), dtype=bool), month_end & (np.arange(len(index)) <= last))
    assert pd.Timedelta("85D") <= stale_after(stopped, last) <= pd.Timedelta("100D")


def test_a_long_suspension_is_not_a_usual_spacing():
    index = pd.bdate_range("2010-01-01", periods=1200)
    rows = np.arange(1200)
    there = (rows < 300) | ((rows >= 800) & (rows < 810))
    listed = bars_on(index, rows >= 0, there).listed[:, 1]
    assert not listed[340:800].any()
    assert listed[800:825].all()
    assert not listed[840:].any()


def test_regression_an_hourly_stock_beside_a_coin_is_held_over_nights_weekends_and_holidays():
    index = pd.date_range("2023-01-02 14:00", periods=24 * 120, freq="h")
    session = (index.day_of_week < 5) & (index.hour >= 14) & (index.hour < 21)
    holiday = (index >= "2023-03-06") & (index < "2023-03-17")  # a week and a half
    bars = bars_on(index, np.ones(len(index), dtype=bool), session & ~holiday)
    assert bars.listed.all()


@given(st.integers(0, 2**32 - 1), st.integers(1, 58), st.booleans())
def test_what_is_listed_is_the_same_in_slices(seed, t, delist):
    bars = samples.gappy_bars(np.random.default_rng(seed), 60, 3, delist=delist)
    for what in ("listed", "sessions"):
        whole = getattr(bars, what)
        np.testing.assert_array_equal(getattr(bars[: t + 1], what), whole[: t + 1])
        np.testing.assert_array_equal(getattr(bars[t:], what), whole[t:])


def test_sessions_are_those_of_most_symbols():
    index = pd.date_range("2024-01-01", periods=28)  # from a Monday on
    week = index.day_of_week < 5
    bars = bars_on(index, *[week] * 10, np.ones(28, dtype=bool))
    np.testing.assert_array_equal(bars.sessions, week)
    assert bars_on(index, week, np.ones(28, dtype=bool)).sessions.all()  # half of two
    assert bars.select(["S10"]).sessions.all()


def test_symbols_that_print_one_after_another_make_a_session_together():
    index = pd.date_range("2024-01-02 09:30", periods=400, freq="min")
    rows = np.arange(400)
    bars = bars_on(index, *[rows % 20 == k for k in (0, 5, 10, 15)])
    assert np.flatnonzero(bars.sessions)[:5].tolist() == [0, 5, 15, 25, 35]  # until row 15, fewer are listed


def test_regression_an_external_series_is_never_listed():
    index = pd.bdate_range("2020-01-01", periods=50)
    all_rows = np.ones(50, dtype=bool)
    tradable = np.tile([True, True, False], (50, 1))
    bars = bars_on(index, all_rows, all_rows, all_rows, tradable=tradable)
    assert bars.external.tolist() == [False, False, True]
    np.testing.assert_array_equal(bars.listed, tradable)
    for part in (bars[:1], bars[20:], bars.select(["S2", "S0"]), bars.resample("W-FRI"), bars.without_past(3)):
        assert part.external.tolist() == [name == "S2" for name in part.symbols]
        assert not part.listed[:, part.symbols.index("S2")].any()
    assert bars[20:].with_values(close=bars.close * 2).external.tolist() == [False, False, True]


@pytest.mark.parametrize("by", ["mask", "open"])
def test_regression_what_is_external_does_not_depend_on_what_comes_after(by):
    """Equal weight at row 30 gave a symbol a third that was to become tradable at row 40, but a half to the others without."""
    index, begun = pd.bdate_range("2020-01-01", periods=60), np.arange(60) >= 40
    close = np.random.default_rng(0).uniform(90, 110, (60, 3))
    late = np.column_stack([np.ones((60, 2), dtype=bool), begun])
    more = {"tradable": late} if by == "mask" else {"open": np.where(late, close, np.nan)}
    whole = Bars.make(index, list("ABC"), close, **more)
    np.testing.assert_array_equal(whole.listed, late)
    assert not whole.external.any()
    assert whole[:40].external.tolist() == [False, False, True]
    for last in (1, 31, 40, 41, 60):
        known = Bars.make(
            index[: last + 1], list("ABC"), close[: last + 1], **{k: v[: last + 1] for k, v in more.items()}
        )
        np.testing.assert_array_equal(known.listed[:last], whole.listed[:last])
        assert whole[:last].hash == known[:last].hash


def test_history_holds_that_a_symbol_was_tradable():
    """Closes without opens are untradable, but do not make a series external that was traded before."""
    close = np.random.default_rng(0).uniform(90, 110, (60, 2))
    tradable = np.column_stack([np.ones(60, dtype=bool), np.arange(60) == 5])
    bars = Bars.make(pd.bdate_range("2020-01-01", periods=60), ["A", "B"], close, tradable=tradable)[50:]
    assert bars.without_past(keep=3).past == 45
    np.testing.assert_array_equal(bars.without_past(keep=3).listed, bars.listed)


def test_history_is_kept_in_bars_of_each_symbol():
    index = pd.date_range("2024-01-02 09:30", periods=600, freq="min")
    rows = np.arange(600)
    bars = bars_on(index, rows >= 0, rows % 30 == 0, rows >= 550)[590:]
    kept = bars.without_past(keep=5).with_past()
    assert kept.index[0] == index[450]
    assert np.isfinite(kept.close[: kept.shape[0] - 10, 1]).sum() == 5
    assert bars.select(["S0"]).without_past(keep=5).past == 5
    assert bars.without_past().past == 0
    gone = bars_on(index, rows >= 0, rows < 100, delisted={"S1": index[200]})[590:]
    assert gone.without_past(keep=5).past == 5  # it never trades again


def test_rows_without_any_close_can_be_left_out():
    index = pd.date_range("2024-01-01", periods=28)
    bars = bars_on(index, index.day_of_week < 5, index.day_of_week < 4)[10:]
    packed = bars.without_empty()
    np.testing.assert_array_equal(packed.index, bars.index[bars.index.day_of_week < 5])
    assert packed.past == 8
    assert packed.without_empty() is packed


def test_warm_from_counts_the_bars_of_the_symbol_that_has_most():
    rows = np.arange(100)
    bars = bars_on(pd.date_range("2020-01-01", periods=100), rows % 4 == 0, rows % 5 == 0)[50:]
    assert bars.warm_from(3) == 9
    assert bars.warm_from(0) == 0
    assert bars.warm_from(1000) == 100
