"""HTML page of a quality report: one self-contained file that works without a network."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from markets.bars.bars import Bars
from markets.common.pages import figure_html, plotly_script, table, write_page
from markets.quality.findings import Finding, counted, first_cells, when

_HEADS = ("symbol", "kind", "severity", "first", "last", "count", "detail")
_PANELS = 12  # maximum number of symbols with a chart: those with the worst findings
_POINTS = 2000  # maximum number of points of a curve, without the marks
_ROWS, _COLUMNS = 60, 240  # maximum size of the heat map
# Marker and colour of each kind of finding in the price charts.
_MARKS = {
    "split": ("diamond", "#b5179e"),
    "spike": ("triangle-up", "#d62828"),
    "outlier": ("circle-open", "#e67700"),
    "out of line": ("x", "#d62828"),
    "stale": ("line-ew-open", "#1864ab"),
    "zero volume": ("square-open", "#5c940d"),
    "gap": ("cross-thin-open", "#868e96"),
    "late listing": ("triangle-right-open", "#495057"),
    "early end": ("triangle-left-open", "#495057"),
    "partial bar": ("hexagon-open", "#868e96"),
}
_STYLE = """
th,td{text-align:left;vertical-align:top} td:last-child{min-width:260px} .number{text-align:right} .time{white-space:nowrap}
.error td:nth-child(3){color:light-dark(#c92a2a,#ff8787);font-weight:600}
.warning td:nth-child(3){color:light-dark(#d9480f,#ffa94d)} .note td:nth-child(3){color:var(--soft)}
"""


def write_quality_page(
    bars: Bars,
    findings: Sequence[Finding],
    facts: Mapping[str, str],
    missing: pd.DatetimeIndex,
    path: str | Path,
    cells: Sequence[str] = (),
) -> Path:
    """Write a page with facts, a table of findings, price charts with the findings marked, and a heat map of missing bars.

    Parameters
    ----------
    bars, findings, facts, missing, cells
        See `markets.quality.QualityReport`.
    path : str or Path
        An ``.html`` file, written atomically.

    Returns
    -------
    Path

    Raises
    ------
    InputError
        When the folder does not exist or cannot be written to.
    """
    title = f"{bars.name}: quality of the data"
    intro = (
        f"{len(bars):,} bars of {len(bars.symbols):,} symbol{'s' if len(bars.symbols) > 1 else ''}, "
        f"{bars.index[0]:%Y-%m-%d} to {bars.index[-1]:%Y-%m-%d}: {counted(findings)}."
    )
    listed = "".join(f"<li>{html.escape(f'{name}: {fact}')}</li>" for name, fact in facts.items())
    shown = worst_symbols(bars, findings)
    prices = plotly_script() + figure_html(_prices(bars, findings, shown), "prices", displayModeBar=False)
    holes = figure_html(_missing(bars, findings, missing), "missing", displayModeBar=False)
    rest = len(bars.symbols) - len(shown)
    left_out = f" {rest:,} further symbols are not shown." if rest else ""
    places = "".join(f"<li>{html.escape(cell)}</li>" for cell in first_cells(cells))
    wrong = f"<h2>Wrong cells</h2><ul>{places}</ul>" if places else ""
    body = (
        f"<p class=about>{html.escape(intro)}</p><ul>{listed}</ul>{_table(findings)}{wrong}"
        f"<h2>Closes with findings marked</h2><p class=about>Worst first, on a log scale.{left_out}</p>{prices}"
        f"<h2>Missing bars</h2><p class=about>Fraction of bars that a symbol lacks, over time. The top row is the fraction of "
        f"the calendar's sessions without any bar. White where a symbol was not listed, and where no symbol has a bar."
        f"</p>{holes}"
    )
    return write_page(path, title, body, _STYLE)


def worst_symbols(bars: Bars, findings: Sequence[Finding]) -> list[str]:
    """Symbols to draw, at most `_PANELS`: those with findings first, the worst at the top."""
    found = list(dict.fromkeys(f.symbol for f in findings if f.symbol in bars.symbols))
    return [*found, *(s for s in bars.symbols if s not in set(found))][:_PANELS]


def _table(findings: Sequence[Finding]) -> str:
    if not findings:
        return "<p>No findings.</p>"
    rows = [[f.symbol, f.kind, f.severity, when(f.first), when(f.last), f"{f.count:,}", f.detail] for f in findings]
    classes = {"count": "number", "first": "time", "last": "time"}
    return table(_HEADS, rows, row_classes=[f.severity for f in findings], column_classes=classes)


def _prices(bars: Bars, findings: Sequence[Finding], symbols: list[str]) -> go.Figure:
    columns = 1 if len(symbols) == 1 else 2
    lines = -(-len(symbols) // columns)
    figure = make_subplots(
        rows=lines, cols=columns, subplot_titles=symbols, shared_xaxes="all",
        vertical_spacing=0.28 / (lines + 1), horizontal_spacing=0.06,
    )  # fmt: skip
    shown: set[str] = set()
    for i, symbol in enumerate(symbols):
        place = {"row": i // columns + 1, "col": i % columns + 1}
        column = bars.symbols.index(symbol)
        close = bars.close[:, column]
        marks = pd.Series(close).ffill().to_numpy()  # height at which gaps are marked
        rows = thinned(close, _POINTS)
        figure.add_scatter(
            x=bars.index[rows], y=close[rows], mode="lines", line={"width": 1, "color": "#495057"}, showlegend=False,
            hovertemplate="%{x}<br>%{y:.6g}<extra></extra>", **place,
        )  # fmt: skip
        for finding in findings:
            if finding.symbol != symbol or finding.kind not in _MARKS:
                continue
            shape, colour = _MARKS[finding.kind]
            at = finding.rows[np.linspace(0, len(finding.rows) - 1, min(len(finding.rows), _POINTS)).astype(int)]
            # A run is drawn as a line from its first to its last bar, a single bar as a marker.
            x = np.column_stack([at, np.full(len(at), -1)]).ravel()
            y = np.where(x >= 0, marks[x], np.nan)
            figure.add_scatter(
                x=bars.index[np.maximum(x, 0)], y=y, mode="lines+markers", line={"width": 4, "color": colour},
                marker={"symbol": shape, "size": 9, "color": colour, "line": {"width": 2, "color": colour}},
                name=finding.kind, legendgroup=finding.kind, showlegend=finding.kind not in shown,
                hovertemplate=f"%{{x}}<br>{finding.detail}<extra>{finding.kind}</extra>", **place,
            )  # fmt: skip
            shown.add(finding.kind)
    figure.update_yaxes(type="log", nticks=5)
    figure.update_layout(
        height=90 + 230 * lines, template="plotly_white", margin={"l": 50, "r": 20, "t": 60, "b": 30},
        legend={"orientation": "h", "y": 1 + 40 / (230 * lines), "x": 0, "yanchor": "bottom"},
    )  # fmt: skip
    return figure


def thinned(values: np.ndarray, most: int) -> np.ndarray:
    """Rows to plot so that a curve looks the same: the lowest and the highest value in each of ``most / 2`` intervals.

    An interval that is all gap remains a gap.
    """
    if len(values) <= most:
        return np.arange(len(values))
    edges = np.linspace(0, len(values), most // 2 + 1).astype(int)
    keep = [0, len(values) - 1]
    for first, last in pairwise(edges):
        part = values[first:last]
        if np.isnan(part).all():
            keep.append(first)
        else:
            keep += [first + int(np.nanargmin(part)), first + int(np.nanargmax(part))]
    return np.unique(keep)


def _missing(bars: Bars, findings: Sequence[Finding], missing: pd.DatetimeIndex) -> go.Figure:
    local = bars.index.tz_localize(None)
    gaps = [f.symbol for f in findings if f.kind == "gap"]
    symbols = [*gaps, *(s for s in bars.symbols if s not in set(gaps))][:_ROWS]
    edges = pd.date_range(local[0], local[-1], periods=min(_COLUMNS, len(bars)) + 1)
    bucket = np.clip(edges.searchsorted(local, side="right") - 1, 0, len(edges) - 2)
    share = np.full((len(symbols) + 1, len(edges) - 1), np.nan)
    for i, symbol in enumerate(symbols):
        column = bars.close[:, bars.symbols.index(symbol)]
        there = np.flatnonzero(np.isfinite(column))
        if len(there):
            life = slice(there[0], there[-1] + 1)
            bars_in = np.bincount(bucket[life], minlength=len(edges) - 1)
            gaps_in = np.bincount(bucket[life], weights=np.isnan(column[life]), minlength=len(edges) - 1)
            share[i] = np.where(bars_in > 0, gaps_in / np.maximum(bars_in, 1), np.nan)
    lost = np.bincount(
        np.clip(edges.searchsorted(missing, side="right") - 1, 0, len(edges) - 2), minlength=len(edges) - 1
    )
    days = np.bincount(bucket[np.flatnonzero(np.diff(local.normalize().asi8, prepend=-1))], minlength=len(edges) - 1)
    share[-1] = np.where(lost + days > 0, lost / np.maximum(lost + days, 1), np.nan)
    figure = go.Figure(
        go.Heatmap(
            x=edges[:-1], y=[*symbols, "(calendar)"], z=share, zmin=0, zmax=1, colorbar={"tickformat": ".0%"},
            colorscale=[[0, "#dbe9f4"], [0.001, "#ffd8a8"], [1, "#c92a2a"]],
            hovertemplate="%{y}, from %{x}<br>%{z:.0%} missing<extra></extra>",
        )
    )  # fmt: skip
    figure.update_layout(
        height=120 + 22 * (len(symbols) + 1), template="plotly_white", margin={"l": 90, "r": 20, "t": 20, "b": 40}
    )
    figure.update_yaxes(type="category")
    return figure
