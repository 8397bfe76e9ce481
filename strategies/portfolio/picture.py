"""What a portfolio policy adapted, drawn beside the regimes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from markets import RegimePath
from markets.regimes.colours import shade

# Columns of `PortfolioStrategy.adapted` and what their axes say, from top to bottom.
_ROWS = {
    "volatility halflife": "half-life of volatility",
    "correlation halflife": "half-life of correlation",
    "shrinkage": "shrinkage",
    "exposure": "exposure",
}


def draw_adapted(table: pd.DataFrame, regimes: RegimePath | None = None, title: str = "what was adapted") -> Any:
    """Draw how far back a policy looked, how much it shrank and how much it held, over the regimes as seen live.

    Parameters
    ----------
    table : DataFrame
        From `PortfolioStrategy.adapted`.
    regimes : RegimePath, optional
        Drawn as the background, within the span of the table.
    title : str

    Returns
    -------
    plotly Figure
    """
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=len(_ROWS), shared_xaxes=True, vertical_spacing=0.04)
    for row, (column, label) in enumerate(_ROWS.items(), start=1):
        figure.add_scatter(
            x=table.index,
            y=table[column],
            line={"color": "#1f4e79", "shape": "hv"},
            showlegend=False,
            name=label,
            row=row,
            col=1,
        )
        log = "log" if column.endswith("halflife") else "linear"
        figure.update_yaxes(title=label, type=log, row=row, col=1)
    if regimes is not None:
        for first, last, name in _stretches(regimes, table.index[0], table.index[-1]):
            colour = shade(name, regimes.names)
            figure.add_vrect(x0=first, x1=last, fillcolor=colour, line_width=0, layer="below")
        for name in regimes.names:
            marker = {"color": shade(name, regimes.names), "symbol": "square", "size": 12}
            figure.add_scatter(x=[None], y=[None], mode="markers", marker=marker, name=name)
    figure.update_layout(title=title, template="plotly_white", height=180 * len(_ROWS))
    return figure


def _stretches(
    path: RegimePath, first: pd.Timestamp, last: pd.Timestamp
) -> list[tuple[pd.Timestamp, pd.Timestamp, str]]:
    """Stretches of one regime from `first` to `last`: their first time, the first time of the next one, and their name."""
    inside = (path.index >= first) & (path.index <= last)
    times, labels = path.index[inside], path.labels[inside]
    starts = np.flatnonzero(np.append(True, labels[1:] != labels[:-1]))[: len(labels)]
    ends = [*times[starts[1:]], *times[-1:]]
    return [(times[start], end, path.names[labels[start]]) for start, end in zip(starts, ends, strict=True)]
