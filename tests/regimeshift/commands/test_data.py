"""The command itself, in this process."""

import numpy as np
import pandas as pd
import pytest
from index_server import small_universes

from markets import InputError, load
from markets.data.universes import UNIVERSES
from regimeshift.commands.data import Check, Fetch, Show, with_show


def shown(capsys, path):
    Show(str(path)).run()
    return capsys.readouterr().out


def row(text, symbol):
    return next(words for line in text.splitlines() if (words := line.split())[:1] == [symbol])


def test_regression_growth_is_the_compound_rate_over_the_symbols_own_life(tmp_path, capsys):
    """112 % a year was shown as 75.8 % (the mean log return), and half of it where the symbol ended half-way."""
    days = pd.date_range("2015-01-01", "2019-01-01")
    growing = 100 * 2.12 ** ((days - days[0]).days.to_numpy() / 365.25)
    wave = growing * np.where(np.arange(len(days)) % 2, 1.01, 1.0)
    wave[-1] = growing[-1]
    frame = pd.DataFrame({"date": days, "LONG": wave, "SHORT": np.where(days < "2017-01-01", growing, np.nan)})
    frame.to_csv(tmp_path / "two.csv", index=False)
    text = shown(capsys, tmp_path / "two.csv")
    assert row(text, "LONG")[5] == "112.0%"
    assert row(text, "SHORT")[5] == "112.0%"
    returns = np.diff(wave) / wave[:-1]
    assert row(text, "LONG")[6] == f"{returns.std(ddof=1) * 365.25**0.5:.1%}"


def test_regression_a_stock_beside_a_coin_is_annualised_by_its_own_sessions(tmp_path, capsys):
    days = pd.date_range("2018-01-01", "2021-12-31")
    rng = np.random.default_rng(0)
    coin, stock = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, (len(days), 2)), axis=0)).T
    stock[days.day_of_week >= 5] = np.nan
    pd.DataFrame({"date": days, "COIN": coin, "STOCK": stock}).to_csv(tmp_path / "both.csv", index=False)
    traded = stock[np.isfinite(stock)]
    returns = np.diff(traded) / traded[:-1]
    per_year = len(returns) / ((days[days.day_of_week < 5][-1] - days[0]).days / 365.25)
    assert 260 < per_year < 262
    text = shown(capsys, tmp_path / "both.csv")
    assert row(text, "STOCK")[6] == f"{returns.std(ddof=1) * per_year**0.5:.1%}"


def test_regression_a_single_day_of_minutes_says_that_it_is_too_short(tmp_path, capsys):
    """It was said to have a volatility of 17 % and about 500,000 bars per year."""
    index = pd.date_range("2024-03-05 09:31", periods=390, freq="min")
    close = 100 * np.exp(np.cumsum(np.random.default_rng(0).normal(0, 5e-4, 390)))
    pd.DataFrame({"date": index, "A": close}).to_csv(tmp_path / "day.csv", index=False)
    text = shown(capsys, tmp_path / "day.csv")
    assert row(text, "A")[5:] == ["–", "–"]
    assert "Too short to annualise: a single day" in text


def test_regression_a_file_called_stocks_is_not_the_packaged_set(tmp_path, capsys):
    """The survivorship note went by the name alone."""
    days = pd.bdate_range("2020-01-01", periods=100)
    close = np.exp(np.cumsum(np.random.default_rng(0).normal(0, 0.01, (100, 2)), axis=0))
    pd.DataFrame(close, days, ["MINE", "YOURS"]).rename_axis("date").to_csv(tmp_path / "stocks.csv")
    assert "Survivorship" not in shown(capsys, tmp_path / "stocks.csv")
    Check(str(tmp_path / "stocks.csv")).run()
    assert "survivorship" not in capsys.readouterr().out
    assert "Survivorship: 20 US stocks" in shown(capsys, "stocks")


def test_regression_a_real_split_ends_with_a_status(stocks, tmp_path, capsys):
    """Microsoft's 2:1 of 2003-02-18 was a note, and the status 0."""
    part = stocks["2000":"2006"].select(["JNJ", "MSFT"]).without_past()
    close = part.close.copy()
    close[part.index < "2003-02-18", 1] *= 2
    pd.DataFrame(close, part.index, part.symbols).rename_axis("date").to_csv(tmp_path / "raw.csv")
    with pytest.raises(SystemExit) as end:
        Check(str(tmp_path / "raw.csv")).run()
    assert end.value.code == 1
    (found,) = [line for line in capsys.readouterr().out.splitlines() if "MSFT" in line]
    assert [cell.strip() for cell in found.split("│")[1:5]] == ["error", "MSFT", "split", "2003-02-18"]


