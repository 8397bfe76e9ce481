"""The report: one HTML file that needs nothing else, not even a network."""

from __future__ import annotations

import html
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.colors import qualitative
from plotly.subplots import make_subplots

from backtests.metrics import METRICS, formatted
from markets.common.pages import write_page
from markets.data.loading import SURVIVORSHIP
from markets.tasks import stretches

if TYPE_CHECKING:
    from backtests.walk_forward import WalkForward

# From calm to wild; light enough to read curves on.
_SHADES = {"calm": "rgba(120,190,120,.16)", "normal": "rgba(200,200,200,.12)", "crisis": "rgba(220,90,80,.20)"}


def write_report(result: WalkForward, path: str | Path, title: str | None = None, notes: Iterable[str] = ()) -> Path:
    """Equity, drawdown, turnover over shaded regimes, and the table of metrics.

    Parameters
    ----------
    result : WalkForward
    path : str or Path
        An ``.html`` file, written in one move.
    title : str, optional
    notes : iterable of str
        What a reader should know, as a list under the table.

    Raises
    ------
    InputError
        When the folder is not there or cannot be written to.
    """
    bars = result.bars
    title = title or f"{bars.name}: {bars.index[0]:%Y-%m-%d} to {bars.index[-1]:%Y-%m-%d}"
    costs = f"{result.costs.buy_side:.2%} a side" if result.costs.buy_side else "no costs"
    about = f"{len(bars)} bars of {len(bars.symbols)} symbols, {costs}, adapted every {result.every} bars. Net of all costs."
    notes = list(notes)
    if bars.name in SURVIVORSHIP:
        notes.append(f"Survivorship: {SURVIVORSHIP[bars.name]}.")
    if result.regimes is not None:
        notes.append(f"Shaded: regimes as they were seen live, {_legend(result.regimes.names)}.")
    listed = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
    figure = _figure(result).to_html(
        full_html=False, include_plotlyjs=True, div_id="curves", config={"displaylogo": False}
    )
    table = _table(result.table())
    body = f"<p class=about>{html.escape(about)}</p><div class=wide>{table}</div><ul>{listed}</ul>{figure}"
    return write_page(path, title, body, "thead th{cursor:help}")


def _table(table: pd.DataFrame) -> str:
    text = formatted(table)
    head = "".join(f'<th title="{html.escape(METRICS[c])}">{html.escape(c)}</th>' for c in text.columns)
    body = "".join(
        f"<tr><td>{html.escape(str(name))}</td>" + "".join(f"<td>{v}</td>" for v in row) + "</tr>"
        for name, row in zip(text.index, text.to_numpy(), strict=True)
    )
    return f"<table><thead><tr><th>strategy</th>{head}</tr></thead><tbody>{body}</tbody></table>"


def _figure(result: WalkForward) -> go.Figure:
    figure = make_subplots(
        rows=3, cols=1, shared_xaxes=True, vertical_spacing=0.045, row_heights=[0.56, 0.22, 0.22],
        subplot_titles=("Equity (start = 1, log scale)", "Drawdown", "Turnover, a year, over the last 63 bars"),
    )  # fmt: skip
    index = result.bars.index
    for i, backtest in enumerate(result):
        line = {"color": qualitative.D3[i % 10], "width": 2.4 if i == 0 else 1.3}
        equity = backtest.equity / backtest.equity[0]
        drawdown = equity / np.maximum.accumulate(equity) - 1
        per_year = (len(index) - 1) / result.bars.years
        # without the purchase that opens the account, which would dwarf the rest
        share = pd.Series(backtest.traded[2:] / np.maximum(backtest.equity[1:-1], 1e-9), index[2:])
        turnover = share.rolling(63, min_periods=1).mean() * per_year
        shared = {"name": backtest.name, "line": line, "legendgroup": backtest.name, "mode": "lines"}
        figure.add_scatter(x=index, y=np.where(equity > 0, equity, np.nan), **shared, row=1, col=1)
        figure.add_scatter(x=index, y=drawdown, **shared, showlegend=False, row=2, col=1)
        figure.add_scatter(x=turnover.index, y=turnover.to_numpy(), **shared, showlegend=False, row=3, col=1)
    figure.update_yaxes(type="log", row=1, col=1)
    figure.update_yaxes(tickformat=".0%", row=2, col=1)
    figure.update_yaxes(ticksuffix="x", row=3, col=1)
    figure.update_layout(
        height=860, template="plotly_white", hovermode="x unified", margin={"l": 60, "r": 20, "t": 70, "b": 30},
        legend={"orientation": "h", "y": 1.07, "x": 0},
        shapes=_bands(result),
    )  # fmt: skip
    return figure


def _bands(result: WalkForward) -> list[dict]:
    """A shaded rectangle a regime stretch, behind all three plots."""
    if result.regimes is None:
        return []
    index, names = result.regimes.index, result.regimes.names
    shapes = []
    for first, last, label in stretches(result.regimes, shortest=5):
        shade = _shade(names, label)
        edges = {"x0": index[first], "x1": index[min(last, len(index) - 1)]}
        shapes.append({"type": "rect", "xref": "x", "yref": "paper", **edges, "y0": 0, "y1": 1, "fillcolor": shade,
                       "line": {"width": 0}, "layer": "below"})  # fmt: skip
    return shapes


def _shade(names: tuple[str, ...], label: int) -> str:
    """Colour of a regime; beyond the usual names, by rank."""
    return _SHADES.get(names[label], f"rgba(220,90,80,{0.2 * label / max(len(names) - 1, 1):.2f})")


def _legend(names: tuple[str, ...]) -> str:
    return ", ".join(
        f"{name} ({'green' if name == 'calm' else 'grey' if name == 'normal' else 'red'})" for name in names
    )
