"""The backtest report: one self-contained HTML file that works offline."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.colors import qualitative
from plotly.subplots import make_subplots

from backtests.metrics import HEADS, METRICS, formatted
from backtests.report.remarks import grouped, remarks
from backtests.results import Backtest, Backtests
from markets import Bars, RegimePath
from markets.common.pages import rows_to_draw, segments_to_draw, table, write_page
from markets.common.words import count
from markets.regimes.colours import shade

_COLUMNS, _BANDS = 1000, 400  # what a plot of this width can show of a curve, and of shaded stretches


def write_report(result: Backtests, path: str | Path, title: str | None = None, notes: Iterable[str] = ()) -> Path:
    """Write a page with the table of metrics, and plots of equity, drawdown and turnover with regimes shaded.

    Parameters
    ----------
    result : Backtests
    path : str or Path
        An ``.html`` file.
    title : str, optional
        By default the name and span of the bars.
    notes : iterable of str
        Remarks, listed under the table.

    Returns
    -------
    Path

    Raises
    ------
    InputError
        When the folder does not exist or cannot be written to.
    """
    backtests, bars, costs, execution = result.backtests, result.bars, result.costs, result.execution
    every, regimes = result.every, result.regimes
    title = title or f"{bars.name}: {bars.index[0]:%Y-%m-%d} to {bars.index[-1]:%Y-%m-%d}"
    charged = f"costs of {costs.buy_side:.2%} per side" if costs.buy_side else "no costs"
    leverage = f", gross weight up to {execution.gross:g}" if execution.gross != 1 else ""
    intro = (
        f"{count(len(bars), 'bar')} of {count(len(bars.symbols), 'symbol')}, {charged}{leverage}, adapted every "
        f"{count(every, 'bar')}. Net of all costs."
    )
    sentences = [html.escape(note) for note in (*remarks(backtests), *notes)]
    if bars.source.survivorship:
        sentences.append(html.escape(f"Survivorship: {bars.source.survivorship}."))
    if regimes is not None:
        sentences.append(f"Shaded: regimes as they were seen live, {_swatches(regimes.names)}.")
    listed = "".join(f"<li>{note}</li>" for note in sentences)
    groups = grouped(backtests)
    figure = _figure(groups, bars, every, regimes).to_html(
        full_html=False, include_plotlyjs=True, div_id="curves", config={"displaylogo": False, "responsive": True}
    )
    same = {b.name: f"{b.name} (same as {head.name})" for head, rest in groups for b in rest}
    text = formatted(pd.DataFrame({b.name: b.metrics for b in backtests}).T)
    rows = [[same.get(str(name), str(name)), *row] for name, row in zip(text.index, text.to_numpy(), strict=True)]
    heads = [" ".join(HEADS.get(column, column).split()) for column in text.columns]
    titles = {head: METRICS[column] for head, column in zip(heads, text.columns, strict=True)}
    figures = table(["strategy", *heads], rows, titles=titles)
    body = f"<p class=about>{html.escape(intro)}</p>{figures}<ul>{listed}</ul>{figure}"
    return write_page(path, title, body, "thead th{cursor:help} li span{padding:0 5px;border-radius:3px}")


def _figure(
    groups: Sequence[tuple[Backtest, list[Backtest]]], bars: Bars, every: int, regimes: RegimePath | None
) -> go.Figure:
    figure = make_subplots(
        rows=3, cols=1, shared_xaxes=True, vertical_spacing=0.07, row_heights=[0.56, 0.22, 0.22],
        subplot_titles=("Equity (start = 1, log scale)", "Drawdown", f"Turnover per year, mean of {count(every, 'bar')}"),
    )  # fmt: skip
    # one at the left edge of each plot: in the middle, it would be cut off on a phone
    figure.update_annotations(x=0, xanchor="left", font_size=14)
    index = bars.index
    equities: list[np.ndarray] = []
    for i, (backtest, same) in enumerate(groups):
        equity = backtest.equity / backtest.equity[0]
        drawdown = equity / np.maximum.accumulate(equity) - 1
        # without the initial purchase, which would dominate the plot
        share = backtest.traded[2:] / np.maximum(backtest.equity[1:-1], 1e-9)
        turnover = pd.Series(share).rolling(every, min_periods=1).mean().to_numpy() * bars.bars_per_year
        # a curve that lies on an earlier one is dashed, so that both can be seen
        hides = any(np.allclose(equity, earlier, rtol=0.02) for earlier in equities)
        equities.append(equity)
        dash = "dash" if hides else ("solid", "dot", "dashdot")[i // 10 % 3]  # there are ten colours
        line = {"color": qualitative.D3[i % 10], "width": 2.4 if i == 0 else 1.3, "dash": dash}
        name = " = ".join(b.name for b in (backtest, *same))
        shared = {"name": name, "line": line, "legendgroup": name, "mode": "lines"}
        curves = ((index, np.where(equity > 0, equity, np.nan)), (index, drawdown), (index[2:], turnover))
        for row, (x, y) in enumerate(curves, start=1):
            kept = rows_to_draw(x, y, _COLUMNS)
            figure.add_scatter(x=x[kept], y=y[kept], **shared, showlegend=row == 1, row=row, col=1)
    figure.update_xaxes(showticklabels=True)  # years below each plot, not the last alone
    figure.update_yaxes(type="log", row=1, col=1)
    figure.update_yaxes(tickformat=".0%", row=2, col=1)
    figure.update_yaxes(ticksuffix="x", row=3, col=1)
    figure.update_layout(
        height=900, template="plotly_white", hovermode="x unified", margin={"l": 48, "r": 12, "t": 60, "b": 30},
        # below the plots, where it may grow; above, it would cover title and curves on a narrow screen
        legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0},
        shapes=[] if regimes is None else _bands(regimes),
    )  # fmt: skip
    return figure


def _bands(regimes: RegimePath) -> list[dict]:
    """One shaded rectangle per regime stretch, behind all three plots."""
    index, names = regimes.index, regimes.names
    return [
        {"type": "rect", "xref": "x", "yref": "paper", "x0": index[first], "x1": index[min(last, len(index) - 1)], "y0": 0,
         "y1": 1, "fillcolor": shade(names[label], names), "line": {"width": 0}, "layer": "below"}
        for first, last, label in segments_to_draw(index, regimes.labels, _BANDS)
    ]  # fmt: skip


def _swatches(names: tuple[str, ...]) -> str:
    """The names of the regimes, each on its colour."""
    return ", ".join(f"<span style='background:{shade(name, names)}'>{html.escape(name)}</span>" for name in names)
