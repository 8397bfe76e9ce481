"""Explanations as pages: a decision, or a span of them."""

from __future__ import annotations

import html
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from backtests.explain.counterfactual import Counterfactual
from backtests.explain.explanation import Explanation, SpanExplanation
from backtests.explain.occlusion import Occlusion
from backtests.explain.sentences import rows, sentences, time_text
from markets.common.pages import COLOURS, figure_html, plotly_script, table, write_page

_CHART = {"displayModeBar": False, "scrollZoom": False}
_UP, _DOWN, _TOTAL = COLOURS[0], COLOURS[1], COLOURS[6]
# from less to more, by way of white: the hues of _DOWN and _UP, which the colour-blind tell apart
_SCALE = [[0.0, "#7a3600"], [0.25, COLOURS[1]], [0.5, "#ffffff"], [0.75, COLOURS[0]], [1.0, "#003a5c"]]
_SIZES = [[0.0, "#ffffff"], [0.5, COLOURS[0]], [1.0, "#003a5c"]]
_STYLE = "td,th{text-align:left} .number{text-align:right}"


def write_explanation(
    explanation: Explanation, symbol: str, turning: Counterfactual | None, path: str | Path, title: str
) -> Path:
    """Write the page of one decision: what makes the weight of `symbol`, when, and what would have turned it.

    Raises
    ------
    InputError
        When there is no such symbol, or the folder does not exist or cannot be written to.
    """
    items = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in sentences(explanation, symbol, turning))
    sums = rows(explanation, symbol)
    body = [
        plotly_script(), f"<p class=about>{html.escape(symbol)}, decided after {time_text(explanation.times[-1])}</p>",
        f"<ul>{items}</ul>",
        f"<h2>What makes the weight of {html.escape(symbol)}</h2>",
        "<p>Each feature's contribution is its integrated gradient from a market in which nothing stands out (all features 0) to "
        "what it was; all rows add up to the decision.</p>",
        _waterfall(sums), _sources(sums), "<h2>When</h2><p>What each feature at each bar has contributed.</p>",
        _heat(explanation.by_bar(symbol)[explanation.by_feature(symbol).index], "bars"),
    ]  # fmt: skip
    if turning is not None:
        body += ["<h2>What would have turned it</h2>", _turning(turning)]
    return write_page(path, title, "".join([*body, "<h2>All symbols</h2>", _symbols(explanation)]), _STYLE)


def write_span(span: SpanExplanation, symbol: str | None, path: str | Path, title: str) -> Path:
    """Write the page of a span: which features moved the weights, and when; of one symbol, or of all.

    Raises
    ------
    InputError
        As for `write_explanation`.
    """
    of = html.escape(symbol or "all symbols")
    means = span.by_feature(symbol)
    what = "contribution" if symbol is not None else "mean absolute contribution"
    body = [
        plotly_script(),
        f"<p class=about>{of}, {time_text(span.times[0])} to {time_text(span.times[-1])}, {len(span.times)} decisions</p>",
        f"<h2>Which features moved the weight of {of}</h2>",
        "<p>Mean absolute contributions to a weight, in per cent of the account.</p>",
        _means(means), _sources(means), f"<h2>When</h2><p>The {what} of each feature to each decision.</p>",
        _heat(span.by_time(symbol)[means.index], "decisions"),
    ]  # fmt: skip
    return write_page(path, title, "".join(body), _STYLE)


def write_occlusion(occlusion: Occlusion, symbol: str, path: str | Path, title: str) -> Path:
    """Write the page of a decision that reads no features: what single past bars did to the weight of a symbol.

    Raises
    ------
    InputError
        When the folder does not exist or cannot be written to.
    """
    changes = occlusion.changes[:, occlusion.symbols.index(symbol)]
    figure = go.Figure(go.Bar(x=occlusion.times, y=changes, marker_color=np.where(changes < 0, _DOWN, _UP)))
    figure.update_layout(height=320, margin={"l": 60, "r": 10, "t": 10, "b": 40}, yaxis_tickformat="+.2%")
    text = (
        "<p>By how much the weight is larger for the returns of each bar: it is decided again without them, one bar at a time. "
        "These do not add up to anything, since bars act together.</p>"
    )
    about = f"<p class=about>{html.escape(symbol)}, decided after {time_text(occlusion.times[-1])}</p>"
    return write_page(path, title, plotly_script() + about + text + figure_html(figure, "bars", **_CHART), _STYLE)


