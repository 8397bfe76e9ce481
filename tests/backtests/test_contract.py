"""What a deployed model was made for, and each kind of bars that it refuses."""

import numpy as np
import pandas as pd
import pytest
import samples

from backtests.contract import DataContract
from backtests.request import from_request, to_request
from markets import Bars, InputError

WARMUP = 40


def altered(bars, close=None, index=None, symbols=None, name="mine"):
    """`bars` with something else in them."""
    index, symbols = bars.index if index is None else index, symbols or bars.symbols
    return Bars.make(index, symbols, bars.close if close is None else close, name=name)


@pytest.fixture(scope="module")
def later(bars):
    return samples.regime_bars(1700, 3, seed=1)  # 200 bars more than `bars`


@pytest.fixture(scope="module")
def contract(bars):
    return DataContract.of(bars[-100:], WARMUP)


def changed(bars, row, column, value):
    close = bars.close.copy()
    close[row, column] = value
    return altered(bars, close)


def test_the_bars_that_it_was_made_for_and_later_ones_are_accepted(contract, bars, later):
    window = later[-100:].without_past()
    assert contract.check(bars[-60:].without_past()).symbols == bars.symbols
    assert contract.check(window).hash == window.hash
    assert contract.check(altered(window, window.close * 0.1)).symbols == bars.symbols  # a split, adjusted for since


def test_columns_are_ordered_by_their_names(contract, bars):
    window = bars[-60:].without_past()
    np.testing.assert_array_equal(contract.check(window.select(["S2", "S0", "S1"])).close, window.close)


HOURS = pd.date_range("2007-01-01", periods=60, freq="h")
REFUSED = {
    "a symbol is missing": (lambda b: b.select(["S0", "S1"]), r"without S2; the model was made for S0, S1, S2"),
    "another symbol": (lambda b: altered(b, symbols=("S0", "S1", "EURUSD")), "without S2"),
    "a fourth": (lambda b: altered(b, np.c_[b.close, b.close[:, 0]], symbols=("S0", "S1", "S2", "X")), "has X besides"),
    "too few bars": (lambda b: b[-40:].without_past(), "has 40 bars; the model reads 41"),
    "hourly bars": (lambda b: altered(b, index=HOURS), "are 1 hour apart; the model was made for bars 1 day apart"),
    "weekly bars": (
        lambda b: altered(b, index=pd.date_range("2007-01-01", periods=60, freq="W")),
        "are 7 days apart; the model was made for bars 1 day apart",
    ),
    "a time zone": (lambda b: altered(b, index=b.index.tz_localize("UTC")), "in the time zone UTC, .* have no time zone"),
    "future bars": (
        lambda b: altered(b, index=b.index + (pd.Timestamp("2099-01-05") - b.index[-1])),
        "ends at 2099-01-05 .* which is in the future",
    ),
    "old bars": (lambda b: altered(b, index=b.index - pd.Timedelta("1800D")), "ends at .* the model was adapted to bars up to"),
    "one day older": (lambda b: b[:-1], "give bars that end then or later"),
    "missing closes": (lambda b: changed(b, [-3, -5], 1, np.nan), "S1 has no close at 2006-09-25"),
    "no last close": (lambda b: changed(b, -1, 1, np.nan), "S1 has no close at 2006-09-29"),
    "four weeks of silence": (lambda b: changed(b, slice(-20, None), 2, np.nan), "S2 no longer trades: .* 28 days before"),
    "an impossible close": (lambda b: changed(b, -1, 0, 1e308), r"S0 goes from .* to 1e\+308 at 2006-09-29"),
    "an impossible first close": (lambda b: changed(b, 0, 0, 1e-300), "S0 goes from 1e-300"),
    "pence for pounds": (lambda b: altered(b, b.close * 100), "another unit"),
    "columns exchanged": (lambda b: altered(b, b.close[:, [1, 0, 2]]), "of S0 .* those of S1: are columns exchanged"),
    "columns rolled": (lambda b: altered(b, np.roll(b.close, 1, axis=1)), "of S0 .* those of S2: are columns exchanged"),
    "another series": (lambda b: altered(b, b.close * np.exp(np.cumsum(np.full(b.shape, 0.01), 0))), "these are other ones"),
    "returns doubled": (lambda b: altered(b, b.close**2 / b.close[0]), "these are other ones"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_regression_each_kind_of_other_bars_is_refused_in_a_line(what, contract, bars):
    change, message = REFUSED[what]
    with pytest.raises(InputError, match=message) as refusal:
        contract.check(change(bars[-60:].without_past()))
    assert "\n" not in str(refusal.value)


def test_regression_an_older_hole_is_a_gap(contract, bars, later):
    """One missing close blocked the signal for as long as it was in the window, while the backtest held the symbol."""
    for row in (-60, -40, -6, -2):
        contract.check(changed(bars[-60:].without_past(), row, 1, np.nan))
    holed = changed(later, 1650, 0, np.nan)
    for stop in range(1652, 1700):
        contract.check(holed[stop - 60 : stop].without_past())
    with pytest.raises(InputError, match="S0 has no close at"):
        contract.check(holed[1591:1651].without_past())


def test_another_instrument_without_common_bars_is_told_by_its_volatility(contract, later):
    window = later[-60:].without_past()
    calm = altered(window, 50 * (window.close / window.close[0]) ** 0.02, window.index + pd.Timedelta("400D"))
    with pytest.raises(InputError, match=r"S0 moves by 0\.0.% on a median bar, and by 0"):
        contract.check(calm)


@pytest.fixture(scope="module")
def mixed():
    """A coin around the clock, a stock with its own hours, and a coin that was listed late."""
    rng = np.random.default_rng(0)
    index = pd.date_range("2024-01-01", periods=1200, freq="h")
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.004, (1200, 3)), axis=0))
    opened = (index.hour >= 14) & (index.hour <= 20) & (index.day_of_week < 5)
    close[~opened, 1] = np.nan
    close[:1150, 2] = np.nan
    return Bars.make(index, ("COIN", "STOCK", "NEW"), close, name="mixed")


