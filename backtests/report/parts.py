"""The parts of a page that show the chosen strategy: their headings, and one line on what each shows; scripts fill them."""

from __future__ import annotations

import html

from backtests.report.curves import rolling_window
from backtests.report.views import Detail, largest_symbols
from backtests.results import Backtests
from markets.common.words import count

PLOTS = {
    "equity": ("Equity and drawdown", "What one unit became, and how far it stood below its highest value so far."),
    "rolling": (
        "Rolling Sharpe ratio, volatility and beta",
        "Of the last {window}, annualised; beta to {benchmark}. Whether the result comes from a few good years.",
    ),
    "weights": (
        "Weights over time of {name}",
        "Fractions of equity; above, their sums with signs (net) and without (gross).{which}",
    ),
    "trades": ("Trades of {name}", "Orders on the price of a symbol; the larger the mark, the larger the order."),
    "turnover": (
        "Turnover and costs",
        "Traded value per year (mean of {every}), and costs added up, both as fractions of equity.",
    ),
    "months": ("Monthly returns of {name}", "In per cent, net of costs; blue is a gain."),
    "years": ("Yearly returns", "Net of costs; the first and last year may be parts of one."),
    "distribution": (
        "Distribution of returns",
        "Per bar, beside a normal one of the same mean and deviation; the outermost bars hold all beyond.",
    ),
}
TABLES = {
    "drawdowns": (
        "Worst drawdowns of {name}",
        "From the highest value to the lowest, and until the high was reached again.",
        "It was never below its start.",
    ),
    "events": (
        "Adaptation events of {name}",
        "When it was trained or adapted, and what that changed in what it wants.",
        "It does not adapt.",
    ),
    "by-year": ("Years of {name}", "Net of costs; turnover and costs are those of the year.", "There is no year."),
    "regimes": (
        "Regimes of {name}",
        "Its returns over the bars that follow each label, as the label was seen live.",
        "No regimes were given to this backtest.",
    ),
    "against": (
        "{name} against {benchmark}",
        "Its returns beside the benchmark's, bar by bar.",
        "It is the benchmark.",
    ),
    "folds": ("Folds of {name}", "What it traded, and what it had learnt from then.", "None were recorded."),
}


def plots_and_tables(result: Backtests) -> str:
    """All parts but the folds, as HTML, in their order."""
    symbols = result.bars.symbols
    shown = largest_symbols(result, Detail.of(len(result), len(symbols)).symbols)
    some = (
        f" The {len(shown)} of {len(symbols)} symbols with the largest mean weight."
        if len(shown) < len(symbols)
        else ""
    )
    words = {"window": count(rolling_window(result), "bar"), "every": count(result.every, "bar"), "which": some}
    words["benchmark"] = html.escape(result.benchmark)
    options = "".join(f"<option value={i}>{html.escape(symbols[k])}</option>" for i, k in enumerate(shown))
    choice = (
        f"<p class=about><label>symbol <select id=symbol>{options}</select></label> <span id=trades-count></span></p>"
    )
    plots = {name: _plot(name, words, choice if name == "trades" else "") for name in PLOTS}
    beside = f"<div class=two>{plots.pop('months')}<div>{plots.pop('years')}{plots.pop('distribution')}</div></div>"
    tables = "".join(switched_table(name, result) for name in TABLES if name != "folds")
    return "".join(plots.values()) + beside + tables


def switched_table(name: str, result: Backtests) -> str:
    """A table of the chosen strategy, as HTML."""
    heading, line, without = TABLES[name]
    heading = _named(heading.replace("{benchmark}", html.escape(result.benchmark)))
    return (
        f"<section id={name} class=long><h2>{heading}</h2><p class=about>{line}</p>"
        f"<div class='wide tall'><table id=table-{name}></table></div><p id=none-{name} hidden>{without}</p></section>"
    )


def _plot(name: str, words: dict[str, str], more: str) -> str:
    heading, line = PLOTS[name]
    return (
        f"<section id={name}><h2>{_named(heading)}</h2><p class=about>{line.format(**words)}</p>{more}"
        f"<div class=plot id=plot-{name}></div></section>"
    )


def _named(heading: str) -> str:
    return heading.replace("{name}", "<span class=name></span>")
