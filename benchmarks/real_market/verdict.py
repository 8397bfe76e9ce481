"""What a trial says: the ladder of each adapted contender, and the JSON object that a benchmark ends with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.real_market.comparison import COMPARED, Comparison, Difference
from benchmarks.real_market.contenders import Contender
from benchmarks.real_market.ladder import Rung, best, beyond, no_harm, returns, risk
from benchmarks.real_market.protocol import Protocol


def climbed(comparison: Comparison, judged: Mapping[str, str], protocol: Protocol) -> list[Rung]:
    """The five rungs.

    Parameters
    ----------
    comparison : Comparison
    judged : dict
        Names of the adapted contenders that are judged, as in `Protocol.primary`.
    protocol : Protocol
    """
    rules, ask, universes = protocol.statistics, comparison.difference, comparison.universes
    of = {kind: comparison.contenders[name] for kind, name in judged.items()}
    variance, certainty, winner = of["variance"], of["certainty"], of["returns"]
    name, base = certainty.name, certainty.base or certainty.control
    drawdowns = {u: (comparison.drawdown(u, name), comparison.drawdown(u, base)) for u in comparison.where(name, base)}
    there = {*comparison.where(variance.name), *comparison.where(name)}
    classical = [
        c
        for c in comparison.contenders.values()
        if c.role in ("baseline", "pool") and there <= set(comparison.where(c.name))
    ]
    textbook = [c.name for c in classical]
    invested = [c.name for c in classical if c.invested] if variance.invested else []
    place = rules["returns_on"]
    if universes and not set(protocol.universes) & set(universes):  # a user's own bars
        place = universes[0]
    seeds = len(comparison.traded[place].seeds.get(winner.name, (0,))) if place in universes else 0
    pairs = [(c.name, c.control) for c in (variance, certainty)]
    return [
        no_harm(ask, name, base, drawdowns, rules["harm"], universes),
        risk(ask, *pairs, rules["family_error"], universes),
        beyond(ask, (variance.name, invested), (name, textbook), universes),
        returns(ask, winner.name, [*rules["momentum"], winner.control], place, seeds, rules["fewest_seeds"]),
        best(sharpes(comparison), rules["best_sharpe"]),
    ]


def alone(comparison: Comparison, protocol: Protocol) -> dict[str, list[Rung]]:
    """The ladder of each adapted contender that is judged for everything."""
    return {
        c.name: climbed(comparison, dict.fromkeys(("variance", "certainty", "returns"), c.name), protocol)
        for c in adapted(comparison)
    }


def adapted(comparison: Comparison) -> list[Contender]:
    """Adapted contenders that traded somewhere together with their control."""
    found = [c for c in comparison.contenders.values() if c.role == "adapted"]
    return [c for c in found if comparison.where(c.name, c.control)]


def sharpes(comparison: Comparison) -> dict[str, float]:
    """Pooled Sharpe ratio of each adapted strategy that traded every universe, and has one there."""
    whole = [c.name for c in adapted(comparison) if comparison.where(c.name) == comparison.universes]
    found = {name: comparison.pooled_sharpe(name) for name in whole}
    return {name: value for name, value in found.items() if np.isfinite(value)}


def figures(comparison: Comparison, protocol: Protocol, about: dict[str, Any]) -> dict[str, Any]:
    """The JSON object; what was not measured is null.

    Parameters
    ----------
    comparison : Comparison
    protocol : Protocol
    about : dict
        What the run was: spans, hash, commit.
    """
    primary, place = protocol.primary, protocol.statistics["returns_on"]
    rungs = climbed(comparison, primary, protocol)
    pooled = sharpes(comparison)
    found: dict[str, Any] = {f"rung_{rung.number}": rung.reached for rung in rungs}
    found |= _variance(comparison, primary["variance"]) | _certainty(comparison, primary["certainty"])
    gain = _to_control(comparison, primary["returns"], "sharpe").by_universe.get(place)
    found |= _ends("futures_sharpe_gain_over_memoryless", gain)
    found["best_pooled_sharpe"] = max(pooled.values()) if pooled else None
    return found | {
        "primary": {
            kind: {"name": name} | _variance(comparison, name) | _certainty(comparison, name)
            for kind, name in primary.items()
        },
        "ladders": {name: [rung.reached for rung in rungs] for name, rungs in alone(comparison, protocol).items()},
        "rungs_by_universe": {f"rung_{rung.number}": dict(rung.by_universe) for rung in rungs},
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


def _to_control(comparison: Comparison, name: str, statistic: str) -> Difference:
    return comparison.difference(name, comparison.contenders[name].control, statistic)


def _variance(comparison: Comparison, name: str) -> dict[str, float | None]:
    return _ends("pooled_log_variance_ratio", _to_control(comparison, name, "log variance").pooled)


def _certainty(comparison: Comparison, name: str) -> dict[str, float | None]:
    return _ends("pooled_certainty_equivalent_gain", _to_control(comparison, name, "certainty equivalent").pooled)


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
