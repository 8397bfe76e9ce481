"""The interface of a deployed model, and the conditions for deploying a strategy.

A request has one row per decision: symbols, times, and the last closes, oldest first; beside them what else the strategy says
it reads (`strategies.needs`), such as the volume. The response has target weights, and the half-widths of the no-trade zones
around them and the rates of trading towards them. A model that reads external series holds them up to its registration, and
a request brings what came after. The server is stateless, so rows can be sent in batches. Command line, server and backtest
decide alike: all build `Bars` and call the strategy's `plan`. That a decision is the same on just what a request holds is checked
when the strategy is registered.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from backtests.contract import DataContract, only
from backtests.request import first_line, joined, rows_from_request, to_request
from markets import Bars, External, InputError, Plan
from markets.bars.time_spans import duration, median_spacing
from markets.common.words import count
from strategies import Strategy, needs, stored
from strategies.strategy import planned

ANSWER = ("target_weight", "band", "rate")
STOPS = ("stop_loss", "take_profit", "trailing_stop", "cooldown")
_LATE = 1.5  # largest age of an external value, in multiples of the largest on the bars at registration
_SHORTEST = 260  # bars that a contract holds at least, if there are as many, so that its statistics mean something
_LEAST = 10  # bars that a request holds at least: of fewer neither the spacing nor a gap can be seen
_SAME = 1e-6  # largest change of a weight that is rounding
_BEFORE = (0, 6, 41)  # bars before the last one on which decisions are compared at registration
_DAY = 86_400.0  # seconds
MANIFEST = "files.json"  # SHA-256 of every other file of a saved model


def deployable(strategy: Strategy, name: str) -> Strategy:
    """Check that a strategy can be deployed, and return it: it can be written to files, and built again from them alone.

    Raises
    ------
    InputError
        When it cannot; the message says what of it, and why.
    """
    try:
        with tempfile.TemporaryDirectory() as folder:
            there = stored.load(stored.save(strategy, folder))
            if stored.fingerprint(there) != stored.fingerprint(strategy):
                raise InputError("what its files build is another strategy; make all that it holds a setting")
    except InputError as error:
        raise InputError(f"{name} cannot be deployed: {error}") from None
    return strategy


def make_contract(strategy: Strategy, bars: Bars) -> DataContract:
    """The contract of a strategy that is registered on `bars`.

    Raises
    ------
    InputError
        When there are too few bars for a decision, a symbol no longer trades, a close is impossible, or the strategy decides
        otherwise when it is given just what it says it reads.
    """
    columns = tuple(column for column in needs.columns(strategy) if getattr(bars, column) is not None)
    endless = needs.endless(strategy)
    warmup = max(_warmup(strategy, bars), _LEAST - 1)
    contract = DataContract.of(_last(strategy, bars, _SHORTEST, warmup + 1), warmup, columns, endless)
    contract.check(contract.bars)
    _check_reads(strategy, contract, bars)
    return contract


def _warmup(strategy: Strategy, bars: Bars) -> int:
    """Closes before its last one that a decision reads.

    A warm-up counts the days of a calendar period; of shorter bars a period has more, and how many is seen in the last ones.
    """
    held = bars.with_past()
    if needs.endless(strategy) or median_spacing(held.index[-_SHORTEST:]) >= 0.9 * _DAY:
        return strategy.warmup
    days = held.index.tz_localize(None).normalize()
    ends = np.flatnonzero(np.append(days[1:] != days[:-1], True))[-260:]
    return max(_closes_read(strategy, held.rows(int(end), int(end) + 1)) for end in ends)


def _closes_read(strategy: Strategy, shown: Bars) -> int:
    """Closes of each symbol that the decision on the one row shown reads before its last one.

    That is the warm-up where no more rows are read than it takes, and where a symbol is so new that it does not tell.
    """
    read = strategy.trimmed(shown)
    first = shown.past - read.past
    there = np.isfinite(shown.with_past().close[: shown.past])
    older = there[:first].any(axis=0)
    by_calendar = read.past > shown.without_past(keep=strategy.warmup + 1).past
    if not by_calendar or not older.any() or there[:, ~older].any():
        return strategy.warmup
    return max(strategy.warmup, int(there[first:, older].sum(axis=0).min()) - 1)


def _check_reads(strategy: Strategy, contract: DataContract, bars: Bars) -> None:
    """Refuse a strategy that reads more than it says, of which a server would know nothing."""
    held = bars.with_past()
    for before in _BEFORE:
        end = len(held) - before
        if end <= contract.needed + before:
            continue
        whole, recent = held.rows(end - 1, end), _recent(strategy, contract, held.rows(0, end))
        if not np.isfinite(recent.with_past().close).any(axis=0).all():
            continue  # a symbol was not there yet, so nobody could ask
        sent = only(recent, contract.columns)
        asked = to_request(sent, contract.columns)
        given = contract.ordered(read_bars(asked, contract.columns, "the request"))
        apart = difference(answered(planned(strategy, whole)), answered(planned(strategy, given[-1:])))
        if not apart <= _SAME:
            what = f", with {' and '.join(contract.columns)}" if contract.columns else " of closes alone"
            raise InputError(
                f"{strategy.name} wants weights at {whole.index[0]} that differ by {apart:.2g} when it is shown no more than it "
                f"says it reads ({count(len(given), 'bar')}{what}); its class must say warmup, the bars before a row that it "
                "depends on, reads, as ('volume',), and endless = True if it depends on all bars since the first"
            )


def request(
    strategy: Strategy, contract: DataContract, bars: Bars, series: pd.DataFrame | None = None
) -> dict[str, Any]:
    """The request for a decision after the last of `bars`: ``symbols``, ``times`` and ``bars``, the contract's columns; and
    ``series``, if it is given.

    Parameters
    ----------
    strategy : Strategy
    contract : DataContract
    bars : Bars of shape (T, A)
    series : DataFrame, optional
        Values of the external series that the model reads, by the times at which they got known; see `decide`.

    Raises
    ------
    InputError
        When the bars are not such as the model was made for.
    """
    asked = to_request(contract.check(_window(strategy, contract, contract.ordered(bars))), contract.columns)
    return asked if series is None else asked | {"series": as_series(series)}


def as_series(frame: pd.DataFrame) -> dict[str, Any]:
    """A table by time as ``series`` of a request holds it; missing values are left out."""
    times = [time.isoformat() for time in frame.index]
    columns = {str(name): column for name, column in frame.items()}
    found = {name: column.notna().to_numpy() for name, column in columns.items()}
    return {
        name: {
            "times": [time for time, there in zip(times, found[name], strict=True) if there],
            "values": column[found[name]].tolist(),
        }
        for name, column in columns.items()
    }


def decide(strategy: Strategy, contract: DataContract, bars: Bars, series: Any = None) -> dict[str, Any]:
    """The response to one request.

    Parameters
    ----------
    strategy : Strategy
    contract : DataContract
    bars : Bars of shape (T, A)
    series : mapping of str to mapping, optional
        What the external series of the model have become since it was registered: for each column ``times``, ISO 8601, at
        which values got known, in ascending order, and ``values``. What is not later than the series that the model holds is
        left out. A value published late, when one about a later time was known, is not to be sent: a backtest ignores it.

    Returns
    -------
    dict
        ``symbols``, and ``target_weight``, ``band`` and ``rate``, each a list of length A in the order of the request; with
        stops also ``stop_loss``, ``take_profit``, ``trailing_stop`` and ``cooldown``, as far as the plan has them. None is no
        end: a band of None is a position to be left alone, a stop of None is none.

    Raises
    ------
    InputError
        When the bars are not such as the model was made for, or an external series is out of date.
    """
    strategy = continued(strategy, series)
    window = checked(strategy, contract, contract.ordered(bars))
    return in_order(answered(planned(strategy, decided_on(contract, window))), contract, bars.symbols)


def continued(strategy: Strategy, series: Any) -> Strategy:
    """A strategy whose external series go on with what a request holds; itself where it holds nothing.

    Raises
    ------
    InputError
        When the series are malformed.
    """
    return strategy if series is None else needs.with_series(strategy, lambda part: _with_rows(part, series))


def checked(strategy: Strategy, contract: DataContract, bars: Bars) -> Bars:
    """What the decision after the last of `bars` reads, which are in the contract's order, as bars of their own.

    Raises
    ------
    InputError
        When they are not such as the model was made for, or an external series is out of date.
    """
    window = contract.check(_window(strategy, contract, bars))
    for part in needs.external_series(strategy):
        _check_age(part, contract.bars, window)
    return window


def decided_on(contract: DataContract, window: Bars) -> Bars:
    """The rows of `window` that a strategy plans for the decision after the last one; the others are their history."""
    # what is held for good, as by BuyAndHold, is bought at registration
    first = window.index.searchsorted(contract.bars.index[-1]) if contract.endless else len(window) - 1
    return window[int(first) :]


def in_order(answer: Mapping[str, list], contract: DataContract, symbols: Sequence[str]) -> dict[str, Any]:
    """An answer in the contract's order, with its values in the order of `symbols`, which it begins with."""
    columns = [contract.symbols.index(symbol) for symbol in symbols]
    return {"symbols": list(symbols)} | {key: [row[i] for i in columns] for key, row in answer.items()}


