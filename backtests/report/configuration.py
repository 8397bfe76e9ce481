"""What a result was computed from and with, so that it can be computed again: data and hashes, costs, execution, code."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np

from backtests.provenance import git_commit, package_versions
from backtests.report.text import cell
from backtests.results import Backtest, Backtests
from markets.common.words import count, few


def configuration(result: Backtests) -> list[tuple[str, str]]:
    """Names and values, as text, in the order in which they are read."""
    bars = result.bars
    rows = [
        ("data", f"{bars.name}: {count(len(bars), 'bar')}, {count(bars.past, 'earlier bar')} as history"),
        ("first and last bar", f"{cell(bars.index[0])} to {cell(bars.index[-1])}"),
        ("symbols", f"{len(bars.symbols)}: {few(bars.symbols)}"),
        ("data hash", bars.hash),
        ("span hash", bars.span_hash),
        ("costs", _settings(result.costs)),
        ("execution", _settings(result.execution)),
        ("adapted every", count(result.every, "bar")),
        ("regimes", "none" if result.regimes is None else ", ".join(result.regimes.names)),
        ("benchmark", result.benchmark),
        ("latest bar known", known(result)),
        ("code commit", git_commit()),
        ("packages", ", ".join(f"{name} {version}" for name, version in package_versions().items())),
    ]
    return [*rows, *((f"model of {b.name}", b.fingerprint) for b in result if b.fingerprint)]


def known(result: Backtests) -> str:
    """What the record of the latest bar behind each position says."""
    recorded = [b for b in result if b.known is not None]
    if not recorded:
        return "not recorded"
    same = result.execution.fill == "same_close"
    late = {b.name: _later(b, same) for b in recorded}
    wrong = [f"{name} knew later bars on {count(bars, 'bar')}" for name, bars in late.items() if bars]
    return "; ".join(wrong) or (
        "the bar of the fill itself (same_close)" if same else "before each fill, without exception"
    )


def _later(backtest: Backtest, same: bool) -> int:
    """Number of positions decided from a bar later than the one before their mark, or than the mark where fills are `same`."""
    index = backtest.index if backtest.index.tz is None else backtest.index.tz_convert("UTC").tz_localize(None)
    times = index.as_unit("ns").asi8
    decided = np.asarray(backtest.known, dtype="datetime64[ns]").astype(np.int64)
    return int((decided[1:] > (times[1:] if same else times[:-1])).sum())


def _settings(value: Any) -> str:
    """The settings of a dataclass that differ from its defaults; all others are at their defaults."""
    changed = [f"{f.name} {cell(getattr(value, f.name))}" for f in fields(value) if getattr(value, f.name) != f.default]
    return ", ".join(changed) if changed else "defaults"
