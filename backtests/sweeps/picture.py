"""The plots of sweeps. Plotly takes a second to import, so this module is imported where a figure is wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from markets import InputError

if TYPE_CHECKING:
    from backtests.sweeps.optimise import Optimisation
    from backtests.sweeps.sweep import Sweep

_INK = "#1c2733"


def heat_map(sweep: Sweep, metric: str, x: str | None = None, y: str | None = None) -> go.Figure:
    """See `Sweep.heat_map`."""
    peak, plateau = sweep.best(metric), sweep.plateau(metric)
    names = list(sweep.grid.values)
    several = [name for name in names if len(sweep.grid.values[name]) > 1] or names[:1]
    for name in (x, y):
        if name is not None and name not in names:
            raise InputError(f"the sweep has no parameter {name!r}; it has {', '.join(names)}")
    x = x or next((name for name in reversed(several) if name != y), several[-1])
    y = y or next((name for name in reversed(several) if name != x), None)
    values = sweep.table[metric]
    others = [name for name in several if name not in (x, y)]
    about = f"{metric} of {sweep.name}" + (f", median over {' and '.join(others)}" if others else "")
    figure = go.Figure()
    if y is None:
        curve = values.groupby(level=x, sort=False).median().reindex(list(sweep.grid.values[x]))
        figure.add_scatter(
            x=_ticks(curve.index), y=curve.to_numpy(), mode="lines+markers", name=metric, showlegend=False
        )
    else:
        grid = values.groupby(level=[y, x], sort=False).median().unstack(x)
        grid = grid.reindex(index=list(sweep.grid.values[y]), columns=list(sweep.grid.values[x]))
        figure.add_heatmap(
            x=_ticks(grid.columns), y=_ticks(grid.index), z=grid.to_numpy(), colorscale="Viridis", colorbar={"title": metric},
            hovertemplate=f"{x} %{{x}}<br>{y} %{{y}}<br>{metric} %{{z:.3f}}<extra></extra>",
        )  # fmt: skip
    for what, found, symbol in (("peak", peak, "star"), ("plateau", plateau, "square-open")):
        figure.add_scatter(
            x=_ticks([found.setting[x]]), y=[found.value] if y is None else _ticks([found.setting[y]]), mode="markers", name=what,
            hovertext=str(found), marker={"symbol": symbol, "size": 14, "color": "white" if y else _INK,
            "line": {"color": _INK, "width": 2}},
        )  # fmt: skip
    figure.update_layout(
        title={"text": about, "font": {"size": 15}}, height=460, template="plotly_white",
        margin={"l": 48, "r": 12, "t": 60, "b": 40}, legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    )  # fmt: skip
    # Categories, since a grid need not be even: each setting gets a cell of the same size.
    order = [str(value) for value in sweep.grid.values[x]]
    figure.update_xaxes(title=x, type="category", categoryorder="array", categoryarray=order)
    if y is None:
        figure.update_yaxes(title=metric)
    else:
        order = [str(value) for value in sweep.grid.values[y]]
        figure.update_yaxes(title=y, type="category", categoryorder="array", categoryarray=order)
    return figure


def choices(found: Optimisation) -> go.Figure:
    """See `Optimisation.draw`."""
    folds, names = found.folds, list(found.strategy.grid.values)
    figure = make_subplots(
        rows=len(names) + 1, cols=1, shared_xaxes=True, vertical_spacing=0.08,
        subplot_titles=[*(f"{name}, as chosen" for name in names), f"{found.metric} of the chosen setting"],
    )  # fmt: skip
    figure.update_annotations(x=0, xanchor="left", font_size=14)
    end = found.backtest.index[-1]
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