def decide_row(strategy: Strategy, contract: DataContract, row: Mapping[Any, Any], name: str) -> dict[str, Any]:
    """The response to one row of a request as it was sent; `name` is what to call it in messages.

    Raises
    ------
    InputError
        When it is malformed, or as `decide` does.
    """
    return decide(strategy, contract, read_bars(row, contract.columns, name), part_of(row, "series"))


def part_of(row: Mapping[Any, Any], key: str) -> Any:
    """A part of a row of a request; None where it has none, of which pandas makes NaN if other rows have it."""
    value = row.get(key)
    return None if isinstance(value, float) and np.isnan(value) else value


def read_bars(row: Mapping[Any, Any], columns: tuple[str, ...], name: str) -> Bars:
    """Bars from a row of a request; columns that are not there are left to the contract."""
    return joined([rows_of(row, columns, name)])


def rows_of(row: Mapping[Any, Any], columns: tuple[str, ...], name: str) -> Bars:
    """As `read_bars`, not validated: there may be a single one; see `backtests.request.rows_from_request`."""
    found = {column: part_of(row, column) for column in columns}
    there = {column: rows for column, rows in found.items() if rows is not None}
    return rows_from_request(row.get("symbols"), row.get("times"), row.get("bars"), name, there)


def _with_rows(part: External, series: Any) -> External:
    """One external series, continued by the columns of a request."""
    columns = {}
    for name in part.frame.columns:
        given = series.get(name) if isinstance(series, Mapping) else None
        times, values = (given.get("times"), given.get("values")) if isinstance(given, Mapping) else (None, None)
        if not isinstance(times, Sequence | np.ndarray) or not isinstance(values, Sequence | np.ndarray):
            raise InputError(
                f"the request is without {name} in series: send times (ISO 8601, at which values got known) and values of each "
                f"of {', '.join(part.frame.columns)}"
            )
        if len(times) != len(values):
            raise InputError(f"the request has {len(times)} times and {len(values)} values of {name}")
        if not all(isinstance(time, str) for time in times):
            raise InputError(f"the request: times of {name} must be ISO 8601, each a text in quotes")
        try:
            aware = bool(len(times)) and pd.Timestamp(times[0]).tz is not None
            index = pd.DatetimeIndex(pd.to_datetime(list(times), format="ISO8601", utc=aware))
        except (ValueError, TypeError, AttributeError) as error:
            raise InputError(f"the request: times of {name} must be ISO 8601 ({first_line(error)})") from None
        columns[name] = pd.Series(list(values), index)
        first = part.frame.columns[0]
        if not index.equals(columns[first].index):
            raise InputError(
                f"the request has {first} and {name} at different times; they are one table of the model: send both at each time"
            )
    frame = pd.DataFrame(columns)
    return part.continued(frame) if len(frame) else part