def _waterfall(sums: pd.DataFrame) -> str:
    """From the base to the decision, step by step."""
    values = sums["sum"].to_numpy()
    total = np.isin(sums.index, ["base", "decision"])
    low = np.where(total, 0.0, values[:-1].cumsum()[np.maximum(np.arange(len(values)) - 1, 0)])
    colours = np.where(total, _TOTAL, np.where(values < 0, _DOWN, _UP))
    figure = go.Figure(
        go.Bar(
            y=list(sums.index), x=values, base=low, orientation="h", marker_color=colours, text=[f"{v:+.2%}" for v in values],
            textposition="outside", cliponaxis=False, customdata=values, hovertemplate="%{y}: %{customdata:+.3%}<extra></extra>",
        )
    )  # fmt: skip
    figure.update_layout(
        height=30 * len(sums) + 60, margin={"l": 10, "r": 60, "t": 10, "b": 30}, xaxis_tickformat=".1%",
        yaxis={"autorange": "reversed", "automargin": True}, showlegend=False,
    )  # fmt: skip
    return figure_html(figure, "sum", **_CHART)


def _means(means: pd.DataFrame) -> str:
    figure = go.Figure(go.Bar(y=list(means.index), x=means["sum"], orientation="h", marker_color=_UP))
    figure.update_layout(
        height=30 * len(means) + 60, margin={"l": 10, "r": 20, "t": 10, "b": 30}, xaxis_tickformat=".2%",
        yaxis={"autorange": "reversed", "automargin": True},
    )  # fmt: skip
    return figure_html(figure, "sum", **_CHART)


def _heat(values: pd.DataFrame, name: str) -> str:
    """Features by time; the colours are centred on 0, or begin there if nothing is below."""
    largest = float(np.abs(values.to_numpy()).max(initial=0.0)) or 1.0
    signed = bool((values.to_numpy() < 0).any())
    figure = go.Figure(
        go.Heatmap(
            x=values.index, y=list(values.columns), z=values.to_numpy().T,
            zmin=-largest if signed else 0, zmax=largest, colorscale=_SCALE if signed else _SIZES,
            colorbar={"tickformat": "+.2%", "thickness": 12}, hovertemplate="%{x} %{y}: %{z:+.3%}<extra></extra>",
        )
    )  # fmt: skip
    figure.update_layout(
        height=28 * values.shape[1] + 80, margin={"l": 10, "r": 10, "t": 10, "b": 40},
        yaxis={"autorange": "reversed", "automargin": True},
    )  # fmt: skip
    return figure_html(figure, name, **_CHART)


def _sources(sums: pd.DataFrame) -> str:
    """The table of a sum, with where each contribution is from."""
    heads = ("", *sums.columns)
    text = [
        (str(name), *("" if np.isnan(value) else f"{value:+.3%}" for value in row)) for name, *row in sums.itertuples()
    ]
    return table(heads, text, column_classes=dict.fromkeys(heads[1:], "number"))


def _turning(turning: Counterfactual) -> str:
    about = (
        f"<p>The smallest change of {html.escape(turning.symbol)}'s features at the last bar that turns {turning.turns}: "
        f"{turning.distance:.2f} standard deviations of a year. The weight before limits goes from {turning.weight:.2%} to "
        f"{turning.turned:.2%}.</p>"
    )
    order = np.argsort(-np.abs(turning.deviations), kind="stable")
    heads = ("feature", "was", "would be", "standard deviations")
    text = [
        (turning.features[i], f"{turning.was[i]:+.3f}", f"{turning.would[i]:+.3f}", f"{turning.deviations[i]:+.2f}")
        for i in order
    ]
    return about + table(heads, text, column_classes=dict.fromkeys(heads[1:], "number"))


def _symbols(explanation: Explanation) -> str:
    moved = explanation.contributions.sum(axis=(1, 3))
    heads = ("symbol", "base", "resting tilt", "its features", "the market's", "gross limit", "limits", "decision")
    order = np.argsort(-np.abs(explanation.decision - explanation.base), kind="stable")
    text = []
    for a in order:
        steps = (explanation.start[a] - explanation.base[a], *moved[:, a], explanation.limited[a])
        values = [f"{explanation.base[a]:.2%}", *(f"{step:+.2%}" for step in steps), f"{explanation.decision[a]:.2%}"]
        text.append((explanation.symbols[a], *values))
    return table(heads, text, column_classes=dict.fromkeys(heads[1:], "number"))
