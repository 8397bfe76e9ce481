"""What a trial trades: spans that do not reach past their end, and one line or a stated rule for bars that cannot be traded."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from benchmarks.real_market.protocol import Protocol, charged
from benchmarks.real_market.task_cuts import RecentTasks
from benchmarks.real_market.universes import known_bars, missing, of_protocol, of_user, prepared, unmoving
from markets import Bars, Costs, Execution, InputError


@pytest.fixture(scope="module")
def protocol():
    return Protocol.read()


def prices(days=2000, symbols=5, seed=0):
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(0.01 * rng.standard_normal((days, symbols)), axis=0))
    return pd.DataFrame(
        close, pd.bdate_range("2010-01-04", periods=days, name="date"), [f"s{i}" for i in range(symbols)]
    )


def written(frame, tmp_path):
    frame.to_csv(tmp_path / "mine.csv")
    return str(tmp_path / "mine.csv")


def test_development_ends_where_the_protocol_says(protocol):
    bars, notes = known_bars(protocol.universes["stocks"], "development")
    assert bars.with_past().index[-1] == pd.Timestamp("2007-12-31")
    universe = of_protocol(protocol.universes["stocks"], protocol, "development")
    assert universe.bars.index[0] == pd.Timestamp("1998-01-02")
    assert universe.bars.with_past().index[-1] == pd.Timestamp("2007-12-31")
    assert universe.bars.past > universe.tasks.fewest
    assert notes == ()


def test_a_quick_universe_is_the_last_year_of_eight_symbols(protocol):
    universe = of_protocol(protocol.universes["stocks"], protocol, "development", quick=True)
    assert universe.bars.shape == (252, 8)
    assert universe.bars.index[-1] == pd.Timestamp("2007-12-31")


def test_a_users_bars_are_cut_in_half(protocol, tmp_path):
    universe = of_user(written(prices(), tmp_path), "7bp", 2.0, protocol)
    assert universe.bars.past == 1000
    assert universe.bars.shape == (1000, 5)
    assert universe.retrain_every == 500
    assert universe.costs.commission == 7e-4
    assert universe.execution.gross == 2
    assert universe.execution.borrowing
    assert universe.caveats[-1].startswith("the account may hold 2 times its equity")


def test_too_few_bars_for_a_fold(protocol, tmp_path):
    fewest = RecentTasks(**protocol.walk_forward["tasks"]).fewest + 252
    assert fewest < 2000
    of_user(written(prices(fewest), tmp_path), "0", 1.0, protocol)
    with pytest.raises(
        InputError, match=r"1,\d+ bars are too few for a fold: it takes \d+ to train on and 252 to trade"
    ):
        of_user(written(prices(fewest - 1), tmp_path), "0", 1.0, protocol)


@pytest.mark.parametrize("known", [*range(883, 1150, 13), 2000])
def test_as_many_bars_as_are_asked_for_are_enough(known):
    tasks = RecentTasks()
    assert tasks.fewest <= 884
    frame = prices(max(known, tasks.fewest), 2)
    training, validation = tasks(Bars.make(frame.index, list(frame), frame.to_numpy()))
    assert len(training)
    assert len(validation)
    assert training[-1].stop < validation[0].start


def test_validation_is_the_last_years_of_a_long_history():
    frame = prices(5000, 2)
    training, validation = RecentTasks()(Bars.make(frame.index, list(frame), frame.to_numpy()))
    assert validation[0].times[0] > frame.index[-1] - pd.DateOffset(years=3)
    assert training[-1].times[2] > frame.index[-1] - pd.DateOffset(years=4)


def test_more_symbols_than_bars(protocol):
    frame, tasks = prices(1200, 900), RecentTasks()
    bars = Bars.make(frame.index, list(frame), frame.to_numpy())
    with pytest.raises(
        InputError, match="mine: 900 symbols, but 890 bars before the first fold: a covariance needs more"
    ):
        prepared("mine", bars, 890, Costs(), Execution(), 500, tasks, ())
    assert prepared("mine", bars, 901, Costs(), Execution(), 500, tasks, ()).bars.past == 901


def test_constant_and_pegged_prices_are_left_out(protocol, tmp_path):
    frame = prices()
    frame["constant"] = 7.0
    frame["stale"] = frame["s0"].where(np.arange(len(frame)) % 3 == 0).ffill()
    frame["pegged"] = 2 + 1e-4 * np.random.default_rng(1).standard_normal(len(frame))
    universe = of_user(written(frame, tmp_path), "0", 1.0, protocol)
    assert universe.bars.symbols == ("s0", "s1", "s2", "s3", "s4")
    assert universe.notes == ("left out, constant or pegged before 2013-11-04: constant, stale, pegged",)


def test_what_is_left_out_is_known_before_the_first_fold(protocol, tmp_path):
    frame = prices()
    frame.loc[frame.index[1500] :, "s0"] = 50.0  # fixed later, which nobody knew
    frame.loc[: frame.index[1200], "s1"] = np.nan  # listed later: there is nothing to judge it by
    universe = of_user(written(frame, tmp_path), "0", 1.0, protocol)
    assert universe.bars.symbols == ("s0", "s1", "s2", "s3", "s4")


def test_nothing_moves(protocol, tmp_path):
    frame = prices()
    frame[:] = 7.0
    with pytest.raises(InputError, match="no symbol moves on the bars before 2013"):
        of_user(written(frame, tmp_path), "0", 1.0, protocol)


def test_days_without_any_close_are_left_out(protocol, tmp_path):
    frame = prices(2004)
    frame.iloc[[5, 700, 1500, 1900]] = np.nan
    universe = of_user(written(frame, tmp_path), "0", 1.0, protocol)
    assert universe.notes == ("4 days without any close left out",)
    assert universe.bars.past + len(universe.bars) == 2000
    assert universe.bars.index[0] == frame.dropna().index[1000]
    assert np.isfinite(universe.bars.with_past().close).all()


def test_a_symbol_that_hardly_moves_is_judged_by_the_median():
    frame = prices(400, 3)
    bars = Bars.make(frame.index, list(frame), frame.to_numpy())
    assert unmoving(bars) == ()
    quiet = bars.with_past().close.copy()
    quiet[:, 1] = 100 * (quiet[:, 1] / 100) ** 0.01
    assert unmoving(Bars.make(bars.index, bars.symbols, quiet)) == ("s1",)


def test_a_missing_universe_says_how_to_fetch_it(protocol, tmp_path, monkeypatch):
    monkeypatch.setenv("REGIMESHIFT_CACHE", str(tmp_path))
    assert missing("futures") == "futures is not in the cache yet: regimeshift data fetch futures"
    assert missing("stocks") == ""
    with pytest.raises(InputError, match="regimeshift data fetch futures"):
        of_protocol(protocol.universes["futures"], protocol, "development")


def test_a_set_that_has_changed_is_refused(protocol, tmp_path, monkeypatch):
    from markets.data.universes import UNIVERSES

    monkeypatch.setenv("REGIMESHIFT_CACHE", str(tmp_path))
    path = UNIVERSES["fx"].archive.path
    path.parent.mkdir(parents=True)
    path.write_bytes(b"something else")
    with pytest.raises(InputError, match="has changed: its SHA-256 is"):
        of_protocol(protocol.universes["fx"], protocol, "development")


def test_a_protocol_that_leaves_out_what_is_not_there(protocol):
    rules = replace(protocol.universes["stocks"], excluded={"NOPE": "typo"})
    with pytest.raises(InputError, match="stocks has no symbol 'NOPE'"):
        known_bars(rules, "development")


def test_excluded_symbols_are_named_with_the_reason(protocol):
    rules = replace(protocol.universes["stocks"], excluded={"AAPL": "too good", "KO": "too sweet", "JPM": "too good"})
    bars, notes = known_bars(rules, "development")
    assert len(bars.symbols) == 17
    assert notes == ("left out, too good: AAPL, JPM", "left out, too sweet: KO")


def test_costs_by_name_or_as_a_text():
    assert charged("3bp", "x").commission == pytest.approx(3e-4)
    assert charged({"commission": 1e-4, "borrow_rate": 0.01}, "x").borrow_rate == 0.01
    with pytest.raises(InputError, match=r"x: costs .* are not fields of Costs"):
        charged({"comission": 1e-4}, "x")