def _check_age(part: External, before: Bars, bars: Bars) -> None:
    """Refuse a decision on an external value that is older than any was on the bars at registration."""
    usual, given = (float(np.nanmax(part.ages(b), initial=0.0)) for b in (before, bars[-1:]))
    if given > _LATE * usual:
        raise InputError(
            f"the last value of {part.frame.columns[0]} that {bars.index[-1]} may read is {duration(given)} old, and it was "
            f"never older than {duration(usual)} when the model was registered; send the newer ones as series"
        )


def answered(plan: Plan) -> dict[str, list[float | None]]:
    """The last row of a plan, as a response states it."""
    parts = {
        "target_weight": plan.aim,
        "band": np.zeros_like(plan.aim) if plan.band is None else plan.band,
        "rate": np.ones_like(plan.aim) if plan.rate is None else plan.rate,
    }
    levels = {name: getattr(plan, name) for name in STOPS}
    parts |= {name: part for name, part in levels.items() if part is not None}
    # JSON has no infinity
    return {key: [value if np.isfinite(value) else None for value in part[-1].tolist()] for key, part in parts.items()}


def as_array(values: Sequence[float | None]) -> np.ndarray:
    """One list of a response as an array (A,), with infinity for None."""
    return np.array([np.inf if value is None else value for value in values], dtype=np.float64)


def difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """Largest difference of what two responses decide; infinite if one has parts of a plan that the other has not."""
    parts = [{*ANSWER, *STOPS} & answer.keys() for answer in (one, other)]
    if parts[0] != parts[1]:
        return np.inf
    pairs = [(as_array(one[key]), as_array(other[key])) for key in parts[0]]
    return max(float(np.abs(np.subtract(a, b, out=np.zeros_like(a), where=a != b)).max()) for a, b in pairs)


def _window(strategy: Strategy, contract: DataContract, bars: Bars) -> Bars:
    """What the decision after the last bar reads, as bars of their own."""
    recent = _recent(strategy, contract, bars)
    _check_trading(recent)
    return only(recent, contract.columns)


def _recent(strategy: Strategy, contract: DataContract, bars: Bars) -> Bars:
    """The last rows, as many as the decision after them reads; of a model that reads all, those since its first bar."""
    held, first = bars.with_past(), contract.bars.index[0]
    if not contract.endless:
        return _cut(strategy, held, contract.needed)
    same = (held.index.tz is None) == (first.tz is None)  # if not, the contract says so
    return held[int(held.index.searchsorted(first)) if same and first <= held.index[-1] else 0 :]


def _last(strategy: Strategy, bars: Bars, *least: int) -> Bars:
    """As `_recent`, where there is no contract yet; at least so many rows.

    Raises
    ------
    InputError
        When a symbol is delisted, or has no close in them.
    """
    held = bars.with_past()
    recent = held if needs.endless(strategy) else _cut(strategy, held, *least)
    _check_trading(recent)
    return recent


def _cut(strategy: Strategy, held: Bars, *least: int) -> Bars:
    rows = max(len(strategy.trimmed(held[-1:]).with_past()), *least)
    return held[-min(rows, len(held)) :]


def _check_trading(recent: Bars) -> None:
    gone = recent.delisted[-1] | ~np.isfinite(recent.close).any(axis=0)
    if gone.any():
        raise InputError(f"{recent.symbols[int(np.argmax(gone))]} no longer trades at {recent.index[-1]}; leave it out")


def save(strategy: Strategy, contract: DataContract, folder: Path) -> None:
    """Write a strategy, its contract, its decision on the contract's bars to compare with when it is loaded elsewhere, and the
    hashes of these files.
    """
    stored.save(strategy, folder)
    contract.save(folder / "contract.json")
    (folder / "check.json").write_text(json.dumps(decide(strategy, contract, contract.bars)))
    (folder / MANIFEST).write_text(json.dumps(_hashes(folder), indent=1))


def load(folder: Path) -> tuple[Strategy, DataContract]:
    """Read a strategy and its contract, written by `save`, after a check that their files are those that it wrote.

    Raises
    ------
    InputError
        When a file was changed, removed or added; the message names it.
    """
    if (folder / MANIFEST).exists():  # versions before had no code, and the hashes in MLflow's database alone
        check_files(folder, json.loads((folder / MANIFEST).read_text()), _hashes(folder), "it was saved")
    return stored.load(folder), DataContract.load(folder / "contract.json")


def check_files(place: Any, recorded: Mapping[str, str], found: Mapping[str, str], since: str) -> None:
    """Raise `InputError` unless the hashes of files are those recorded; `place` and `since` say whose and since when."""
    for what, names in (
        ("was removed", recorded.keys() - found.keys()),
        ("was added", found.keys() - recorded.keys()),
        ("was changed", {name for name, digest in recorded.items() if found.get(name) != digest}),
    ):
        if names:
            raise InputError(f"{place}: {min(names)} {what} since {since}; register the model again")


def _hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST)
    # what Python keeps of a module that was executed is no part of the model
    files = [path for path in files if path.parent.name != "__pycache__"]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
