"""All that a page draws from, as one object for JSON: what the curves are, `views` and `trades` say."""

from __future__ import annotations

from typing import Any

from backtests.metrics import formatted
from backtests.report.compact import Clock
from backtests.report.pictures import shown_first
from backtests.report.remarks import grouped
from backtests.report.tables import switched
from backtests.report.trades import largest_trades, prices
from backtests.report.views import Detail, even_rows, histograms, largest_symbols, view
from backtests.results import Backtests
from backtests.section import Judged
from markets.common.pages import segments_to_draw
from markets.regimes.colours import shade

_STRETCHES = 400  # of regimes that a plot can show


def content(result: Backtests, verdict: Judged | None = None) -> dict[str, Any]:
    """Curves, tables and sentences of all strategies, and what they share.

    Returns
    -------
    dict
        Of plain numbers, texts, lists and packed curves.
    """
    bars, names = result.bars, [b.name for b in result]
    clock, detail = Clock.of(bars.index), Detail.of(len(result), len(bars.symbols))
    symbols = largest_symbols(result, detail.symbols)
    views = [
        view(b, result, clock, detail, symbols)
        | {"trades": largest_trades(result, b.name, clock, symbols, detail.orders)}
        for b in result
    ]
    return {
        "names": names, "benchmark": names.index(result.benchmark), "chosen": names.index(shown_first(result)),
        "heads": [names.index(head.name) for head, _ in grouped(result.backtests)],
        "verdicts": _sentences(result, verdict),
        "clock": {**clock.settings, "last": int(clock.offsets[-1])},
        "points": clock.packed(even_rows(len(bars), detail.points)), "cells": clock.packed(even_rows(len(bars), detail.cells)),
        "regimes": _stretches(result, clock), "prices": prices(result, clock, symbols, 2 * detail.points),
        "histograms": histograms(result), "tables": switched(result), "strategies": views,
    }  # fmt: skip


def _sentences(result: Backtests, verdict: Judged | None) -> list[str]:
    shown, found = formatted(result.table()[["Sharpe", "CAGR", "max drawdown"]]), []
    for name, sharpe, growth, drawdown in shown.itertuples():
        judged = verdict.sentences[name] if verdict is not None else "whether it was luck was not tested"
        found.append(f"{name}: {judged}. Sharpe ratio {sharpe}, {growth} per year, largest drawdown {drawdown}.")
    return found


def _stretches(result: Backtests, clock: Clock) -> dict[str, Any] | None:
    """Stretches of regimes as offsets of the clock, with the colours of the regimes."""
    if result.regimes is None:
        return None
    index, names = result.regimes.index, result.regimes.names
    times = (index.tz_localize(None).as_unit("ms").asi8 - clock.start) // clock.unit
    return {
        "names": list(names),
        "colours": [shade(name, names) for name in names],
        "stretches": [
            [int(times[first]), int(times[min(last, len(times) - 1)]), label]
            for first, last, label in segments_to_draw(index, result.regimes.labels, _STRETCHES)
        ],
    }
