"""Self-contained HTML pages with a common style, for the reports on data, regimes and backtests."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from markets.common.errors import InputError
from markets.common.files import replacing

if TYPE_CHECKING:
    import plotly.graph_objects as go

# Columns of pixels that a curve may fill: more than a wide screen has, so that a page also looks right when zoomed in a little.
COLUMNS = 2000
# Of curves, in their order: those of Okabe and Ito that are dark enough for white, which the colour-blind tell apart too.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#54636f")
_ASSETS = Path(__file__).with_name("assets")


def write_page(path: str | Path, title: str, body: str, style: str = "") -> Path:
    """Write an HTML page atomically.

    Parameters
    ----------
    path : str or Path
    title : str
        Plain text, also used as the heading.
    body : str
        HTML below the heading.
    style : str
        CSS in addition to the common style.

    Returns
    -------
    Path

    Raises
    ------
    InputError
        When the folder does not exist or cannot be written to.
    """
    path, title = Path(path), html.escape(title)
    page = (
        f"<!doctype html><html lang=en><meta charset=utf-8>"
        f"<meta name=viewport content='width=device-width,initial-scale=1'><title>{title}</title>"
        f"<style>{_asset('page.css')}{style}</style><script>{_asset('theme.js')}</script>"
        "<button id=theme title='light or dark' aria-label='light or dark'>◐</button>"
        f"<h1>{title}</h1>{body}"
    )
    try:
        with replacing(path) as beside:
            beside.write_text(page, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: the page cannot be written ({error.strerror}); choose another path") from None
    return path


def plotly_script() -> str:
    """The script element that draws figures, for a page to hold once, before the first of them.

    It is plotly.js' bundle of Cartesian charts (MIT licence, beside it), a third of the size of all charts.
    """
    return f"<script>{_asset('plotly-cartesian.min.js')}</script>"


def figure_html(figure: go.Figure, name: str, **config: Any) -> str:
    """The element that a figure is drawn into, and the script that draws it; the page holds `plotly_script` before it.

    Parameters
    ----------
    figure : plotly Figure
    name : str
        Identifier of the element.
    config
        Options of plotly.js, such as ``displayModeBar``.
    """
    clear = "rgba(0,0,0,0)"  # so that it lies on the page's ground
    figure.update_layout(
        template="plotly_white", paper_bgcolor=clear, plot_bgcolor=clear, modebar_bgcolor=clear, colorway=COLOURS
    )
    # without the button that would send the data to plotly's servers
    options = {"displaylogo": False, "responsive": True, "modeBarButtonsToRemove": ["sendChartToCloud"]} | config
    element = figure.to_html(full_html=False, include_plotlyjs=False, div_id=name, config=options)
    return f"<div class=figure>{element}</div>"


@cache
def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


def table(
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    titles: Mapping[str, str] | None = None,
    row_classes: Iterable[str] | None = None,
    column_classes: Mapping[str, str] | None = None,
) -> str:
    """Format a table as HTML. All text is escaped, and on narrow screens the table scrolls sideways.

    Parameters
    ----------
    heads : sequence of str
        Column heads.
    rows : iterable of sequence of str
        One text per column.
    titles : dict of str to str, optional
        Tooltip of each head.
    row_classes : iterable of str, optional
        CSS class of each row.
    column_classes : dict of str to str, optional
        CSS class of the cells below each head.

    Returns
    -------
    str
    """
    columns = column_classes or {}

    def tag(name: str, text: str, kind: str, title: str = "") -> str:
        marks = (f' class="{kind}"' if kind else "") + (f' title="{html.escape(title)}"' if title else "")
        return f"<{name}{marks}>{html.escape(text)}</{name}>"

    head = "".join(tag("th", h, columns.get(h, ""), (titles or {}).get(h, "")) for h in heads)
    rows = list(rows)
    body = "".join(
        f"<tr{f' class={kind}' if kind else ''}>"
        + "".join(tag("td", cell, columns.get(h, "")) for h, cell in zip(heads, row, strict=True))
        + "</tr>"
        for kind, row in zip(row_classes or [""] * len(rows), rows, strict=True)
    )
    return f"<div class=wide><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def rows_to_draw(index: pd.DatetimeIndex, values: np.ndarray, columns: int = COLUMNS) -> np.ndarray:
    """Rows of a curve that a screen can show: the first, lowest, highest and last of each column of pixels.

    Drawn as lines, they fill the same pixels as the whole curve (M4: Jugel et al., "M4: a visualization-oriented time series data
    aggregation", VLDB 2014). Only what is drawn may use them; figures are computed from all bars.

    Parameters
    ----------
    index : DatetimeIndex of shape (T,)
    values : ndarray of shape (T,)
        NaN where the curve has a gap.
    columns : int
        Number of columns, each an equal part of the time from the first bar to the last.

    Returns
    -------
    ndarray of int
        Ascending positions, at most ``4 * columns``; all of them if there are no more bars than that. A column without any value
        keeps one NaN, so that the gap stays a gap.
    """
    if len(values) <= 4 * columns:
        return np.arange(len(values))
    column = _columns(index, columns)
    seen = np.isfinite(values)
    starts = np.flatnonzero(np.diff(column, prepend=-1))
    place = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(values)))
    low, high = (f.reduceat(values, starts)[place] for f in (np.fmin, np.fmax))
    last = len(values) - 1 - _first_of_each(seen[::-1], column[::-1])
    kept = [_first_of_each(rows, column) for rows in (seen, values == low, values == high, np.isnan(low))]
    return np.unique(np.concatenate([last, *kept]))


def segments_to_draw(index: pd.DatetimeIndex, labels: np.ndarray, most: int = COLUMNS) -> list[tuple[int, int, int]]:
    """Runs of one label that a screen can show, to be shaded behind curves.

    Parameters
    ----------
    index : DatetimeIndex of shape (T,)
    labels : ndarray of int, shape (T,)
        At least 0.
    most : int
        Maximum number of segments. If there are more runs, the time is cut into so many columns, and each is shown as the label
        of most of its bars.

    Returns
    -------
    list of (int, int, int)
        First row, row after the last, and label; neighbours have different labels, and together they cover all rows.
    """
    starts = np.flatnonzero(np.diff(labels, prepend=-1))
    if len(starts) > most:
        column = _columns(index, most)
        counts = np.zeros((most, int(labels.max()) + 1), dtype=np.int64)
        np.add.at(counts, (column, labels), 1)
        labels = counts.argmax(axis=1)[column]
        starts = np.flatnonzero(np.diff(labels, prepend=-1))
    edges = np.append(starts, len(labels)) if len(labels) else starts
    return [(int(first), int(stop), int(labels[first])) for first, stop in pairwise(edges)]


def _columns(index: pd.DatetimeIndex, columns: int) -> np.ndarray:
    """Column of each bar, ascending integers from 0 to ``columns - 1``; all columns are equally long in time."""
    since = (index - index[0]) / max(index[-1] - index[0], pd.Timedelta(1, "ns"))
    return np.minimum((np.asarray(since) * columns).astype(np.int64), columns - 1)


def _first_of_each(chosen: np.ndarray, column: np.ndarray) -> np.ndarray:
    """The first chosen row of each column that has one; `column` is sorted, in either direction."""
    rows = np.flatnonzero(chosen)
    return rows[np.flatnonzero(np.diff(column[rows], prepend=-1))]