def test_gaps_are_gaps_where_there_were_gaps_at_registration(mixed):
    contract = DataContract.of(mixed[:1180], WARMUP)
    for stop in range(1180, 1200):
        contract.check(mixed[stop - 400 : stop].without_past())
    with pytest.raises(InputError, match="COIN has no close"):
        contract.check(changed(mixed[800:].without_past(), -1, 0, np.nan))
    with pytest.raises(InputError, match="NEW has no close"):
        contract.check(changed(mixed[800:].without_past(), -1, 2, np.nan))
    with pytest.raises(InputError, match=r"STOCK no longer trades: .* never silent for more than 2\.75 days"):
        contract.check(changed(mixed[500:].without_past(), slice(-250, None), 1, np.nan))
    with pytest.raises(InputError, match=r"STOCK has \d+ closes; the model reads 41 of each symbol: give more bars"):
        contract.check(mixed[-60:].without_past())


def test_a_request_is_the_bars_again(mixed):
    for bars in (mixed, altered(mixed, index=mixed.index.tz_localize("America/New_York"))):
        again = from_request(**{{"bars": "rows"}.get(k, k): v for k, v in to_request(bars).items()})
        assert again.hash == bars.hash
        assert again.symbols == bars.symbols


GOOD = {"symbols": ["A", "B"], "times": ["2020-01-01", "2020-01-02"], "rows": [[500, 71], [501.5, None]]}


