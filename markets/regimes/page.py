"""HTML page of regimes: live labels, labels in hindsight, and what trading on the latter would seem to earn.

The page is one self-contained file that works without a network.
"""

from __future__ import annotations

import html
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from markets.bars.bars import Bars
from markets.common.pages import figure_html, plotly_script, rows_to_draw, segments_to_draw, table, write_page
from markets.common.statistics import bars_per_year, growth_per_year, max_drawdown, sharpe
from markets.regimes.base import RegimeDetector, RegimePath, market_returns, recovery
from markets.regimes.colours import shade


def look_ahead(bars: Bars, live: RegimePath, others: dict[str, RegimePath]) -> pd.DataFrame:
    """Compare the apparent performance of labels with lookahead to that of live labels.

    All labels are traded by the same simple rule without costs: hold the market over the next bar unless the current label is
    the most volatile regime.

    Parameters
    ----------
    bars : Bars
    live : RegimePath
        From `filter`, for the visible bars.
    others : dict of str to RegimePath
        Labels to compare, by name, with the same regimes.

    Returns
    -------
    DataFrame
        One row for always holding, one for the live labels, one for each of the others. ``switches``: number of changes of
        label. ``agreement``: fraction of bars with the same label as live. ``earlier``: mean number of bars by which a switch
        precedes the live one, over switches that the live labels follow; ``missed``: fraction of switches that they do not
        follow. ``Sharpe`` (annualised), ``growth`` (per year) and ``drawdown`` (largest) of the rule.
    """
    at = bars.sessions  # other bars carry no news: the rule earns from session to session
    returns, per_year = market_returns(bars), bars_per_year(bars.index[at])
    if live.bad is not None:
        returns = np.where(live.bad, np.nan, returns)  # nobody earned a bad price
    returns = returns[at]
    rows: dict[str, dict[str, float]] = {}
    rows["always in the market"] = {"switches": 0} | _rule(returns, np.ones(at.sum(), dtype=bool), per_year)
    for name, path in ({"seen live": live} | others).items():
        rows[name] = {"switches": int((np.diff(path.labels) != 0).sum())}
        if path is not live:
            found = recovery(live.labels, path.labels)
            rows[name] |= {"agreement": found.accuracy, "earlier": found.delay, "missed": found.missed}
        rows[name] |= _rule(returns, path.labels[at] < len(path.names) - 1, per_year)
    return pd.DataFrame(rows).T[["switches", "agreement", "earlier", "missed", "Sharpe", "growth", "drawdown"]]


def _rule(returns: np.ndarray, inside: np.ndarray, per_year: float) -> dict[str, float]:
    """Sharpe ratio (ddof 1, risk-free rate 0), growth and largest drawdown of holding over bar t + 1 if `inside` at t."""
    earned = np.nan_to_num(returns[1:]) * inside[:-1]
    wealth = np.append(1.0, np.cumprod(1 + earned))
    return {
        "Sharpe": sharpe(earned, per_year),
        "growth": growth_per_year(wealth[-1], len(earned) / per_year),
        "drawdown": -max_drawdown(wealth),
    }


