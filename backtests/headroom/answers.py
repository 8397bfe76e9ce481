"""The answers of `headroom` in words, each with its figures and a plot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from backtests.headroom.folded import Range
from backtests.headroom.headroom import Headroom
from backtests.headroom.reached import Reached
from backtests.headroom.traders import CONSTANT, FILTERS, KNOWN, LEARNS, TRADERS
from backtests.section import Section
from markets.common.statistics import years
from markets.common.words import count

if TYPE_CHECKING:
    import plotly.graph_objects as go


def sections(found: Headroom, reached: Reached | None = None) -> list[Section]:
    """Sections on the most that adapting can bring, what a learner reaches of it, the years that show it, and the markets."""
    learner = [] if reached is None else [_reached(reached)]
    return [_ladder(found), *learner, _years(found), _markets(found)]


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """The ladder as text: each figure with its interval."""
    return pd.DataFrame(
        {
            "certainty equivalent": [
                f"{v:.1%} [{low:.1%}, {high:.1%}]" for v, low, high in table.iloc[:, :3].itertuples(index=False)
            ],
            "Sharpe ratio": [
                f"{v:.2f} [{low:.2f}, {high:.2f}]" for v, low, high in table.iloc[:, 3:6].itertuples(index=False)
            ],
            "turnover per year": [f"{v:.1f}x" for v in table["turnover"]],
        },
        index=table.index,
    )


def percent(value: float) -> str:
    """A rate per year."""
    return f"{value:+.2%}" if abs(value) >= 5e-5 else "0"


def interval(found: Range, level: float) -> str:
    """A rate per year with its interval."""
    return f"{percent(found.value)} per year ({level:.0%} interval {percent(found.low)} to {percent(found.high)})"


def span_text(number: float) -> str:
    """A number of years, rounded as it deserves."""
    if not np.isfinite(number):
        return "no number of years"
    if number > 1000:
        return "more than 1,000 years"
    digits = f"{number:.1f}" if number < 10 else f"{number:.0f}"
    return f"{digits} years"


def _ladder(found: Headroom) -> Section:
    gain, ratio, reached = found.certainty_equivalent, found.sharpe, found.attainable
    history = years(found.index)
    problem = found.problem
    opening = (
        f"the most that adapting the exposure can add is {interval(gain, found.level)} of certainty equivalent at "
        f"γ = {problem.risk_aversion:g}, and {ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f}) of Sharpe ratio"
    )
    doubt = (
        "; the interval starts at 0: these bars do not show that there is anything to adapt to" if gain.low == 0 else ""
    )
    learning = (
        f". Who must learn the regimes from these {history:.1f} years can expect {percent(reached.value)} per year "
        f"({percent(reached.low)} to {percent(reached.high)})"
    )
    return Section(
        "The most that adapting can bring",
        f"{found.name}: {opening}{doubt}{learning}.",
        f"What is known about regimes in the returns of what is held, for exposures from {problem.low:g} to {problem.high:g} and "
        f"{1e4 * problem.cost:.3g} basis points per change of 1. Each row is an optimum in markets like yours: medians with "
        f"{found.level:.0%} intervals. The headroom is that of the filter above the best constant exposure in "
        "the most probable market, and not the difference of the medians. Estimated regimes differ by chance too: the interval "
        "allows for that, so read it first.",
        "What choosing among symbols could add, or signals other than past returns, or more than two regimes, or trends within "
        "them. Past returns of symbols that were chosen because they survived are too good, in all rows alike.",
        shown(found.table),
        lambda: _draw_ladder(found),
    )


def _reached(found: Reached) -> Section:
    share, gain, most = found.share, found.gain, float(found.gains[1].mean())
    worth = f"{percent(gain.value)} per year ({percent(gain.low)} to {percent(gain.high)})"
    if not found.telling:
        finding = (
            f"markets like yours have next to no headroom ({percent(most)} per year), so that a share of it means nothing; "
            f"{found.name} differs from the best constant exposure by {worth}"
        )
    else:
        ends = f"{share.value:.0%} [{share.low:.0%}, {share.high:.0%}]"
        verb = "reaches" if share.value > 0 else "does worse than the best constant exposure, and reaches"
        finding = (
            f"{found.name} {verb} {ends} of the headroom on markets like yours: {worth} of {percent(most)} per year"
        )
    twin, year = found.twin, found.twin.per_year
    rows = {
        FILTERS: (most, float(np.mean([each.turnover for each in found.filter]))),
        found.name: (gain.value, float(np.mean([each.turnover for each in found.learner]))),
    }
    for name, worth_of in found.others().items():
        rows[name] = (worth_of, float(np.mean([each.accounts[name].turnover for each in twin.judged])))
    rows[CONSTANT] = (0.0, 0.0)
    table = pd.DataFrame(
        {
            "gain per year": [percent(value) for value, _ in rows.values()],
            "share": [f"{value / most:.0%}" if found.telling else "" for value, _ in rows.values()],
            "turnover per year": [f"{year * turnover:.1f}x" for _, turnover in rows.values()],
        },
        index=list(rows),
    )
    return Section(
        f"What {found.name} reaches of it",
        f"{twin.name}: {finding}.",
        f"A learner that was trained on {count(twin.learnt, 'market')} like yours, and then traded {twin.span:,} bars of each of "
        f"{len(twin.markets)} others, after {twin.history:,} bars of it to adapt to, through the account of every backtest. The "
        f"{twin.level:.0%} interval is over markets. The headroom is that of the filter on the same bars.",
        "What the learner reaches when your bars are all that it can be trained on: markets are simulated, and there are more "
        "of them than there is history. Nor what it makes of several symbols, of which these markets have one.",
        table,
        lambda: _draw_reached(found),
    )


def _years(found: Headroom) -> Section:
    gain = found.certainty_equivalent
    gains = {
        "estimate": gain.value,
        "upper end": gain.high,
        "lower end": gain.low,
        "learnt from these bars": found.attainable.value,
    }
    table = pd.DataFrame(
        {
            "gain per year": [percent(value) for value in gains.values()],
            "takes": [span_text(found.years(max(value, 0.0))) for value in gains.values()],
        },
        index=list(gains),
    )
    least, likely = found.years(gain.high), found.years(gain.value)
    first = (
        f"a walk-forward of {span_text(likely)} shows a gain as large as the estimate"
        if np.isfinite(likely)
        else "the estimate is 0, which no walk-forward can show"
    )
    return Section(
        "Years that show it",
        f"{found.name}: {first}; even at the upper end of the interval it takes {span_text(least)} "
        f"(there are {years(found.index):.1f}).",
        "How long the difference of certainty equivalents must be measured to be told from 0 in four of five cases: two-sided "
        "test at 5 %, power .8, of the filter against the best constant exposure.",
        "That a shorter walk-forward is useless: it can still show that adapting lowers risk, which takes fewer years than a "
        "difference of utility does.",
        table,
        lambda: _draw_years(found),
    )


def _markets(found: Headroom) -> Section:
    parameters = np.array([market.parameters for market in found.markets])
    tail = 0.5 * (1 - found.level)
    low, middle, high = np.quantile(parameters, [tail, 0.5, 1 - tail], axis=0)

    def rate(k: int, factor: float) -> str:
        return f"{factor * middle[k]:.1%} [{factor * low[k]:.1%}, {factor * high[k]:.1%}]"

    year, root = found.per_year, float(np.sqrt(found.per_year))
    table = pd.DataFrame(
        {
            "mean per year": [rate(k, year) for k in (0, 1)],
            "volatility per year": [rate(k, root) for k in (2, 3)],
            "bars that it lasts": [f"{middle[k]:.0f} [{low[k]:.0f}, {high[k]:.0f}]" for k in (4, 5)],
        },
        index=["calm", "wild"],
    )
    calm, wild = (
        f"{root * middle[2 + k]:.1%} volatility per year and a mean of {year * low[k]:+.0%} to {year * high[k]:+.0%}"
        for k in (0, 1)
    )
    return Section(
        "The markets behind it",
        f"{found.name}: a calm regime of {calm}, and a wild one of {wild}.",
        "How well the returns determine two regimes. Volatilities are known well, and means hardly: that is why the interval of "
        "the headroom is wide.",
        "That the market has two regimes. It is the simplest family in which adapting can pay.",
        table,
        lambda: _draw_markets(found),
    )


def _plot(x: str, y: str, height: int = 380) -> go.Figure:
    import plotly.graph_objects as go  # takes a second to import

    plot = go.Figure()
    plot.update_layout(
        height=height, template="plotly_white", xaxis_title=x, yaxis_title=y, margin={"l": 8, "r": 12, "t": 24, "b": 30},
        legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0},
    )  # fmt: skip
    return plot


def _draw_ladder(found: Headroom) -> go.Figure:
    """Each trader's certainty equivalent above that of the best constant exposure."""
    plot = _plot("above constant exposure, % per year", "", 320)
    base = np.array([each.accounts[CONSTANT].value for each in found.judged])
    tail = 0.5 * (1 - found.level)
    names = [trader for trader in TRADERS if trader != CONSTANT]
    rows = []
    for trader in names:
        gains = (np.array([each.accounts[trader].value for each in found.judged]) - base) * 100 * found.per_year
        rows.append(np.quantile(gains, [tail, 0.5, 1 - tail]))
    low, middle, high = np.array(rows).T
    colours = ["#0072b2" if name in (KNOWN, FILTERS, LEARNS) else "#54636f" for name in names]  # who adapts
    labels = [name.replace(", ", ",<br>") for name in names]  # a phone has little room beside the plot
    plot.add_scatter(
        x=middle, y=labels, mode="markers", marker={"size": 11, "color": colours}, showlegend=False,
        error_x={"type": "data", "symmetric": False, "array": high - middle, "arrayminus": middle - low, "color": "#9aa8b6"},
        hovertemplate="%{x:+.2f} %<extra>%{y}</extra>",
    )  # fmt: skip
    plot.add_vline(x=0, line={"dash": "dash", "width": 1.2, "color": "#5a6a7a"})
    plot.update_yaxes(autorange="reversed", automargin=True, tickfont={"size": 11})
    return plot


