"""Self-contained HTML pages of one look: what reports of data, regimes and backtests share."""

from __future__ import annotations

import html
import os
from pathlib import Path

from markets.common.errors import InputError

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#1c2733;max-width:1180px;margin:24px auto;padding:0 16px}
h1{font-size:24px;margin:0 0 4px} h2{font-size:18px;margin:28px 0 4px} .about{color:#5a6a7a;margin:0 0 16px}
table{border-collapse:collapse;margin:16px 0;font-variant-numeric:tabular-nums} ul{color:#33414f}
th,td{padding:6px 10px;text-align:right;border-bottom:1px solid #e3e8ee} th:first-child,td:first-child{text-align:left}
thead th{border-bottom:2px solid #9aa8b6} .wide{overflow-x:auto} .wide table{width:100%}
"""


def write_page(path: str | Path, title: str, body: str, style: str = "") -> Path:
    """Write a page in one move, so that nobody reads half of it.

    Parameters
    ----------
    path : str or Path
    title : str
        Text; also the heading.
    body : str
        HTML below the heading.
    style : str
        CSS besides the common one.

    Raises
    ------
    InputError
        When the folder is not there or cannot be written to.
    """
    path, title = Path(path), html.escape(title)
    page = (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{_STYLE}{style}</style>"
        f"<h1>{title}</h1>{body}"
    )
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(page, encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        raise InputError(f"{path}: the page cannot be written ({error.strerror}); choose another place") from None
    return path
