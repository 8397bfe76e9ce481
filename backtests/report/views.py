"""What a page draws of one strategy: its curves, weights, months and returns, thinned out to what a plot can show.

Tables and sentences hold figures of all bars; only curves are thinned out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from backtests.metrics import by_month, by_year
from backtests.report import curves
from backtests.report.compact import Clock, packed
from backtests.results import Backtest, Backtests
from markets.common.pages import rows_to_draw
from markets.common.statistics import deviation, expected_shortfall, value_at_risk

BINS = 61
_TAIL = 0.001  # of all returns, on each side, that lie beyond the outermost bins


@dataclass(frozen=True)
class Detail:
    """How finely each strategy is drawn, so that a page of many strategies stays small.

    Attributes
    ----------
    columns : int
        Columns of pixels of equity and drawdown; see `rows_to_draw`.
    points : int
        Of slow curves: rolling figures, turnover, exposure.
    cells : int
        Columns of the heat map of weights.
    orders : int
        Largest trades of one symbol.
    symbols : int
        Symbols with weights and trades: those of the largest mean weight.
    """

    columns: int
    points: int
    cells: int
    orders: int
    symbols: int

    @classmethod
    def of(cls, strategies: int, symbols: int) -> Detail:
        """The detail of a page for so many strategies and symbols."""
        shown = min(symbols, 24)
        return cls(
            columns=int(np.clip(5_600 // strategies, 60, 800)),
            points=int(np.clip(8_000 // strategies, 80, 800)),
            cells=int(np.clip(72_000 // (strategies * shown), 40, 400)),
            orders=int(np.clip(16_000 // (strategies * shown), 6, 400)),
            symbols=shown,
        )


def largest_symbols(result: Backtests, most: int) -> list[int]:
    """Positions of the symbols of the largest mean weight over all strategies, in the order of the bars."""
    size = np.sum([np.abs(b.weights).mean(axis=0) for b in result], axis=0)
    return sorted(np.argsort(-size, kind="stable")[:most].tolist())


def view(backtest: Backtest, result: Backtests, clock: Clock, detail: Detail, symbols: list[int]) -> dict[str, Any]:
    """Everything that plots show of one strategy, but for its trades.

    Parameters
    ----------
    backtest : Backtest
    result : Backtests
        Which it is one of.
    clock : Clock
        Of the bars.
    detail : Detail
    symbols : list of int
        Positions of the symbols whose weights are shown.

    Returns
    -------
    dict
        Packed curves, and plain numbers.
    """
    logged, fallen = np.log10(curves.equity(backtest)), curves.drawdown(backtest)
    rows = np.union1d(*(rows_to_draw(backtest.index, curve, detail.columns) for curve in (logged, fallen)))
    slow, cells = (even_rows(len(logged), most) for most in (detail.points, detail.cells))
    per_year = result.bars.bars_per_year
    window = curves.rolling_window(result)
    sharpe, volatility = curves.rolling(backtest, window, per_year)
    beta = curves.rolling_beta(backtest, result[result.benchmark], window)
    turnover, costs = curves.trading(backtest, result.every, per_year)
    weights = backtest.weights
    return {
        "times": clock.packed(rows), "equity": packed(logged[rows]), "drawdown": packed(fallen[rows]),
        "sharpe": packed(sharpe[slow]), "volatility": packed(volatility[slow]), "beta": packed(beta[slow]),
        "turnover": packed(turnover[slow]), "costs": packed(costs[slow]),
        "gross": packed(np.abs(weights).sum(axis=1)[slow]), "net": packed(weights.sum(axis=1)[slow]),
        "weights": packed(weights[cells][:, symbols].T),
        "months": _months(backtest), "years": _years(backtest),
    }  # fmt: skip


def even_rows(bars: int, most: int) -> np.ndarray:
    """At most `most` rows at even distances, with the first and the last."""
    return np.unique(np.linspace(0, bars - 1, min(bars, most)).round().astype(np.int64))


def histograms(result: Backtests) -> dict[str, Any]:
    """Distribution of the returns per bar of each strategy over shared bins; the outermost bins hold all that lies beyond."""
    returns = [b.returns for b in result]
    low, high = np.quantile(np.concatenate(returns), [_TAIL, 1 - _TAIL])
    edge = float(max(-low, high, 1e-6))
    edges = np.linspace(-edge, edge, BINS + 1)
    counts = [np.histogram(np.clip(r, -edge, edge), edges)[0].tolist() for r in returns]
    return {
        "edge": edge,
        "counts": counts,
        "mean": [_short(r.mean()) for r in returns],
        "std": [_short(deviation(r)) for r in returns],
        "risk": [_short(value_at_risk(r)) for r in returns],
        "shortfall": [_short(expected_shortfall(r)) for r in returns],
    }


def _months(backtest: Backtest) -> dict[str, Any]:
    table = by_month(backtest)
    return {"years": [int(y) for y in table.index], "values": [[_short(v) for v in row] for row in table.to_numpy()]}


def _years(backtest: Backtest) -> list[list[float | None]]:
    table = by_year(backtest)
    return [[y, _short(v)] for y, v in zip(table.index.tolist(), table["total return"], strict=True)]


def _short(value: float) -> float | None:
    """A number of five digits, or None for NaN, which JSON does not have."""
    return float(f"{value:.5g}") if np.isfinite(value) else None
