"""A page of sections alone."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from backtests.section import Section
from markets.common.pages import table, write_page


def write_sections(sections: Sequence[Section], path: str | Path, title: str) -> Path:
    """Write a self-contained HTML page of sections: finding, plot, table, and what it shows and does not.

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
    return write_page(path, title, "".join(_block(section, k) for k, section in enumerate(sections)))


def _block(section: Section, k: int) -> str:
    text = {name: html.escape(getattr(section, name)) for name in ("title", "finding", "shows", "does_not_show")}
    block = (
        f"<h2>{text['title']}</h2><p><b>{text['finding']}</b></p>"
        f"<ul><li>It shows: {text['shows']}</li><li>It does not show: {text['does_not_show']}</li></ul>"
    )
    if section.table.empty:
        return block
    plot = section.draw().to_html(
        full_html=False,
        include_plotlyjs=k == 0,
        div_id=f"section-{k}",
        config={"displaylogo": False, "responsive": True},
    )
    named = section.table.index.dtype == object or section.table.index.dtype == "str"
    frame = section.table if named else section.table.set_index(section.table.columns[0])
    rows = [[str(name), *map(_cell, row)] for name, row in zip(frame.index, frame.to_numpy(), strict=True)]
    return block + plot + table([str(frame.index.name or ""), *map(str, frame.columns)], rows)


def _cell(value: object) -> str:
    if not isinstance(value, (int, float, np.number)):
        return str(value)
    return "–" if np.isnan(value) else f"{value:,.4g}"
