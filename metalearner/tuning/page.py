"""The page of a study: its trials in their order, and for each setting the scores that its values had."""

from __future__ import annotations

import html
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from markets.common.pages import COLOURS, figure_html, plotly_script, table, write_page
from markets.common.ranges import Range

if TYPE_CHECKING:
    from metalearner.tuning.tune import Tuned

_TICKS = 10  # whole numbers that are all written below an axis
_ACROSS = 3  # settings beside each other
_MARKS = {"complete": ("circle", COLOURS[0]), "pruned": ("x-thin-open", COLOURS[6])}


def write_tuning_page(tuned: Tuned, path: str | Path) -> Path:
    """Write a page with two figures and a table.

    Parameters
    ----------
    tuned : Tuned
    path : str or Path
        An ``.html`` file, written atomically.

    Returns
    -------
    Path
    """
    parts = [
        f"<p>{html.escape(tuned.finding)}</p>",
        plotly_script(),
        "<h2>Trials in their order</h2>",
        figure_html(history(tuned), "history"),
        "<h2>Scores by setting</h2>",
        figure_html(slices(tuned), "slices"),
        "<p>A crossed trial was pruned, since it was behind the median of the others; its score is its last one.</p>",
        "<h2>All trials</h2>",
        _rows(tuned.table),
        "<p>The score is that of the validation tasks that select the weights. The best of many is partly the luckiest: the "
        "later validation tasks and the test, of which no trial saw anything, tell what it is worth.</p>",
    ]
    return write_page(path, f"Tuning {tuned.learner.name}", "\n".join(parts))


def history(tuned: Tuned) -> go.Figure:
    """Plot the score of each trial, and the best so far."""
    scores = tuned.table[tuned.table["state"] == "complete"]["score"].sort_index()
    figure = go.Figure()
    line = {"shape": "hv", "color": COLOURS[1]}
    figure.add_scatter(x=scores.index, y=scores.cummax(), mode="lines", name="best so far", line=line)
    for state, (symbol, colour) in _MARKS.items():
        some = tuned.table[tuned.table["state"] == state]
        figure.add_scatter(
            x=some.index,
            y=some["score"],
            mode="markers",
            name=state,
            marker={"symbol": symbol, "color": colour, "size": 9},
        )
    figure.update_layout(
        height=340, margin={"t": 20, "b": 40, "l": 60, "r": 20}, xaxis_title="trial", yaxis_title="validation",
        legend={"orientation": "h", "y": 1.1},
    )  # fmt: skip
    return figure


def slices(tuned: Tuned) -> go.Figure:
    """Plot the scores by the value of each setting, with the best trial marked."""
    names = list(tuned.space)
    rows = -(-len(names) // _ACROSS)
    figure = make_subplots(
        rows=rows, cols=min(len(names), _ACROSS), subplot_titles=names, shared_yaxes="all", vertical_spacing=0.25 / rows
    )
    for k, name in enumerate(names):
        at: dict[str, Any] = {"row": k // _ACROSS + 1, "col": k % _ACROSS + 1}
        searched = tuned.space[name]
        for state, (symbol, colour) in _MARKS.items():
            some = tuned.table[tuned.table["state"] == state]
            x = some[name] if isinstance(searched, Range) else some[name].astype(str)
            figure.add_scatter(
                x=x, y=some["score"], mode="markers", text=[f"trial {n}" for n in some.index], showlegend=False,
                marker={"symbol": symbol, "color": colour, "size": 8}, **at,
            )  # fmt: skip
        best = tuned.settings[name]
        figure.add_scatter(
            x=[best if isinstance(searched, Range) else str(best)], y=[tuned.score], mode="markers", showlegend=False,
            text=[f"trial {tuned.best}, the best"],
            marker={"symbol": "circle-open", "color": COLOURS[1], "size": 15, "line": {"width": 2}}, **at,
        )  # fmt: skip
        if isinstance(searched, Range):
            figure.update_xaxes(type="log" if searched.log else "linear", exponentformat="none", **at)
            if not searched.log and isinstance(best, int) and searched.high - searched.low < _TICKS:
                figure.update_xaxes(dtick=1, **at)
        else:
            figure.update_xaxes(
                type="category", categoryorder="array", categoryarray=[str(v) for v in searched.values], **at
            )
    figure.update_layout(height=90 + 230 * rows, margin={"t": 40, "b": 40, "l": 60, "r": 20})
    return figure


def _rows(frame: pd.DataFrame) -> str:
    """The table of trials, as HTML."""
    frame = frame.loc[:, (frame != "").any()]
    rows = [
        [str(number), *(_text(value) for value in row)]
        for number, row in zip(frame.index, frame.to_numpy(), strict=True)
    ]
    return table(("trial", *frame.columns), rows)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:.4g}"
    return str(value)
