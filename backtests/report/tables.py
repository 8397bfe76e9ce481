"""The tables of a page: metrics of all strategies, and those that show one strategy and change with it."""

from __future__ import annotations

from typing import Any

import pandas as pd

from backtests.metrics import HEADS, METRICS, SHORT, against, by_regime, by_year, drawdowns, formatted
from backtests.report.remarks import grouped
from backtests.report.text import cell, texts
from backtests.results import Backtest, Backtests
from backtests.section import Judged
from markets.common.pages import table
from markets.common.words import count


def strategies_table(result: Backtests, verdict: Judged | None, columns: tuple[str, ...] | None = None) -> str:
    """The table of metrics as HTML, one row per strategy; with a verdict, its sentence stands beside the name.

    Parameters
    ----------
    result : Backtests
    verdict : Judged or None
    columns : tuple of str, optional
        Metrics; by default all.
    """
    shown = formatted(result.table()[list(columns or METRICS)])
    same = {b.name: f"{b.name} (same as {head.name})" for head, rest in grouped(result.backtests) for b in rest}
    heads = [" ".join(HEADS.get(column, column).split()) for column in shown.columns]
    titles = dict(zip(heads, (METRICS[column] for column in shown.columns), strict=True))
    rows = [[same.get(str(n), str(n)), *row] for n, row in zip(shown.index, shown.to_numpy(), strict=True)]
    classes: dict[str, str] = {}
    if verdict is not None:
        heads.append("verdict")
        rows = [[*row, verdict.sentences[b.name]] for row, b in zip(rows, result, strict=True)]
        classes["verdict"] = "words"
        titles["verdict"] = f"against {verdict.benchmark}"
    return f"<div class=strategies>{table(['strategy', *heads], rows, titles=titles, column_classes=classes)}</div>"


def short_table(result: Backtests, verdict: Judged | None) -> str:
    """`strategies_table` of the metrics that a terminal prints."""
    return strategies_table(result, verdict, SHORT)


def switched(result: Backtests) -> dict[str, dict[str, Any]]:
    """Tables of one strategy, for all strategies: per table its heads, and per strategy its rows of text."""
    return {
        "drawdowns": _switched([drawdowns(b) for b in result]),
        "events": _switched([_events(b) for b in result]),
        "folds": _switched([_folds(b) for b in result]),
        "by-year": _switched([by_year(b).rename_axis("year").reset_index().astype({"year": str}) for b in result]),
        "regimes": _switched([_regimes(b, result) for b in result]),
        "against": _switched([_against(b, result) for b in result]),
    }


def _switched(tables: list[pd.DataFrame]) -> dict[str, Any]:
    heads = next(([str(c) for c in t.columns] for t in tables if len(t)), [])
    return {"heads": [" ".join(HEADS.get(head, head).split()) for head in heads], "rows": [texts(t) for t in tables]}


def _events(backtest: Backtest) -> pd.DataFrame:
    """Those that changed something, and how many did not."""
    shown = [e for e in backtest.events if e.change != 0]  # the first has none to compare with
    rows = [{"time": cell(e.time), "what changed": e.what} for e in shown]
    rest = len(backtest.events) - len(shown)
    if rest:
        rows.append({"time": "others", "what changed": f"{count(rest, 'adaptation')} changed nothing"})
    return pd.DataFrame(rows)


def _folds(backtest: Backtest) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "first bar": f.span[0],
                "last bar": f.span[1],
                "trained until": f.trained_until,
                "adapted until": f.adapted_until,
            }
            for f in backtest.folds
        ]
    )


def _regimes(backtest: Backtest, result: Backtests) -> pd.DataFrame:
    if result.regimes is None:
        return pd.DataFrame()
    return by_regime(backtest, result.regimes).rename_axis("regime").reset_index()


def _against(backtest: Backtest, result: Backtests) -> pd.DataFrame:
    if backtest.name == result.benchmark:
        return pd.DataFrame()
    return pd.DataFrame([against(backtest, result[result.benchmark])])
