import json
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from markets import InputError, load
from markets.data.vendors import base, ccxt

RECORDED = Path(__file__).parent / "recorded"
HOUR = 3_600_000
BTC = pd.DataFrame(
    json.loads((RECORDED / "ccxt-binance-BTC-USDT-1h.json").read_text()),
    columns=["time", "open", "high", "low", "close", "volume"],
)
SOURCE = "ccxt:binance:BTC/USDT:1h"


@pytest.fixture(autouse=True)
def isolated(tmp_path, monkeypatch):
    """Separate cache, a clock stopped half an hour into the last recorded bar, and no waiting."""
    monkeypatch.setenv("REGIMESHIFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(base, "now", lambda: int(BTC.time.iloc[-1]) + HOUR // 2)
    ccxt._exchange.cache_clear()
    slept = []
    monkeypatch.setattr(base.time, "sleep", slept.append)
    return slept


@pytest.fixture
def exchange(monkeypatch):
    """Recorded bars of BTC/USDT in pages of ten; `asked` lists the requests, `fails` maps request numbers to exceptions."""
    state = types.SimpleNamespace(asked=[], fails={}, page=10)

    def ask(exchange, symbol, timeframe, since, limit):
        state.asked.append((symbol, (since - int(BTC.time.iloc[0])) // HOUR))
        if fault := state.fails.pop(len(state.asked), None):
            raise fault
        there = BTC[BTC.time >= since] if symbol == "BTC/USDT" else BTC[:0]
        return there[: state.page].reset_index(drop=True)

    monkeypatch.setattr(ccxt, "ask", ask)
    return state


def test_an_exchanges_bars_are_labelled_by_their_end_and_the_open_one_is_left_out(exchange):
    bars = load(SOURCE, start="2024-03-01T01:00")
    assert (bars.name, bars.symbols, len(bars)) == (SOURCE, ("BTC/USDT",), 24)
    assert str(bars.index[0]) == "2024-03-01 01:00:00+00:00"
    np.testing.assert_array_equal(bars.close[:, 0], BTC.close[:24])
    np.testing.assert_array_equal(bars.volume[:, 0], BTC.volume[:24])
    assert [page for _, page in exchange.asked] == [0, 10, 20]


def test_an_interrupted_download_resumes_where_it_stopped(exchange):
    exchange.fails = {3: KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt):
        load(SOURCE, start="2024-03-01T01:00")
    assert [page for _, page in exchange.asked] == [0, 10, 20]
    assert len(load(SOURCE, start="2024-03-01T01:00")) == 24
    assert [page for _, page in exchange.asked] == [0, 10, 20, 20]


def test_cached_bars_are_not_requested_again(exchange, monkeypatch):
    load(SOURCE, start="2024-03-01T06:00", end="2024-03-01T12:00")
    exchange.asked.clear()
    assert len(load(SOURCE, start="2024-03-01T07:00", end="2024-03-01T11:00")) == 5
    assert exchange.asked == []
    assert len(load(SOURCE, start="2024-03-01T01:00", end="2024-03-01T14:00")) == 14
    assert [page for _, page in exchange.asked] == [0]
    exchange.asked.clear()
    monkeypatch.setattr(base, "now", lambda: int(BTC.time.iloc[-1]) + HOUR)
    assert len(load(SOURCE, start="2024-03-01T01:00")) == 25
    assert [page for _, page in exchange.asked] == [15]


@pytest.mark.parametrize("page", [1, 7, 1000])
def test_pages_of_any_length_make_the_same_bars(exchange, page):
    exchange.page = page
    assert len(load(SOURCE, start="2024-03-01T01:00")) == 24


def test_a_market_that_opened_later_is_found_with_a_warning(exchange):
    with pytest.warns(
        UserWarning, match=r"binance has no bars of BTC/USDT before 2024-03-01 01:00:00, but 2024-01-01 00:00:00"
    ):
        bars = load(SOURCE, start="2024")
    assert len(bars) == 24


def test_a_busy_exchange_is_retried(exchange, isolated):
    exchange.fails = {1: base.Busy("429"), 2: base.Busy("429"), 4: base.Busy("timeout")}
    assert len(load(SOURCE, start="2024-03-01T01:00")) == 24
    assert isolated == [1, 2, 1]
    exchange.fails = {n: base.Busy("429 Too Many\nRequests") for n in range(99)}
    with pytest.raises(
        InputError, match=r"binance does not respond \(429 Too Many\); the data received so far is kept, so load again"
    ):
        load(SOURCE, start="2024-02-29")
    assert isolated[3:] == [1, 2, 4, 8, 16]


def test_a_symbol_without_bars_is_named(exchange):
    with pytest.raises(
        InputError, match=r"no bars from 2024-03-01 .* of DOGE/USDT, X/Y; check the symbol, or remove it"
    ):
        load("ccxt:binance:DOGE/USDT,BTC/USDT,X/Y:1h", start="2024-03-01")
    exchange.asked.clear()
    both = "ccxt:binance:DOGE/USDT,BTC/USDT:1h"
    assert load(both, start="2024-03-01T01:00", symbols=["BTC/USDT"]).symbols == ("BTC/USDT",)
    assert exchange.asked == []


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("ccxt:binance", "is not a source; write ccxt:binance:BTC/USDT:1h"),
        ("ccxt:binance:BTC/USDT", "with a timeframe such as 1m, 1h, 1d or 1w"),
        ("ccxt:binance:BTC/USDT:1M", "with a timeframe such as"),
        ("yfinance:", "is not a source"),
        ("yfinance:SPY,SPY", "names a symbol twice"),
    ],
)
def test_a_source_that_cannot_be_read(source, message):
    with pytest.raises(InputError, match=message):
        load(source)


def test_a_swap_has_a_colon_in_its_symbol(exchange):
    with pytest.raises(InputError, match=r"no bars .* of BTC/USDT:USDT"):
        load("ccxt:binance:BTC/USDT:USDT:1h", start="2024-03-01")
    assert exchange.asked[0][0] == "BTC/USDT:USDT"


# ---------------------------------------------------------------------- yfinance


@pytest.fixture
def yahoo(monkeypatch):
    """Recorded days, served by a replacement of the library yfinance."""
    state = types.SimpleNamespace(asked=[], fails={})
    missing = type("YFTickerMissingError", (Exception,), {})

    class Ticker:
        def __init__(self, symbol):
            self.symbol = symbol

        def history(self, *, interval, start, end, auto_adjust, actions):
            assert (interval, auto_adjust, actions) == ("1d", False, False)
            state.asked.append((self.symbol, start, end))
            if fault := state.fails.pop(len(state.asked), None):
                raise fault
            path = RECORDED / f"yfinance-{self.symbol.removeprefix('^')}.csv"
            if not path.exists():
                raise missing
            frame = pd.read_csv(path, index_col="Date")
            frame.index = pd.to_datetime(frame.index, utc=True).tz_convert("America/New_York")
            return frame[
                (frame.index >= pd.Timestamp(start, tz=frame.index.tz))
                & (frame.index < pd.Timestamp(end, tz=frame.index.tz))
            ]

    config = types.SimpleNamespace(debug=types.SimpleNamespace(hide_exceptions=True))
    library = types.SimpleNamespace(
        Ticker=Ticker, config=config, exceptions=types.SimpleNamespace(YFTickerMissingError=missing)
    )
    monkeypatch.setattr(base, "library", {"yfinance": library}.__getitem__)
    monkeypatch.setattr(base, "now", lambda: pd.Timestamp("2018-12-14 20:00").value // 10**6)
    state.config = config
    return state


def test_yahoos_days_are_those_of_the_packaged_set(yahoo, isolated):
    bars, packaged = load("yfinance:^GSPC,^IXIC"), load("sp500")["2018-11-26":"2018-12-13"]
    assert bars.symbols == ("^GSPC", "^IXIC")
    assert (bars.index == packaged.index).all()
    assert bars.index[-1] == pd.Timestamp("2018-12-13"), "the session of the 14th is still open"
    np.testing.assert_allclose(bars.close[:, 0], packaged.close[:, 0], rtol=1e-12)
    assert yahoo.asked == [("^GSPC", "1970-01-01", "2018-12-14"), ("^IXIC", "1970-01-01", "2018-12-14")]
    assert isolated == [0.5, 0.5]
    assert yahoo.config.debug.hide_exceptions


def test_only_missing_symbols_are_asked_for(yahoo, isolated):
    yahoo.fails = {2: KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt):
        load("yfinance:^GSPC,^IXIC", start="2018-12")
    yahoo.fails = {3: OSError("connection reset")}
    assert load("yfinance:^GSPC,^IXIC", start="2018-12").shape == (8, 2)
    assert [symbol for symbol, *_ in yahoo.asked] == ["^GSPC", "^IXIC", "^IXIC", "^IXIC"]
    assert load("yfinance:^GSPC,^IXIC", start="2018-12-06", end="2018-12-12").shape == (5, 2)
    assert len(yahoo.asked) == 4


def test_a_longer_span_is_asked_for_whole_since_adjustments_change(yahoo):
    load("yfinance:^GSPC", start="2018-12-03", end="2018-12-07")
    load("yfinance:^GSPC", start="2018-12-04", end="2018-12-10")
    assert yahoo.asked[1] == ("^GSPC", "2018-12-03", "2018-12-11")


def test_a_symbol_that_yahoo_does_not_have_is_named(yahoo):
    with pytest.raises(InputError, match=r"no bars from the beginning to the end of NOPE; check the symbol"):
        load("yfinance:^GSPC,NOPE")
    assert load("yfinance:^GSPC").shape == (13, 1)
    assert len(yahoo.asked) == 2


# ---------------------------------------------------------------------- the libraries


def test_without_the_extra(monkeypatch):
    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(base, "import_module", absent)
    for source in ("yfinance:SPY", SOURCE):
        with pytest.raises(InputError, match=r"is not installed: pip install 'regimeshift\[vendors\]'") as error:
            load(source)
        assert "\n" not in str(error.value)


def test_errors_of_ccxt_become_one_line(monkeypatch):
    fake = types.SimpleNamespace(exchanges=["binance"])
    fake.BaseError = type("BaseError", (Exception,), {})
    for name in ("NetworkError", "BadSymbol", "AuthenticationError"):
        setattr(fake, name, type(name, (fake.BaseError,), {}))
    faults = [fake.NetworkError("429"), fake.BadSymbol("no"), fake.AuthenticationError("needs a key"), None]

    class binance:
        def __init__(self, options):
            self.timeframes = {"1h": "1h", "1d": "1d"}
            assert options == {"enableRateLimit": True}

        def fetch_ohlcv(self, symbol, timeframe, since, limit):
            if fault := faults.pop(0):
                raise fault
            return BTC[::-1].to_numpy().tolist()

    fake.binance = binance
    monkeypatch.setattr(base, "library", lambda name: fake)
    question = "binance", "BTC/USDT", "1h", 0, 1000
    with pytest.raises(base.Busy, match="429"):
        ccxt.ask(*question)
    with pytest.raises(InputError, match="binance has no symbol 'BTC/USDT'"):
        ccxt.ask(*question)
    with pytest.raises(InputError, match="binance refuses BTC/USDT 1h: needs a key"):
        ccxt.ask(*question)
    pd.testing.assert_frame_equal(ccxt.ask(*question), BTC)
    with pytest.raises(InputError, match="binance has no bars of 5m; it has 1h, 1d"):
        ccxt.ask("binance", "BTC/USDT", "5m", 0, 1000)
    with pytest.raises(InputError, match="ccxt has no exchange 'binanse'; is it binance"):
        ccxt.ask("binanse", "BTC/USDT", "1h", 0, 1000)


@pytest.mark.parametrize(("patience", "shown"), [(0.0, True), (60.0, False)])
def test_progress_is_shown_after_some_time(exchange, monkeypatch, capsys, patience, shown):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(base, "PATIENCE", patience)
    load(SOURCE, start="2024-03-01T01:00")
    assert ("BTC/USDT" in capsys.readouterr().err) == shown