def test_regression_a_folder_of_two_frequencies_is_checked_and_resampled(tmp_path, capsys):
    """`data` annualised hourly and daily bars alike, by 531 bars a year."""
    rng = np.random.default_rng(0)
    hours = pd.date_range("2024-01-01", "2024-06-28", freq="h")
    hours = hours[(hours - pd.Timedelta("1h")).day_of_week < 5]  # stamped at their ends
    for symbol, index in (("EURUSD", hours), ("GOOG", pd.bdate_range("2024-01-01", "2024-06-28"))):
        close = 100 * np.exp(np.cumsum(rng.normal(0, 0.001, len(index))))
        pd.DataFrame({"date": index, "close": close}).to_csv(tmp_path / f"{symbol}.csv", index=False)
    with pytest.raises(InputError, match=r"EURUSD is intraday .* GOOG is daily: resample all to 1D"):
        Show(str(tmp_path)).run()
    with pytest.raises(SystemExit):
        Check(str(tmp_path)).run()
    assert "mixed frequency" in capsys.readouterr().out
    Show(str(tmp_path), resample="1D").run()
    out = capsys.readouterr().out
    assert "130 bars x 2 symbols" in out  # each weekday once
    assert "About 263 bars per year" in out


@pytest.mark.parametrize("command", [Show, Check])
def test_regression_a_start_after_the_end_is_named_as_such(command):
    """It was said that the data has no bars from 2013, since they were cut at the end first."""
    with pytest.raises(InputError, match="start 2013 is later than end 2012"):
        command("sp500", start="2013", end="2012").run()


def test_regression_figures_per_year_say_so_in_their_heads(capsys):
    lines = shown(capsys, "sp500").splitlines()
    heads = next(k for k, line in enumerate(lines) if line.split()[:1] == ["symbol"])
    assert lines[heads - 1].split() == ["growth", "volatility"]
    assert lines[heads].split()[-4:] == ["per", "year"] * 2


def test_regression_the_calendar_is_set_by_an_option_of_the_command(tmp_path, capsys):
    days = pd.date_range("2020-01-01", periods=200)
    days = days[(days.day_of_week < 5) | (np.arange(200) % 3 == 0)]
    close = 100 * np.exp(np.cumsum(0.01 * np.random.default_rng(0).standard_normal(len(days))))
    pd.DataFrame({"date": days, "A": close}).to_csv(tmp_path / "odd.csv", index=False)
    Check(str(tmp_path / "odd.csv")).run()
    assert "--calendar" in capsys.readouterr().out


# ---------------------------------------------------------------------------------------------------- fetch


@pytest.fixture
def index(tmp_path, monkeypatch):
    with small_universes(tmp_path / "cache", monkeypatch) as server:
        yield server


def test_sets_are_fetched_listed_and_shown(index, capsys):
    Fetch().run()
    text = capsys.readouterr().out
    assert [line.split()[0] for line in text.splitlines() if " no " in line] == list(UNIVERSES)
    Fetch(("us74", "fx")).run()
    assert capsys.readouterr().out.splitlines() == [
        f"{name} is in {UNIVERSES[name].archive.path}" for name in ("us74", "fx")
    ]
    Fetch().run()
    assert "yes" in row(capsys.readouterr().out, "fx")
    text = shown(capsys, "us74")
    assert "Fields: close, spread." in text
    quoted = load("us74").spread[:, 0]
    assert row(text, "T0")[-2:] == [f"{np.median(quoted) * 1e4:.1f}", "bp"]
    assert "Survivorship: 74 US stocks" in text
    assert "A fair cost per side: 1bp+quoted (--costs 1bp+quoted)." in text
    assert "To know: names are hidden" in text
    text = shown(capsys, "fx")
    assert "From: Euros per unit of 41 currencies" in text
    assert "Survivorship" not in text
    Check("fx").run()
    assert "spot rates alone" in capsys.readouterr().out


def test_a_set_that_is_not_there_or_not_known_is_one_line(index, monkeypatch):
    with pytest.raises(InputError, match=r"^fx is not in the cache yet: regimeshift data fetch fx$"):
        Show("fx").run()
    with pytest.raises(InputError, match="there is no set 'gold' to fetch"):
        Fetch(("gold",)).run()
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(InputError, match=r"cannot fetch .*: http://127\.0\.0\.1:9/simple does not answer"):
        Fetch(("fx",)).run()


def test_an_interrupted_fetch_says_how_to_go_on(index, monkeypatch):
    def interrupted(names):
        raise KeyboardInterrupt

    monkeypatch.setattr("markets.data.universes.fetch_universes", interrupted)
    with pytest.raises(KeyboardInterrupt, match="what was fetched is kept; run the command again"):
        Fetch(("fx",)).run()


def test_fetch_is_a_command_and_no_file():
    assert with_show(["data", "fetch", "fx"]) == ["data", "fetch", "fx"]
    assert with_show(["data", "fetch.csv"]) == ["data", "show", "fetch.csv"]
