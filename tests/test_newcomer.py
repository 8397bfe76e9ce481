"""A newcomer's way with data of one's own, from `data check` to `signal`: it works, or one line says what to do."""

import json

import numpy as np
import pandas as pd
import pytest
from command import call, refused

pytestmark = pytest.mark.usefixtures("short_certificates")


def walk(length: int, symbols: int, std: float, start: float = 50.0) -> np.ndarray:
    """Closes of a market with calm and wild stretches."""
    rng = np.random.default_rng(7)
    wild = (np.arange(length) // 110) % 3 == 2
    returns = 0.03 * std + np.where(wild, 2.5, 0.8)[:, None] * std * rng.standard_normal((length, symbols))
    return start * np.exp(np.cumsum(returns, axis=0))


def wide(path, index, close, names):
    pd.DataFrame(close, index.rename("date"), names).round(5).to_csv(path)


def three_stocks(folder):
    wide(folder / "stocks3.csv", pd.bdate_range("2014-01-01", periods=1400), walk(1400, 3, 0.01), ["KO", "PEP", "MCD"])
    return "stocks3.csv"


def hourly_currencies(folder):
    hours = pd.date_range("2023-01-01 22:00", periods=2600, freq="h", tz="UTC")
    day, hour = hours.day_of_week, hours.hour
    hours = hours[(day < 4) | ((day == 4) & (hour < 22)) | ((day == 6) & (hour >= 22))]
    wide(folder / "my fx.csv", hours, walk(len(hours), 2, 0.001, 1.1), ["EURUSD", "GBPUSD"])
    return "my fx.csv"


def folder_of_files(folder):
    (folder / "bars").mkdir()
    days = pd.bdate_range("2014-01-01", periods=1400)
    for symbol, close in zip(("AAA", "BBB"), walk(1400, 2, 0.01).T, strict=True):
        columns = {"open": close, "high": close * 1.003, "low": close * 0.997, "close": close, "volume": 1e5}
        pd.DataFrame(columns, days.rename("date")).to_csv(folder / "bars" / f"{symbol}.csv")
    return "bars"


def coin_and_stocks(folder):
    days = pd.date_range("2018-01-01", periods=1800, freq="D")
    close = walk(1800, 3, 0.01)
    close[days.day_of_week >= 5, :2] = np.nan
    wide(folder / "both.csv", days, close, ["KO", "PEP", "BTC"])
    return "both.csv"


@pytest.mark.process
@pytest.mark.parametrize("data", [three_stocks, hourly_currencies, folder_of_files, coin_and_stocks])
def test_from_data_check_to_signal(data, tmp_path):
    source = data(tmp_path)
    done = call("data", "check", source, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    done = call("train", source, "--steps", "2", "--out", "models/mine", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "tilt" in done.stdout  # what validation says of it
    done = call("backtest", source, "--models", "models/mine", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "equal weight" in done.stdout
    assert (tmp_path / "report.html").exists()
    promote = [] if data is three_stocks else ["--no-promote"]  # which takes a process, once
    done = call("register", source, "--model", "models/mine", *promote, cwd=tmp_path)
    if data is coin_and_stocks and done.returncode:
        refused(done, "KO has no close")
        return
    assert done.returncode == 0, done.stderr
    name = "mine" if data is three_stocks else "mine/1"
    done = call("signal", "--model", name, "--bars", source, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    weights = json.loads(done.stdout)["target_weight"]
    assert 0 < sum(weights.values()) <= 1 + 1e-6


@pytest.mark.parametrize("freq", ["ME", "W-FRI"])
def test_regression_longer_bars_can_be_used(freq, tmp_path):
    """156 monthly bars could not be used at all: all windows were those of daily bars."""
    length = 156 if freq == "ME" else 400
    wide(
        tmp_path / "slow.csv",
        pd.date_range("2010-01-29", periods=length, freq=freq),
        walk(length, 3, 0.04),
        list("ABC"),
    )
    done = call("train", "slow.csv", "--steps", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = call("backtest", "slow.csv", "--models", "models/slow-rl2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"momentum {12 if freq == 'ME' else 52}" in done.stdout


def test_regression_too_few_bars_name_an_option_that_the_command_has(tmp_path):
    wide(tmp_path / "few.csv", pd.bdate_range("2020-01-01", periods=30), walk(30, 2, 0.01), ["A", "B"])
    refused(
        call("train", "few.csv", cwd=tmp_path),
        "few has 30 bars, but 553 are needed: 252",
        "--lookback",
        "use more bars",
    )
    refused(call("backtest", "few.csv", cwd=tmp_path), "needs 64 bars", "--strategies inverse_volatility:15")
    done = call("backtest", "few.csv", "--rules", "inverse_volatility:10", "momentum:10", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    wide(tmp_path / "short.csv", pd.bdate_range("2018-01-01", periods=500), walk(500, 2, 0.01), ["A", "B"])
    refused(call("train", "short.csv", cwd=tmp_path), "use --lookback 199 or less, or more bars")
    done = call("train", "short.csv", "--lookback", "60", "--n-regimes", "1", "--steps", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_regression_a_name_that_is_not_plain_is_made_plain_up_front(tmp_path):
    """`demo --data "my data – ünï.csv"` trained to the end, and died on the model's name."""
    wide(tmp_path / "my data – ünï.csv", pd.bdate_range("2014-01-01", periods=1400), walk(1400, 2, 0.01), ["A", "B"])
    done = call("train", "my data – ünï.csv", "--steps", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "models" / "my-data-uni-rl2" / "meta.json").exists()
    assert "regimeshift backtest 'my data – ünï.csv' --models models/my-data-uni-rl2" in done.stdout
