"""The backtest report: one self-contained HTML file that works offline, on a phone, in the dark and on paper."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from backtests.report.configuration import configuration
from backtests.report.content import content
from backtests.report.parts import plots_and_tables, switched_table
from backtests.report.remarks import remarks
from backtests.report.sections import section_html
from backtests.report.tables import short_table, strategies_table
from backtests.results import Backtests
from backtests.section import Judged, Section
from markets.common.pages import plotly_script, write_page
from markets.common.words import count
from markets.regimes.colours import shade

_ASSETS = Path(__file__).with_name("assets")
_SCRIPTS = ("read.js", "plots.js", "switch.js")
_CONTENTS = {
    "equity": "Equity", "rolling": "Rolling", "weights": "Weights", "trades": "Trades", "turnover": "Costs",
    "months": "Months", "distribution": "Distribution", "drawdowns": "Drawdowns", "events": "Events", "regimes": "Regimes",
}  # fmt: skip


def write_report(
    result: Backtests,
    path: str | Path,
    title: str | None = None,
    notes: Iterable[str] = (),
    sections: Sequence[Section] = (),
    verdict: Judged | None = None,
) -> Path:
    """Write a page on a result: verdict and table, plots and tables of a strategy chosen on the page, sections, configuration.

    Parameters
    ----------
    result : Backtests
    path : str or Path
        An ``.html`` file.
    title : str, optional
        By default the name and span of the bars.
    notes : iterable of str
        Remarks, listed under the table.
    sections : sequence of Section
        Further questions, such as those of `backtests.robustness`.
    verdict : Judged, optional
        Of `backtests.significance.verdict`: its sentences stand in the table, and its figures in a section.

    Returns
    -------
    Path

    Raises
    ------
    InputError
        When the folder does not exist or cannot be written to.
    """
    bars = result.bars
    title = title or f"{bars.name}: {bars.index[0]:%Y-%m-%d} to {bars.index[-1]:%Y-%m-%d}"
    asked = [*sections, *([verdict.section()] if verdict is not None else [])]
    places = {f"section-{i}": section for i, section in enumerate(asked)}
    links = _CONTENTS | {name: section.title for name, section in places.items()} | {"configuration": "Configuration"}
    body = (
        f"<p class=about>{html.escape(_introduction(result))}</p>{_bar(result, links)}{_verdict(result, notes, verdict)}"
        f"{plotly_script()}{plots_and_tables(result)}"
        f"{''.join(section_html(section, name) for name, section in places.items())}"
        f"{switched_table('folds', result)}{_configuration(result)}{_script(result, verdict)}"
    )
    return write_page(path, title, body, _asset("report.css"))


def _introduction(result: Backtests) -> str:
    bars, costs, gross = result.bars, result.costs, result.execution.gross
    parts = [f"costs of {costs.buy_side:.2%} per side"] if costs.buy_side else []
    if costs.quoted:
        parts.append(f"{'half' if costs.quoted == 1 else f'{costs.quoted / 2:g} of'} the quoted spread per side")
    charged = " and ".join(parts) or "no costs"
    leverage = f", gross weight up to {gross:g}" if gross != 1 else ""
    return (
        f"{count(len(bars), 'bar')} of {count(len(bars.symbols), 'symbol')}, {charged}{leverage}, adapted every "
        f"{count(result.every, 'bar')}. Net of all costs."
    )


def _bar(result: Backtests, links: dict[str, str]) -> str:
    """The contents, and the bar of switches that stays in sight."""
    options = "".join(f"<option value={k}>{html.escape(b.name)}</option>" for k, b in enumerate(result))
    zoom = "".join(f"<button data-years={n}>{f'{n} y' if n else 'all'}</button>" for n in (1, 5, 10, 0))
    contents = " ".join(f"<a href='#{name}'>{html.escape(text)}</a>" for name, text in links.items())
    return (
        f"<nav>{contents}</nav><div id=bar><label><i class=key></i>strategy <select id=chosen>{options}</select></label>"
        f"<label><i class='key dashed'></i>against <select id=benchmark>{options}</select></label>"
        f"<span class=zoom>{zoom}</span></div>"
    )


def _verdict(result: Backtests, notes: Iterable[str], verdict: Judged | None) -> str:
    """The finding, the table, and the remarks to be read beside it."""
    sentences = [html.escape(note) for note in (*remarks(result.backtests), *notes)]
    if result.bars.source.survivorship:
        sentences.append(html.escape(f"Survivorship: {result.bars.source.survivorship}."))
    if result.regimes is not None:
        names = result.regimes.names
        swatches = [f"<span class=swatch style='background:{shade(n, names)}'>{html.escape(n)}</span>" for n in names]
        sentences.append(f"Shaded: regimes as they were seen live, {', '.join(swatches)}.")
    listed = "".join(f"<li>{sentence}</li>" for sentence in sentences)
    found = "" if verdict is None else f"<p class=finding>{html.escape(verdict.finding)}</p>"
    return (
        f"{found}<p id=verdict></p>{short_table(result, verdict)}<ul>{listed}</ul>"
        f"<details class=all><summary>All metrics of all strategies</summary>{strategies_table(result, None)}</details>"
    )


def _configuration(result: Backtests) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td class=value>{html.escape(value)}</td></tr>"
        for name, value in configuration(result)
    )
    return (
        "<section id=configuration class=long><h2>Data and configuration</h2><p class=about>What it takes to compute the "
        f"same figures again.</p><table>{rows}</table></section>"
    )


def _script(result: Backtests, verdict: Judged | None) -> str:
    held = json.dumps(content(result, verdict), separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
    code = "".join(_asset(name) for name in _SCRIPTS)
    return f"<script type=application/json id=payload>{held}</script><script>{{{code}}}</script>"


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")
