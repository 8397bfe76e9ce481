"""The interface of a deployed model, and the conditions for deploying a strategy.

A request has one row per decision: symbols, times, and the last closes, oldest first. The response has target weights, and the
half-widths of the no-trade zones around them and the rates of trading towards them. The server is stateless, so rows can be sent
in batches. Command line, server and backtest decide alike: all build `Bars` and call the strategy's `plan`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from backtests.contract import DataContract, to_request
from markets import Bars, External, InputError, Plan
from strategies import Blend, PolicyStrategy, Strategy

ANSWER = ("target_weight", "band", "rate")
_SHORTEST = 260  # bars that a contract holds at least, if there are as many, so that its statistics mean something


def bars_needed(strategy: Strategy) -> int:
    """Fewest bars that a decision reads."""
    return strategy.warmup + 1


def deployable(strategy: Strategy, name: str) -> PolicyStrategy | Blend:
    """Check that a strategy can be deployed, and return it.

    Raises
    ------
    InputError
        When it is not a torch policy or a blend of such, needs other data than closes, or has user-defined features.
    """
    for part in strategy.parts if isinstance(strategy, Blend) else (strategy,):
        if not isinstance(part, PolicyStrategy):
            raise InputError(f"{name} is a {type(part).__name__}; only torch policies are deployed")
        features = part.policy.settings.features
        outside = [column for feature in features.parts if isinstance(feature, External) for column in feature.names]
        if outside:
            raise InputError(
                f"{name} reads {', '.join(outside)}; a deployed model is sent closes alone: train one without external series"
            )
        by_user = [feature.names[0] for feature in features.parts if feature.by_function]
        if features.needs or by_user:
            what = (
                f"the {', the '.join(sorted(features.needs))}"
                if features.needs
                else f"{', '.join(by_user)}, which your own code computes"
            )
            raise InputError(f"{name} reads {what}; a deployed model is sent closes alone and runs without your code")
    assert isinstance(strategy, PolicyStrategy | Blend)
    return strategy


def make_contract(strategy: PolicyStrategy | Blend, bars: Bars) -> DataContract:
    """The contract of a strategy that is registered on `bars`.

    Raises
    ------
    InputError
        When there are too few bars for a decision, a symbol no longer trades, or a close is impossible.
    """
    contract = DataContract.of(_last(strategy, bars, _SHORTEST), strategy.warmup)
    contract.check(contract.bars)
    return contract


def request(strategy: PolicyStrategy | Blend, contract: DataContract, bars: Bars) -> dict[str, Any]:
    """The request for a decision after the last of `bars`: ``symbols``, ``times`` and ``bars``.

    Raises
    ------
    InputError
        When the bars are not such as the model was made for.
    """
    return to_request(contract.check(_window(strategy, contract.ordered(bars))))


def decide(strategy: PolicyStrategy | Blend, contract: DataContract, bars: Bars) -> dict[str, Any]:
    """The response to one request.

    Parameters
    ----------
    strategy : PolicyStrategy or Blend
    contract : DataContract
    bars : Bars of shape (T, A)

    Returns
    -------
    dict
        ``symbols``, and ``target_weight``, ``band`` and ``rate``, each a list of length A in the order of the request.

    Raises
    ------
    InputError
        When the bars are not such as the model was made for.
    """
    ordered = contract.check(_window(strategy, contract.ordered(bars)))
    answer = answered(strategy.plan(ordered[-1:]))
    columns = [contract.symbols.index(symbol) for symbol in bars.symbols]
    return {"symbols": list(bars.symbols)} | {key: [row[i] for i in columns] for key, row in answer.items()}


def answered(plan: Plan) -> dict[str, list[float]]:
    """The last row of a plan, as a response states it."""
    band = np.zeros_like(plan.aim) if plan.band is None else plan.band
    rate = np.ones_like(plan.aim) if plan.rate is None else plan.rate
    return {key: part[-1].tolist() for key, part in zip(ANSWER, (plan.aim, band, rate), strict=True)}


def _window(strategy: PolicyStrategy | Blend, bars: Bars) -> Bars:
    """The closes that the decision after the last bar reads, as bars of their own."""
    last = _last(strategy, bars)
    return Bars.make(last.index, last.symbols, last.close, tradable=last.tradable, name=bars.name)


def _last(strategy: PolicyStrategy | Blend, bars: Bars, shortest: int = 0) -> Bars:
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


def save(strategy: PolicyStrategy | Blend, contract: DataContract, folder: Path) -> None:
    """Write a strategy, its contract, and its decision on the contract's bars to compare with when it is loaded elsewhere."""
    strategy.save(folder)
    contract.save(folder / "contract.json")
    (folder / "check.json").write_text(json.dumps(decide(strategy, contract, contract.bars)))


def load(folder: Path) -> tuple[PolicyStrategy | Blend, DataContract]:
    """Read a strategy and its contract, written by `save`."""
    kind = Blend if (folder / "blend.json").exists() else PolicyStrategy
    return kind.load(folder), DataContract.load(folder / "contract.json")
