"""The interface of a deployed model, and the conditions for deploying a strategy.

A request has one row per decision: symbols, times, and the last closes, oldest first. The response has target weights, and
the half-widths of the no-trade zones around them and the rates of trading towards them. A model that reads external series
holds them up to its registration, and a request brings what came after. The server is stateless, so rows can be sent in
batches. Command line, server and backtest decide alike: all build `Bars` and call the strategy's `plan`.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from backtests.contract import DataContract, to_request
from markets import Bars, External, Features, InputError, Plan
from markets.bars.time_spans import duration
from markets.features.parts import needs
from strategies import Blend, Strategy
from strategies.learned import LearnedStrategy, load_learned

ANSWER = ("target_weight", "band", "rate")
_LATE = 1.5  # largest age of an external value, in multiples of the largest on the bars at registration
_SHORTEST = 260  # bars that a contract holds at least, if there are as many, so that its statistics mean something


def bars_needed(strategy: Strategy) -> int:
    """Fewest bars that a decision reads."""
    return strategy.warmup + 1


def deployable(strategy: Strategy, name: str) -> LearnedStrategy | Blend:
    """Check that a strategy can be deployed, and return it.

    Raises
    ------
    InputError
        When it is not a torch policy or a blend of such, needs other data than closes and external series, or has
        user-defined features.
    """
    for part in strategy.parts if isinstance(strategy, Blend) else (strategy,):
        if not isinstance(part, LearnedStrategy):
            raise InputError(f"{name} is a {type(part).__name__}; only torch policies are deployed")
        lacking = needs(part.features)
        by_user = [f.names[0] for f in part.features if f.by_function and not isinstance(f, External)]
        if lacking or by_user:
            what = (
                f"the {', the '.join(sorted(lacking))}"
                if lacking
                else f"{', '.join(by_user)}, which your own code computes"
            )
            raise InputError(f"{name} reads {what}; a deployed model is sent closes alone and runs without your code")
    assert isinstance(strategy, LearnedStrategy | Blend)
    return strategy


def make_contract(strategy: LearnedStrategy | Blend, bars: Bars) -> DataContract:
    """The contract of a strategy that is registered on `bars`.

    Raises
    ------
    InputError
        When there are too few bars for a decision, a symbol no longer trades, or a close is impossible.
    """
    contract = DataContract.of(_last(strategy, bars, _SHORTEST), strategy.warmup)
    contract.check(contract.bars)
    return contract


def request(
    strategy: LearnedStrategy | Blend, contract: DataContract, bars: Bars, series: pd.DataFrame | None = None
) -> dict[str, Any]:
    """The request for a decision after the last of `bars`: ``symbols``, ``times`` and ``bars``; and ``series``, if it is
    given.

    Parameters
    ----------
    strategy : LearnedStrategy or Blend
    contract : DataContract
    bars : Bars of shape (T, A)
    series : DataFrame, optional
        Values of the external series that the model reads, by the times at which they got known; see `decide`.

    Raises
    ------
    InputError
        When the bars are not such as the model was made for.
    """
    asked = to_request(contract.check(_window(strategy, contract.ordered(bars))))
    if series is None:
        return asked
    times = [time.isoformat() for time in series.index]
    columns = {str(name): column for name, column in series.items()}
    found = {name: column.notna().to_numpy() for name, column in columns.items()}
    return asked | {
        "series": {
            name: {
                "times": [time for time, there in zip(times, found[name], strict=True) if there],
                "values": column[found[name]].tolist(),
            }
            for name, column in columns.items()
        }
    }


def decide(strategy: LearnedStrategy | Blend, contract: DataContract, bars: Bars, series: Any = None) -> dict[str, Any]:
    """The response to one request.

    Parameters
    ----------
    strategy : LearnedStrategy or Blend
    contract : DataContract
    bars : Bars of shape (T, A)
    series : mapping of str to mapping, optional
        What the external series of the model have become since it was registered: for each column ``times``, ISO 8601, at
        which values got known, in ascending order, and ``values``. What is not later than the series that the model holds is
        left out. A value published late, when one about a later time was known, is not to be sent: a backtest ignores it.

    Returns
    -------
    dict
        ``symbols``, and ``target_weight``, ``band`` and ``rate``, each a list of length A in the order of the request.

    Raises
    ------
    InputError
        When the bars are not such as the model was made for, or an external series is out of date.
    """
    strategy = _continued(strategy, series)
    ordered = contract.check(_window(strategy, contract.ordered(bars)))
    for part in _external(strategy):
        _check_age(part, contract.bars, ordered)
    answer = answered(strategy.plan(ordered[-1:]))
    columns = [contract.symbols.index(symbol) for symbol in bars.symbols]
    return {"symbols": list(bars.symbols)} | {key: [row[i] for i in columns] for key, row in answer.items()}


def _external(strategy: LearnedStrategy | Blend) -> list[External]:
    """The external series that a strategy reads."""
    if isinstance(strategy, Blend):
        return [part for one in strategy.parts for part in _external(one)]  # type: ignore[arg-type]
    return [part for part in strategy.features if isinstance(part, External)]


def _continued(strategy: LearnedStrategy | Blend, series: Any) -> LearnedStrategy | Blend:
    """The strategy with its external series continued by those of a request."""
    if series is None or not _external(strategy):
        return strategy
    if isinstance(strategy, Blend):
        return Blend([_continued(part, series) for part in strategy.parts], strategy.name)  # type: ignore[arg-type]
    settings = strategy.policy.settings
    parts = tuple(_with_rows(part, series) if isinstance(part, External) else part for part in settings.features.parts)
    other, policy = copy.copy(strategy), copy.copy(strategy.policy)
    policy.settings, other.policy = replace(settings, features=Features(parts)), policy
    return other


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
            raise InputError(f"the request: times of {name} must be ISO 8601 ({error})") from None
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


def answered(plan: Plan) -> dict[str, list[float]]:
    """The last row of a plan, as a response states it."""
    band = np.zeros_like(plan.aim) if plan.band is None else plan.band
    rate = np.ones_like(plan.aim) if plan.rate is None else plan.rate
    return {key: part[-1].tolist() for key, part in zip(ANSWER, (plan.aim, band, rate), strict=True)}


def _window(strategy: LearnedStrategy | Blend, bars: Bars) -> Bars:
    """The closes that the decision after the last bar reads, as bars of their own."""
    last = _last(strategy, bars)
    return Bars.make(last.index, last.symbols, last.close, tradable=last.tradable, name=bars.name)


def _last(strategy: LearnedStrategy | Blend, bars: Bars, shortest: int = 0) -> Bars:
    """The last rows, as many as the decision after them reads, or `shortest` if that is more; what is before is history.

    Raises
    ------
    InputError
        When a symbol is delisted, or has no close in them.
    """
    held = bars.with_past()
    rows = max(len(strategy.window(held[-1:]).with_past()), min(shortest, len(held)))
    last = held[-rows:]
    gone = last.delisted[-1] | ~np.isfinite(last.close).any(axis=0)
    if gone.any():
        raise InputError(f"{last.symbols[int(np.argmax(gone))]} no longer trades at {last.index[-1]}; leave it out")
    return last


def save(strategy: LearnedStrategy | Blend, contract: DataContract, folder: Path) -> None:
    """Write a strategy, its contract, and its decision on the contract's bars to compare with when it is loaded elsewhere."""
    strategy.save(folder)
    contract.save(folder / "contract.json")
    (folder / "check.json").write_text(json.dumps(decide(strategy, contract, contract.bars)))


def load(folder: Path) -> tuple[LearnedStrategy | Blend, DataContract]:
    """Read a strategy and its contract, written by `save`."""
    blended = (folder / "blend.json").exists()
    return Blend.load(folder) if blended else load_learned(folder), DataContract.load(folder / "contract.json")
