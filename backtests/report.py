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

from backtests.metrics import METRICS, formatted
from backtests.results import Backtest
from markets import Bars, Costs, RegimePath
from markets.common.pages import table, write_page
from markets.data.loading import SURVIVORSHIP
from markets.regimes.colours import shade
from markets.tasks import stretches


def write_report(
    backtests: Sequence[Backtest],
    bars: Bars,
    costs: Costs,
    every: int,
    regimes: RegimePath | None,
    path: str | Path,
    title: str | None = None,
    notes: Iterable[str] = (),
) -> Path:
    """Write a page with the table of metrics, and plots of equity, drawdown and turnover with regimes shaded.

    Parameters
    ----------
    backtests, bars, costs, every, regimes
        See `backtests.walk_forward.WalkForward`.
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
    title = title or f"{bars.name}: {bars.index[0]:%Y-%m-%d} to {bars.index[-1]:%Y-%m-%d}"
    charged = f"costs of {costs.buy_side:.2%} per side" if costs.buy_side else "no costs"
    intro = f"{len(bars)} bars of {len(bars.symbols)} symbols, {charged}, adapted every {every} bars. Net of all costs."
    notes = list(notes)
    if bars.name in SURVIVORSHIP:
        notes.append(f"Survivorship: {SURVIVORSHIP[bars.name]}.")
    if regimes is not None:
        notes.append(f"Shaded: regimes as they were seen live, {_legend(regimes.names)}.")
    listed = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
    figure = _figure(backtests, bars, regimes).to_html(
        full_html=False, include_plotlyjs=True, div_id="curves", config={"displaylogo": False}
    )
    text = formatted(pd.DataFrame({b.name: b.metrics for b in backtests}).T)
    rows = [[str(name), *row] for name, row in zip(text.index, text.to_numpy(), strict=True)]
    figures = table(["strategy", *text.columns], rows, titles=METRICS)
    body = f"<p class=about>{html.escape(intro)}</p>{figures}<ul>{listed}</ul>{figure}"
    return write_page(path, title, body, "thead th{cursor:help}")


def _figure(backtests: Sequence[Backtest], bars: Bars, regimes: RegimePath | None) -> go.Figure:
    figure = make_subplots(
        rows=3, cols=1, shared_xaxes=True, vertical_spacing=0.07, row_heights=[0.56, 0.22, 0.22],
        subplot_titles=("Equity (start = 1, log scale)", "Drawdown", "Annualised turnover, mean of the last 63 bars"),
    )  # fmt: skip
    index = bars.index
    for i, backtest in enumerate(backtests):
        line = {"color": qualitative.D3[i % 10], "width": 2.4 if i == 0 else 1.3}
        equity = backtest.equity / backtest.equity[0]
        drawdown = equity / np.maximum.accumulate(equity) - 1
        per_year = (len(index) - 1) / bars.years
        # without the initial purchase, which would dominate the plot
        share = pd.Series(backtest.traded[2:] / np.maximum(backtest.equity[1:-1], 1e-9), index[2:])
        turnover = share.rolling(63, min_periods=1).mean() * per_year
        shared = {"name": backtest.name, "line": line, "legendgroup": backtest.name, "mode": "lines"}
        figure.add_scatter(x=index, y=np.where(equity > 0, equity, np.nan), **shared, row=1, col=1)
        figure.add_scatter(x=index, y=drawdown, **shared, showlegend=False, row=2, col=1)
        figure.add_scatter(x=turnover.index, y=turnover.to_numpy(), **shared, showlegend=False, row=3, col=1)
    figure.update_xaxes(showticklabels=True)  # years below each plot, not the last alone
    figure.update_yaxes(type="log", row=1, col=1)
    figure.update_yaxes(tickformat=".0%", row=2, col=1)
    figure.update_yaxes(ticksuffix="x", row=3, col=1)
    figure.update_layout(
        height=860, template="plotly_white", hovermode="x unified", margin={"l": 60, "r": 20, "t": 70, "b": 30},
        legend={"orientation": "h", "y": 1.07, "x": 0},
        shapes=[] if regimes is None else _bands(regimes),
    )  # fmt: skip
    return figure


def _bands(regimes: RegimePath) -> list[dict]:
    """One shaded rectangle per regime stretch, behind all three plots."""
    index, names = regimes.index, regimes.names
    return [
        {"type": "rect", "xref": "x", "yref": "paper", "x0": index[first], "x1": index[min(last, len(index) - 1)], "y0": 0,
         "y1": 1, "fillcolor": shade(names[label], names), "line": {"width": 0}, "layer": "below"}
        for first, last, label in stretches(regimes, shortest=5)
    ]  # fmt: skip


def _legend(names: tuple[str, ...]) -> str:
    return f"from {names[0]} (green) to {names[-1]} (red)" if len(names) > 1 else names[0]
