"""What a trial says: the ladder of each adapted contender, and the JSON object that a benchmark ends with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.real_market.comparison import COMPARED, Comparison
from benchmarks.real_market.contenders import Contender
from benchmarks.real_market.ladder import Rung, best, beyond, no_harm, returns, risk
from benchmarks.real_market.protocol import Protocol


def climbed(comparison: Comparison, contender: Contender, protocol: Protocol) -> list[Rung]:
    """The five rungs for one adapted contender.

    Parameters
    ----------
    comparison : Comparison
    contender : Contender
    protocol : Protocol
    """
    name, judged, ask = contender.name, protocol.statistics, comparison.difference
    base = contender.base or contender.control
    drawdowns = {u: (comparison.drawdown(u, name), comparison.drawdown(u, base)) for u in comparison.where(name, base)}
    there = set(comparison.where(name))
    classical = [
        c.name
        for c in comparison.contenders.values()
        if c.role in ("baseline", "pool") and there <= set(comparison.where(c.name))
    ]
    place = judged["returns_on"]
    if not set(protocol.universes) & set(comparison.universes):  # a user's own bars
        place = comparison.universes[0]
    seeds = len(comparison.traded[place].seeds.get(name, (0,))) if place in comparison.universes else 0
    return [
        no_harm(ask, name, base, drawdowns, judged["harm"]),
        risk(ask, name, contender.control, judged["family_error"]),
        beyond(ask, name, classical),
        returns(ask, name, judged["momentum"], contender.control, place, seeds, judged["fewest_seeds"]),
        best(sharpes(comparison), judged["best_sharpe"]),
    ]


def adapted(comparison: Comparison) -> list[Contender]:
    """Adapted contenders that traded somewhere together with their control."""
    found = [c for c in comparison.contenders.values() if c.role == "adapted"]
    return [c for c in found if comparison.where(c.name, c.control)]


def sharpes(comparison: Comparison) -> dict[str, float]:
    """Pooled Sharpe ratio of each adapted strategy that traded every universe."""
    return {
        c.name: comparison.pooled_sharpe(c.name)
        for c in adapted(comparison)
        if comparison.where(c.name) == comparison.universes
    }


def judged_by(ladders: dict[str, list[Rung]], protocol: Protocol) -> list[Rung]:
    """The rungs of the contenders that the protocol names: for risk the first three and the last, for returns the fourth."""
    primary = {kind: ladders.get(name) for kind, name in protocol.primary.items()}
    first, second = primary["risk"], primary["returns"]
    missing = Rung(4, False, {}, "not measured: its contender did not trade here")
    rungs = list(first) if first else [Rung(k, False, {}, "not measured") for k in range(1, 6)]
    rungs[3] = second[3] if second else missing
    return rungs


def figures(
    comparison: Comparison, ladders: dict[str, list[Rung]], protocol: Protocol, about: dict[str, Any]
) -> dict[str, Any]:
    """The JSON object; what was not measured is null.

    Parameters
    ----------
    comparison : Comparison
    ladders : dict
        Rungs of each adapted contender.
    protocol : Protocol
    about : dict
        What the run was: spans, hash, commit.
    """
    contenders = comparison.contenders
    found: dict[str, Any] = {f"rung_{rung.number}": rung.reached for rung in judged_by(ladders, protocol)}
    risk_name, returns_name = protocol.primary["risk"], protocol.primary["returns"]
    if risk_name in ladders:
        control = contenders[risk_name].control
        variance = comparison.difference(risk_name, control, "log variance").pooled
        utility = comparison.difference(risk_name, control, "certainty equivalent").pooled
        found |= _ends("pooled_log_variance_ratio", variance) | _ends("pooled_certainty_equivalent_gain", utility)
    place = protocol.statistics["returns_on"]
    gain = None
    if returns_name in ladders:
        control = contenders[returns_name].control
        gain = comparison.difference(returns_name, control, "sharpe").by_universe.get(place)
    found |= _ends("futures_sharpe_gain_over_memoryless", gain)
    pooled = sharpes(comparison)
    found["best_pooled_sharpe"] = max(pooled.values()) if pooled else None
    return found | {
        "ladders": {name: [rung.reached for rung in rungs] for name, rungs in ladders.items()},
        "rungs_by_universe": {
            f"rung_{rung.number}": dict(rung.by_universe) for rung in judged_by(ladders, protocol)
        },
        "net": {
            u: {name: dict(row) for name, row in comparison.table(u).iterrows()} for u in comparison.universes
        },
        "seeds": {
            u: {n: [b.metrics["Sharpe"] for b in each] for n, each in t.seeds.items()} for u, t in comparison.traded.items()
        },
        "differences": {
            c.name: {other: _differences(comparison, c.name, other) for other in opponents(comparison, c)}
            for c in adapted(comparison)
        },
        **about,
    }  # fmt: skip


def opponents(comparison: Comparison, contender: Contender) -> Sequence[str]:
    """What an adapted contender is compared with: its control, its base, the pool and the baselines, each once."""
    classical = [c.name for c in comparison.contenders.values() if c.role in ("pool", "baseline")]
    names = dict.fromkeys([contender.control, contender.base or contender.control, *classical])
    return [name for name in names if comparison.where(contender.name, name)]


def _differences(comparison: Comparison, name: str, other: str) -> dict[str, Any]:
    """Of each statistic: value, low, high, smallest that could be detected; pooled and by universe."""
    rows = {}
    for statistic in COMPARED:
        found = comparison.difference(name, other, statistic)
        intervals = {"pooled": found.pooled, **found.by_universe}
        rows[statistic] = {u: [i.value, i.low, i.high, i.detectable] for u, i in intervals.items()}
    return rows


def _ends(key: str, interval: Any) -> dict[str, float | None]:
    ends = (None,) * 3 if interval is None else (interval.value, interval.low, interval.high)
    return dict(zip((key, f"{key}_low", f"{key}_high"), ends, strict=True))


def rounded(value: Any) -> Any:
    """`value` with numbers to five decimals, and null for what is not a number."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item) for item in value]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (float, np.floating)):
        return round(float(value), 5) if np.isfinite(value) else None
    return value