def test_regression_whole_numbers_are_numbers_and_null_is_a_gap():
    close = from_request(**GOOD).close
    np.testing.assert_array_equal(close, [[500.0, 71.0], [501.5, np.nan]])


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"symbols": None}, "is without symbols: send symbols"),
        ({"times": None}, "is without times"),
        ({"rows": []}, "is without bars"),
        ({"rows": float("nan")}, "is without bars"),
        ({"times": ["soon", "later"]}, "times must be ISO 8601"),
        ({"times": [1, 2]}, "times must be ISO 8601"),
        ({"times": ["2020-01-01", None]}, "times must be ISO 8601"),
        ({"times": ["2020-01-01"]}, "1 times and 2 rows"),
        ({"times": ["2020-01-02", "2020-01-01"]}, "not sorted"),
        ({"times": ["2020-01-01", "2020-01-02T00:00+01:00"]}, "times must be ISO 8601"),
        ({"symbols": ["A", "A"]}, "symbol 'A' appears twice"),
        ({"symbols": ["A"]}, "row 0 of bars must hold 1 closes"),
        ({"rows": [[1.0, 2.0], [1.0]]}, "row 1 of bars must hold 2 closes"),
        ({"rows": [[1.0, 2.0], "ab"]}, "row 1 of bars must hold 2 closes"),
        ({"rows": [[1.0, "dear"], [1.0, 2.0]]}, "the close of B in row 0 is 'dear', which is not a number"),
        ({"rows": [[10**400, 2.0], [1.0, 2.0]]}, "the close of A in row 0 is not a number that a price can be"),
        ({"rows": [[1 + 2j, 2.0], [1.0, 2.0]]}, "the close of A in row 0 is not a number"),
        ({"symbols": [None, "B"]}, "symbols must be names, each a text"),
        ({"symbols": [["A"], "B"]}, "symbols must be names, each a text"),
        ({"symbols": [1, 2]}, "symbols must be names, each a text"),
        ({"rows": [[1.0, True], [1.0, 2.0]]}, "is True, which is not a number"),
        ({"rows": [[1.0, [2.0]], [1.0, 2.0]]}, "which is not a number"),
        ({"rows": [[1.0, -2.0], [1.0, 2.0]]}, "a price must be positive"),
        ({"rows": [[1.0, float("inf")], [1.0, 2.0]]}, "must be finite"),
        ({"rows": [[1.0, None], [1.0, None]]}, "symbol B has no close at all"),
    ],
)
def test_a_malformed_request_is_refused_in_a_line(part, message):
    with pytest.raises(InputError, match=message) as refusal:
        from_request(**GOOD | part)
    assert "\n" not in str(refusal.value)


def test_on_disk(mixed, tmp_path):
    contract = DataContract.of(mixed, WARMUP)
    contract.save(tmp_path / "contract.json")
    again = DataContract.load(tmp_path / "contract.json")
    assert (again.bars.hash, again.needed, again.data_hash) == (mixed.hash, WARMUP + 1, mixed.hash)
    assert (again.gaps, again.silence) == (contract.gaps, contract.silence)


def test_what_gaps_are_usual_is_judged_on_a_year(mixed):
    """Minute bars: the bars that a decision reads may lie within one session, of a stock that is closed at night."""
    contract = DataContract.of(mixed[1190:1196], 5)
    assert np.isfinite(contract.bars.close).all()
    assert contract.gaps == (False, True, False)
    assert contract.silence[1] == 66 * 3600  # over a weekend


def test_a_series_that_is_never_tradable_stays_one(bars, tmp_path):
    """VIX beside stocks is read and not traded, also where the request does not say so."""
    mask = np.ones(bars.shape, dtype=bool)
    mask[:, 1] = False
    external = Bars.make(bars.index, bars.symbols, bars.close, tradable=mask)
    contract = DataContract.of(external[-100:], WARMUP)
    contract.save(tmp_path / "contract.json")
    for known in (contract, DataContract.load(tmp_path / "contract.json")):
        assert known.tradable.tolist() == [True, False, True]
        turned = known.check(bars[-60:].without_past().select(["S2", "S1", "S0"]))
        assert turned.tradable.any(axis=0).tolist() == [True, False, True]
        assert known.ordered(bars[1000:]).past == 1000
