"""The plots of sweeps. Plotly takes a second to import, so this module is imported where a figure is wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from backtests.sweeps.grid import Found, Grid
from markets import InputError

_INK = "#1c2733"


def heat_map(
    values: pd.Series, grid: Grid, marks: Mapping[str, Found], title: str, x: str | None = None, y: str | None = None
) -> go.Figure:
    """Plot a metric, by setting as in `Sweep.table`, with `marks` on some settings; see `Sweep.heat_map`."""
    metric, names = str(values.name), list(grid.values)
    several = [name for name in names if len(grid.values[name]) > 1] or names[:1]
    for name in (x, y):
        if name is not None and name not in names:
            raise InputError(f"the sweep has no parameter {name!r}; it has {', '.join(names)}")
    x = x or next((name for name in reversed(several) if name != y), several[-1])
    y = y or next((name for name in reversed(several) if name != x), None)
    others = [name for name in several if name not in (x, y)]
    about = title + (f", median over {' and '.join(others)}" if others else "")
    figure = go.Figure()
    if y is None:
        curve = values.groupby(level=x, sort=False).median().reindex(list(grid.values[x]))
        figure.add_scatter(
            x=_ticks(curve.index), y=curve.to_numpy(), mode="lines+markers", name=metric, showlegend=False
        )
    else:
        cells = values.groupby(level=[y, x], sort=False).median().unstack(x)
        cells = cells.reindex(index=list(grid.values[y]), columns=list(grid.values[x]))
        figure.add_heatmap(
            x=_ticks(cells.columns), y=_ticks(cells.index), z=cells.to_numpy(), colorscale="Viridis", colorbar={"title": metric},
            hovertemplate=f"{x} %{{x}}<br>{y} %{{y}}<br>{metric} %{{z:.3f}}<extra></extra>",
        )  # fmt: skip
    for (what, found), symbol in zip(marks.items(), ("star", "square"), strict=True):
        figure.add_scatter(
            x=_ticks([found.setting[x]]), y=[found.value] if y is None else _ticks([found.setting[y]]), mode="markers", name=what,
            hovertext=str(found), marker={"symbol": symbol, "size": 14, "color": "white" if y else _INK,
            "line": {"color": _INK, "width": 2}},
        )  # fmt: skip
    figure.update_layout(
        title={"text": about, "font": {"size": 15}}, height=480, template="plotly_white",
        margin={"l": 48, "r": 12, "t": 50, "b": 90},
        legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0},
    )  # fmt: skip
    # Categories, since a grid need not be even: each setting gets a cell of the same size.
    order = [str(value) for value in grid.values[x]]
    figure.update_xaxes(title=x, type="category", categoryorder="array", categoryarray=order)
    if y is None:
        figure.update_yaxes(title=metric)
    else:
        order = [str(value) for value in grid.values[y]]
        figure.update_yaxes(title=y, type="category", categoryorder="array", categoryarray=order)
    return figure


def choices(folds: pd.DataFrame, names: Sequence[str], metric: str, end: pd.Timestamp) -> go.Figure:
    """Plot the parameters `names` as they were chosen, up to `end`; see `Optimisation.draw`."""
    figure = make_subplots(
        rows=len(names) + 1, cols=1, shared_xaxes=True, vertical_spacing=0.08,
        subplot_titles=[*(f"{name}, as chosen" for name in names), f"{metric} of the chosen setting"],
    )  # fmt: skip
    figure.update_annotations(x=0, xanchor="left", font_size=14)
    for row, name in enumerate(names, start=1):
        chosen = [*folds[name], folds[name].iloc[-1]]
        line = {"shape": "hv", "color": _INK}
        figure.add_scatter(x=[*folds.index, end], y=chosen, line=line, name=name, showlegend=False, row=row, col=1)
    for column, colour in (("in sample", "#9aa8b6"), ("out of sample", "#1f77b4")):
        figure.add_bar(x=folds.index, y=folds[column], name=column, marker_color=colour, row=len(names) + 1, col=1)
    figure.update_layout(
        height=180 + 170 * (len(names) + 1), template="plotly_white", barmode="group",
        margin={"l": 48, "r": 12, "t": 60, "b": 40}, legend={"orientation": "h", "y": 0, "yref": "container", "x": 0},
    )  # fmt: skip
    return figure


def _ticks(values: pd.Index | list) -> list[str]:
    return [str(value) for value in values]
