"""A page of sections alone, for `regimeshift sweep`."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from backtests.metrics import METRICS, formatted
from backtests.section import Section
from markets.common.pages import table, write_page


def write_sections(sections: Sequence[Section], path: str | Path, title: str) -> Path:
    """Write a self-contained HTML page of sections: finding, plot, what it shows and does not, and figures.

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
    return write_page(path, title, "".join(_block(section, i) for i, section in enumerate(sections)))


def _block(section: Section, i: int) -> str:
    texts = {name: html.escape(getattr(section, name)) for name in ("title", "finding", "shows", "does_not_show")}
    plot = section.draw().to_html(
        full_html=False, include_plotlyjs=i == 0, div_id=f"plot-{i}", config={"displaylogo": False, "responsive": True}
    )
    frame = section.table.reset_index()
    rows = zip(*(_texts(frame[column], str(column)) for column in frame), strict=True)
    return (
        f"<h2>{texts['title']}</h2><p><b>{texts['finding']}</b></p>{plot}"
        f"<ul class=about><li>It shows: {texts['shows']}</li><li>It does not show: {texts['does_not_show']}</li></ul>"
        f"{table([str(column) for column in frame], [list(row) for row in rows])}"
    )


def _texts(values: pd.Series, name: str) -> list[str]:
    """A column as text: metrics as in every table, other figures to four digits."""
    if name in METRICS:
        return formatted(values.to_frame())[name].tolist()
    if isinstance(values.dtype, pd.DatetimeTZDtype) or values.dtype.kind == "M":
        return values.dt.strftime("%Y-%m-%d").tolist()
    if values.dtype.kind == "b":
        return ["yes" if value else "no" for value in values]
    return [f"{value:.4g}" if isinstance(value, float) else str(value) for value in values]
