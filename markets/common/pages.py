"""Self-contained HTML pages with a common style, for the reports on data, regimes and backtests."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from markets.common.errors import InputError
from markets.common.files import replacing

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#1c2733;max-width:1180px;margin:24px auto;padding:0 16px}
h1{font-size:24px;margin:0 0 4px} h2{font-size:18px;margin:28px 0 4px} .about{color:#5a6a7a;margin:0 0 16px}
table{border-collapse:collapse;margin:16px 0;font-variant-numeric:tabular-nums} ul{color:#33414f}
th,td{padding:6px 10px;text-align:right;border-bottom:1px solid #e3e8ee} th:first-child,td:first-child{text-align:left}
thead th{border-bottom:2px solid #9aa8b6} .wide{overflow-x:auto} .wide table{width:100%}
"""


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
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{_STYLE}{style}</style>"
        f"<h1>{title}</h1>{body}"
    )
    try:
        with replacing(path) as beside:
            beside.write_text(page, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: the page cannot be written ({error.strerror}); choose another path") from None
    return path


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
