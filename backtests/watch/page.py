"""The status page of a watch: one HTML file, replaced as a whole, so that whoever looks sees a whole one."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from backtests.results import Backtest
from backtests.watch.journal import Adapted
from backtests.watch.standing import Alarm, Standing
from markets.common.pages import COLOURS, COLUMNS, figure_html, plotly_script, rows_to_draw, table, write_page
from markets.regimes.colours import shade

RELOAD = 60  # seconds after which a page of a running watch loads itself again
SHOWN = 12  # last adaptations in the table
LINES = 100  # last adaptations in the plot
_CHART = {"displayModeBar": False, "scrollZoom": False}
_STYLE = """
td,th{text-align:left} .number{text-align:right} .alarm td,p.alarm{color:light-dark(#c92a2a,#ff8787);font-weight:600}
.facts{display:flex;flex-wrap:wrap;gap:12px 36px;margin:12px 0} .facts div{min-width:110px}
.facts b{display:block;font-size:1.35em;font-weight:600} .figure{height:320px} .low{height:180px}
"""


def write_status(standing: Standing, path: str | Path, title: str, *, live: bool = False) -> Path:
    """Write the status page of a watch, atomically.

    Parameters
    ----------
    standing : Standing
    path : str or Path
    title : str
    live : bool
        Whether the watch is running, so that the page loads itself again every minute.

    Raises
    ------
    InputError
        When the folder does not exist or cannot be written to.
    """
    reload = f"<script>setTimeout(()=>location.reload(),{RELOAD * 1000})</script>" if live else ""
    parts = [plotly_script(), _facts(standing), _growth(standing), _alarms(standing.alarms), _positions(standing)]
    if standing.journal.decided[-1].belief:
        parts.append(_regimes(standing))
    return write_page(path, title, "".join([*parts, _adaptations(standing), reload]), _STYLE)


def _facts(standing: Standing) -> str:
    """The figures that matter most, and a warning for each alarm."""
    account, last = standing.account, standing.journal.decided[-1]
    facts = [
        ("last bar", _time(account.index[-1])),
        ("gained since the start", f"{account.equity[-1] / account.equity[0] - 1:+.1%}"),
        ("regret to its unadapted self", f"{standing.regret(standing.unadapted):+.1%}"),
        (f"regret to the best, {standing.best.name}", f"{standing.regret(standing.best):+.1%}"),
        ("regime", f"{last.regime}, {last.belief[last.regime]:.0%}" if last.regime else "not asked"),
        ("alarms", ", ".join(a.name for a in standing.alarms if a.since is not None) or "none"),
    ]
    note = f"<p class=alarm>No decision: {html.escape(last.note)}</p>" if last.note else ""
    shown = "".join(f"<div>{html.escape(name)}<b>{html.escape(value)}</b></div>" for name, value in facts)
    return f"<div class=facts>{shown}</div>{note}"


def _growth(standing: Standing) -> str:
    """The account beside its unadapted self and the best of all, within what the backtest lets expect."""
    figure, index = go.Figure(), standing.account.index
    if standing.promise is not None and len(index) > 1:
        rows = np.unique(np.linspace(0, len(index) - 1, COLUMNS).round().astype(int))
        low, middle, high = standing.promise.band(rows)
        for values, fill, name in ((low, None, ""), (high, "tonexty", "9 of 10 paths like the backtest")):
            figure.add_scatter(
                x=index[rows], y=values, fill=fill, fillcolor="rgba(84,99,111,.15)", line={"width": 0}, name=name,
                showlegend=bool(name), hoverinfo="skip", mode="lines",
            )  # fmt: skip
        figure.add_scatter(
            x=index[rows], y=middle, name="median path", line={"color": "#868e96", "dash": "dot", "width": 1}
        )
    shown: list[tuple[Backtest, str]] = [(standing.account, "account"), (standing.unadapted, "unadapted")]
    if standing.best is not standing.unadapted:
        shown.append((standing.best, standing.best.name))
    for (backtest, name), colour in [*zip(shown, COLOURS, strict=False)][::-1]:  # the account last, above the others
        growth = backtest.equity / backtest.equity[0] - 1
        rows = rows_to_draw(index, growth)
        figure.add_scatter(x=index[rows], y=growth[rows], name=name, line={"color": colour, "width": 1.8})
    dashed = {
        "type": "line",
        "yref": "paper",
        "y0": 0,
        "y1": 1,
        "line": {"color": "#868e96", "width": 1, "dash": "dash"},
    }
    times = [pd.Timestamp(record.bar) for record in standing.journal.adapted[1:][-LINES:]]
    figure.update_layout(
        shapes=[dashed | {"x0": time, "x1": time} for time in times],
        height=320, margin={"l": 50, "r": 10, "t": 10, "b": 30}, yaxis_tickformat="+.0%", hovermode="x unified",
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"},
    )  # fmt: skip
    promise = "" if standing.promise else " There were too few bars before it for a backtest to compare with."
    chosen = standing.bars.source.survivorship
    caveat = html.escape(f" Survivorship: {chosen}.") if chosen else ""
    most = f" the last {LINES}" if len(standing.journal.adapted) > LINES + 1 else ""
    text = f"<p>Paper account, net of costs. Dashed lines are{most} adaptations.{promise}{caveat}</p>"
    return f"<h2>Gain</h2>{text}{figure_html(figure, 'growth', **_CHART)}"


def _alarms(alarms: Sequence[Alarm]) -> str:
    if not alarms:
        return ""
    rows = [
        (a.name, f"{a.value:.2f}", f"{a.limit:.0f}", "none" if a.since is None else _time(a.since), a.sentence)
        for a in alarms
    ]
    classes = ["alarm" if a.since is not None else "" for a in alarms]
    text = (
        "<p>Alarms on returns are valid whenever one looks: one is ever given falsely with at most 5 % probability. "
        "Features are a gauge, and promise none.</p>"
    )
    return f"<h2>Alarms</h2>{text}" + table(
        ("alarm", "value", "limit", "since", "what it says"), rows, row_classes=classes,
        column_classes={"value": "number", "limit": "number"},
    )  # fmt: skip


def _positions(standing: Standing) -> str:
    """What is wanted for the next bar, and what is held."""
    plan, held = standing.account.plan, standing.account.weights[-1]
    aim, band = plan.aim[-1], plan.part("band")[-1]
    order = np.argsort(-np.maximum(np.abs(aim), np.abs(held)), kind="stable")
    rows = [
        (standing.bars.symbols[a], f"{held[a]:+.2%}", f"{aim[a]:+.2%}", _width(band[a]))
        for a in order
        if aim[a] or held[a]
    ]
    cash = ("in cash", f"{1 - held.sum():+.2%}", f"{1 - aim.sum():+.2%}", "")
    heads = ("symbol", "held", "wanted", "left alone within")
    return "<h2>Positions</h2>" + table(heads, [*rows, cash], column_classes=dict.fromkeys(heads[1:], "number"))


def _regimes(standing: Standing) -> str:
    decided, index = standing.journal.decided, standing.account.index
    names = tuple(decided[-1].belief)
    figure = go.Figure()
    values = {name: np.array([record.belief.get(name, np.nan) for record in decided]) for name in names}
    # curves that are stacked share their rows
    rows = np.unique(np.concatenate([rows_to_draw(index, values[name]) for name in names]))
    for name in names:
        figure.add_scatter(
            x=index[rows], y=values[name][rows], name=name, stackgroup="all", line={"width": 0}, fillcolor=shade(name, names),
            mode="lines",
        )  # fmt: skip
    figure.update_layout(
        height=180, margin={"l": 50, "r": 10, "t": 10, "b": 30}, yaxis={"range": [0, 1], "tickformat": ".0%"},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"}, hovermode="x unified",
    )  # fmt: skip
    chart = figure_html(figure, "regimes", **_CHART).replace("class=figure", "class='figure low'", 1)
    return f"<h2>Regimes</h2><p>Probability of each, by what was known at the bar.</p>{chart}"


def _adaptations(standing: Standing) -> str:
    """The last adaptations, the latest first."""
    journal = standing.journal
    rows = [_row(record, standing, journal.offered.get(record.bar, "")) for record in journal.adapted[::-1][:SHOWN]]
    heads = ("bar", "why", "changed most", "account since the one before", "unadapted", "what became of it")
    count = f"{len(journal.adapted)} in all" + (f", the last {SHOWN}" if len(journal.adapted) > SHOWN else "")
    return f"<h2>Adaptations</h2><p>{count}.</p>" + table(
        heads, rows, column_classes=dict.fromkeys(heads[3:5], "number")
    )


def _row(record: Adapted, standing: Standing, outcome: str) -> tuple[str, ...]:
    changed = "the first"
    if record.aim_before is not None:
        difference = np.subtract(record.aim_after, record.aim_before)
        most = int(np.abs(difference).argmax())
        symbol, before, after = standing.bars.symbols[most], record.aim_before[most], record.aim_after[most]
        changed = f"{symbol} {before:+.1%} → {after:+.1%}" if difference[most] else "nothing"
    gains = ("" if gain is None else f"{gain:+.1%}" for gain in (record.growth, record.unadapted))
    return (_time(pd.Timestamp(record.bar)), record.why, changed, *gains, outcome)


def _width(band: float) -> str:
    return "always" if np.isinf(band) else f"±{band:.2%}" if band else ""


def _time(time: pd.Timestamp) -> str:
    return f"{time:%Y-%m-%d}" if time == time.normalize() else f"{time:%Y-%m-%d %H:%M}"


def lines(standing: Standing) -> Iterator[str]:
    """The same in sentences, for the terminal."""
    shown = (standing.account, standing.unadapted, standing.best)
    gained, unadapted, best = (f"{b.equity[-1] / b.equity[0] - 1:+.1%}" for b in shown)
    yield (
        f"Since {_time(standing.account.index[0])} the account has gained {gained}; unadapted it would have gained {unadapted}, "
        f"and the best beside it, {standing.best.name}, {best}."
    )
    for alarm in standing.alarms:
        if alarm.since is not None:
            yield f"Alarm since {_time(alarm.since)} ({alarm.name}): {alarm.sentence}."