def write_regime_page(bars: Bars, past: Bars, detector: RegimeDetector, path: str | Path) -> Path:
    """Write a page with prices over shaded regimes, tables of the regimes, and a comparison of live and hindsight labels.

    Parameters
    ----------
    bars : Bars
        The bars to show.
    past : Bars
        The first part of `bars`, on which `detector` was fitted.
    detector : RegimeDetector
        Must have `hindsight`.
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
    live, after = detector.filter(bars), detector.hindsight(bars)
    rest = bars[len(past) :]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a fit that serves to compare with
        fitted_on_all = type(detector)(**detector.get_params()).fit(bars)
    seen = detector.filter(rest)
    others = {
        "in hindsight": detector.hindsight(rest),
        "in hindsight, fitted on everything": fitted_on_all.hindsight(rest),
    }
    title = f"{bars.name}: regimes, {bars.index[0]:%Y-%m-%d} to {bars.index[-1]:%Y-%m-%d}"
    intro = (
        f"{detector!r}. Fitted on {past.index[0]:%Y-%m-%d} to {past.index[-1]:%Y-%m-%d}, left of the dashed line, and on nothing "
        "later. Top: live labels, computed for each bar from this and earlier bars only. Bottom: labels in hindsight, from the "
        "same fit but using the whole span; nobody could have traded on them."
    )
    curves = plotly_script() + figure_html(_figure(bars, live, after, past.index[-1]), "regimes")
    worth = (
        f"From {rest.index[0]:%Y-%m-%d} on. The rule holds the market over the next bar unless the label is "
        f"“{live.names[-1]}”, without costs. Any advantage of the rows in hindsight is lookahead, not skill."
    )
    known = bars.source.survivorship
    note = f"<p>Survivorship: {html.escape(known)}.</p>" if known else ""
    body = (
        f"<p>{html.escape(intro)}</p>{curves}"
        f"<div class=sides><div><h2>As seen live from {rest.index[0]:%Y-%m-%d} on</h2>{_table(described(seen.table(rest)))}</div>"
        f"<div><h2>Transitions from session to session</h2>{_table(_transitions(seen))}</div></div>"
        f"<h2>What hindsight would have flattered</h2><p>{html.escape(worth)}</p>"
        f"{_table(_look_ahead_text(look_ahead(rest, seen, others)))}{note}"
    )
    return write_page(path, title, body, "p{max-width:900px} .sides{display:flex;flex-wrap:wrap;gap:0 48px}")


def described(table: pd.DataFrame) -> pd.DataFrame:
    """Format `RegimePath.table` as text."""
    text = table.astype(object)
    for column in ("share", "mean", "volatility", "drawdown"):
        text[column] = [_percent(v) for v in table[column]]
    for column in ("bars", "episodes"):
        text[column] = [f"{v:,}" for v in table[column]]
    text["duration"] = [_number(v, 0, " sessions") for v in table["duration"]]
    return text.rename(columns={name: f"{name} per year" for name in ("mean", "volatility")})


def _look_ahead_text(table: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "switches": [_number(v, 0) for v in table["switches"]],
            "agrees with live": [_percent(v) for v in table["agreement"]],
            "switches earlier by": [_number(v, 1, " bars") for v in table["earlier"]],
            "never seen live": [_percent(v) for v in table["missed"]],
            "Sharpe of the rule": [_number(v, 2) for v in table["Sharpe"]],
            "growth per year": [_percent(v) for v in table["growth"]],
            "drawdown": [_percent(v) for v in table["drawdown"]],
        },
        index=table.index,
    )


def _transitions(path: RegimePath) -> pd.DataFrame:
    columns = [f"to {name}" for name in path.names]
    return pd.DataFrame(
        [[_percent(v) for v in row] for row in path.transitions], index=list(path.names), columns=columns
    )


def _percent(value: float) -> str:
    return f"{value:.1%}" if np.isfinite(value) else "–"


def _number(value: float, digits: int, unit: str = "") -> str:
    text = f"{value:,.{digits}f}" if np.isfinite(value) else "–"
    return text if text == "–" else text + (unit.removesuffix("s") if text == "1" else unit)


def _table(text: pd.DataFrame) -> str:
    return table(
        ["", *text.columns], [[str(name), *row] for name, row in zip(text.index, text.to_numpy(), strict=True)]
    )


def _figure(bars: Bars, live: RegimePath, after: RegimePath, fitted: pd.Timestamp) -> go.Figure:
    """Two charts of the price, over live labels and over labels in hindsight."""
    both = {"secondary_y": True}
    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.07, specs=[[both], [both]],
        subplot_titles=("As seen live, bar by bar", "In hindsight, using the whole span"),
    )  # fmt: skip
    if len(bars.symbols) == 1:
        price, name = bars.marks[:, 0], f"{bars.symbols[0]} (log scale)"
    else:
        price, name = np.cumprod(1 + np.nan_to_num(market_returns(bars))), "mean of the symbols (start = 1, log scale)"
    line = {"color": "#1c2733", "width": 1.2}
    shown = rows_to_draw(bars.index, price)
    for row, path in enumerate((live, after), start=1):
        segments = segments_to_draw(path.index, path.labels)
        for k, regime in enumerate(path.names):
            x, y = _towers(path.index, [(first, stop) for first, stop, label in segments if label == k])
            style = {"mode": "lines", "line": {"width": 0}, "fill": "tozeroy", "fillcolor": shade(regime, path.names)}
            figure.add_scatter(
                x=x,
                y=y,
                **style,
                name=regime,
                legendgroup=regime,
                showlegend=row == 1,
                hoverinfo="skip",
                row=row,
                col=1,
            )
        figure.add_scatter(
            x=bars.index[shown], y=price[shown], mode="lines", line=line, name=name, legendgroup="price", showlegend=row == 1,
            row=row, col=1, secondary_y=True,
        )  # fmt: skip
        figure.add_vline(x=fitted, line={"dash": "dash", "width": 1.2, "color": "#5a6a7a"}, row=row, col=1)
    figure.update_yaxes(range=[0, 1], visible=False, fixedrange=True, secondary_y=False)
    figure.update_yaxes(
        type="log", secondary_y=True, side="left", showgrid=False, tickmode="array", tickvals=_ticks(price)
    )
    figure.update_xaxes(showgrid=False, range=[bars.index[0], bars.index[-1]])
    figure.update_layout(
        height=760, template="plotly_white", hovermode="x unified", margin={"l": 48, "r": 12, "t": 40, "b": 30},
        # below the charts, where it may grow; above, it would cover titles and curves on a narrow screen
        legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0},
    )  # fmt: skip
    figure.update_annotations(x=0, xanchor="left", font_size=14)  # in the middle, a title would be cut off on a phone
    return figure


def _towers(index: pd.DatetimeIndex, spans: list[tuple[int, int]]) -> tuple[pd.DatetimeIndex, np.ndarray]:
    """Vertices of a curve that is 1 from the first bar of each span to the first bar after it, and 0 elsewhere."""
    edges = np.array(spans, dtype=np.int64).reshape(-1, 2)
    corners = np.repeat(np.minimum(edges, len(index) - 1), 2, axis=1).ravel()
    return index[corners], np.tile([0, 1, 1, 0], len(edges))


def _ticks(price: np.ndarray) -> list[float]:
    """Axis ticks: 1, 2 and 5 times the powers of ten in the range of the price."""
    low, high = np.nanmin(price), np.nanmax(price)
    powers = np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    return [float(tick) for tick in np.outer(10.0**powers, [1, 2, 5]).ravel() if low / 2 < tick < high * 2]