def _draw_reached(found: Reached) -> go.Figure:
    """Each market's gain: of the learner, over that of the filter."""
    learner, most = 100 * found.gains
    plot = _plot("headroom, % per year", f"{found.name}, % per year")
    end = [0.0, max(float(most.max()), 1e-3)]
    plot.add_scatter(x=end, y=end, mode="lines", line={"dash": "dash", "color": "#5a6a7a"}, name="all of it")
    if found.telling:
        fitted = [found.share.value * x for x in end]
        plot.add_scatter(
            x=end, y=fitted, mode="lines", line={"color": "#0072b2"}, name=f"{found.share.value:.0%} of it"
        )
    plot.add_scatter(x=most, y=learner, mode="markers", marker={"size": 9, "color": "#0072b2"}, name="a market")
    plot.add_hline(y=0, line={"width": 1, "color": "#9aa8b6"})
    plot.update_yaxes(automargin=True)
    return plot


def _draw_years(found: Headroom) -> go.Figure:
    gain = found.certainty_equivalent
    most = max(gain.high, 1e-4)
    x = np.linspace(most / 50, most, 200)
    plot = _plot("gain in certainty equivalent, % per year", "years of walk-forward")
    plot.add_scatter(x=100 * x, y=[found.years(value) for value in x], mode="lines", showlegend=False)
    history = years(found.index)
    plot.add_scatter(
        x=100 * x[[0, -1]], y=[history, history], mode="lines", line={"dash": "dash", "width": 1.2, "color": "#5a6a7a"},
        name="these bars",
    )  # fmt: skip
    if gain.value >= x[0]:
        plot.add_scatter(
            x=[100 * gain.value], y=[found.years(gain.value)], mode="markers", marker={"size": 10}, name="estimate"
        )
    plot.update_yaxes(type="log", dtick=1, automargin=True)
    return plot


def _draw_markets(found: Headroom) -> go.Figure:
    plot = _plot("volatility, % per year", "mean, % per year")
    parameters = np.array([market.parameters for market in found.markets])
    for k, (name, colour) in enumerate((("calm", "#0072b2"), ("wild", "#d55e00"))):
        plot.add_scatter(
            x=100 * np.sqrt(found.per_year) * parameters[:, 2 + k], y=100 * found.per_year * parameters[:, k], mode="markers",
            marker={"color": colour, "opacity": 0.5}, name=name,
        )  # fmt: skip
    plot.add_hline(y=0, line={"width": 1, "color": "#9aa8b6"})
    plot.update_yaxes(automargin=True)
    return plot
