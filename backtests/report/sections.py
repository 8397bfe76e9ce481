"""Sections as HTML: finding, plot, what it shows and does not, and figures; in a report, or on a page of their own."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from backtests.report.text import texts
from backtests.section import Section
from markets.common.pages import figure_html, plotly_script, table, write_page
from markets.common.words import count

_OPEN = 12  # rows of a table that stand open


def write_sections(sections: Sequence[Section], path: str | Path, title: str) -> Path:
    """Write a self-contained HTML page of sections alone.

    Parameters
    ----------
    sections : sequence of Section
    path : str or Path
        An ``.html`` file.
    title : str

    Returns
    -------
    Path

    Raises
    ------
    InputError
        When the folder does not exist or cannot be written to.
    """
    body = "".join(section_html(section, f"section-{i}") for i, section in enumerate(sections))
    return write_page(path, title, plotly_script() + body)


def section_html(section: Section, name: str) -> str:
    """A section as an HTML element with the identifier `name`; the page holds plotly's script before it."""
    title, finding, shows, does_not_show = map(
        html.escape, (section.title, section.finding, section.shows, section.does_not_show)
    )
    plot = "" if section.table.empty else figure_html(section.draw(), f"plot-{name}")
    return (
        f"<section id={name} class=long><h2>{title}</h2><p><b>{finding}</b></p>{plot}"
        f"<ul class=about><li>It shows: {shows}</li><li>It does not show: {does_not_show}</li></ul>"
        f"{_figures(section.table)}</section>"
    )


def _figures(frame: pd.DataFrame) -> str:
    if frame.empty:
        return ""
    if not isinstance(frame.index, pd.RangeIndex):
        unnamed = frame.index.nlevels == 1 and frame.index.name is None
        frame = frame.rename_axis("") if unnamed else frame
        frame = frame.reset_index()
    shown = table([str(c) for c in frame.columns], texts(frame))
    if len(frame) <= _OPEN:
        return shown
    return f"<details><summary>{count(len(frame), 'row')} of figures</summary>{shown}</details>"
