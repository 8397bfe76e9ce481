"""What a trial prints: at most 80 columns, so that it can be read in any terminal and pasted into a page."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from backtests import Backtest
from backtests.significance import Interval
from benchmarks.real_market.comparison import COMPARED, Comparison, Difference
from benchmarks.real_market.contenders import Contender
from benchmarks.real_market.ladder import Rung
from benchmarks.real_market.universes import Universe
from markets.common.words import count

WIDTH = 80
_NAME = 23
_HEADS = ("Sharpe", "vol", "volvol", "ES 5%", "drawdn", "CE", "turn", "cost")
_DIGITS = {"log variance": 3, "certainty equivalent": 4, "expected shortfall": 4}
NOTE = (
    "Net of costs. vol: volatility per year; volvol: standard deviation of log quarterly volatility; ES 5%: mean loss of the "
    "worst 5 % of days; CE: certainty equivalent, mean less half of the risk aversion times the variance, per year; turn: "
    "traded value per year over equity."
)


def about(universe: Universe, folds: int) -> list[str]:
    """Lines on a universe: span, size, costs, provenance and bias."""
    bars = universe.bars
    costs = f"{universe.costs.buy_side * 1e4:.3g} bp{' and half the quoted spread' if universe.costs.quoted else ''}"
    size = f"{len(bars):,} bars of {count(len(bars.symbols), 'symbol')}, {count(folds, 'fold')}, {costs} per side"
    leverage = f", up to {universe.execution.gross:g} times equity" if universe.execution.gross > 1 else ""
    head = f"{universe.name}: {universe.span}, {size}{leverage}"
    return [*wrapped(head), *(line for text in universe.caveats for line in wrapped(f"- {text}", "  "))]


def wrapped(text: str, indent: str = "") -> list[str]:
    """A text in lines."""
    return textwrap.wrap(text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def table(figures: pd.DataFrame) -> list[str]:
    """Figures of a universe, one line a strategy."""
    lines = [f"{'':{_NAME}}" + "".join(f"{head:>7}" for head in _HEADS)]
    for name, row in figures.iterrows():
        cells = [
            f"{row['Sharpe']:.2f}", f"{row['volatility']:.1%}", f"{row['vol of vol']:.2f}", f"{row['shortfall']:.2%}",
            f"{row['drawdown']:.0%}", f"{row['cert. eq.']:.1%}", f"{row['turnover']:.1f}", f"{row['costs']:.2%}",
        ]  # fmt: skip
        lines.append(f"{short(str(name)):{_NAME}}" + "".join(f"{cell:>7}" for cell in cells))
    return lines


def seeds(backtests: Mapping[str, Sequence[Backtest]]) -> list[str]:
    """Sharpe ratios of single seeds, whose plans are averaged in the table."""
    lines = []
    for name, each in backtests.items():
        ratios = ", ".join(f"{backtest.metrics['Sharpe']:.2f}" for backtest in each)
        lines += wrapped(f"Sharpe ratios of the seeds of {name}: {ratios}", "  ")
    return lines


def under(head: Sequence[str], universes: Sequence[Universe]) -> str:
    """What stands under a picture: the run, the spans, where bars are from, and how their symbols were chosen."""
    known = [
        f"{u.name}, {u.span}: {u.bars.source.survivorship or u.bars.source.origin or 'your bars'}" for u in universes
    ]
    return "; ".join([*head, *known])


def short(name: str, width: int = _NAME - 1) -> str:
    """A name that fits its column."""
    return name if len(name) <= width else f"{name[: width - 1]}…"


def differences(comparison: Comparison, contender: Contender, others: Sequence[str]) -> Iterator[str]:
    """Differences of an adapted contender to others: per universe to its control, pooled to all."""
    for other in others:
        yield ""
        yield from wrapped(f"{contender.name} minus {other}{' (its control)' if other == contender.control else ''}")
        whole = other == contender.control
        yield f"  {'':25}{'difference':>11}  {'95 % interval':<19}{'could see':>10}{'Holm p':>9}"
        for statistic in COMPARED:
            found = comparison.difference(contender.name, other, statistic)
            for universe, one in _rows(found, whole):
                known = np.isfinite(found.adjusted.get(universe, np.nan))
                p = f"{found.adjusted[universe]:.3f}" if known else ""
                head = statistic if universe == "pooled" else f"  {universe}"
                yield f"  {short(head, 24):25}{_cells(one, _DIGITS.get(statistic, 2))}{p:>9}"


def _rows(found: Difference, whole: bool) -> list[tuple[str, Interval]]:
    return [("pooled", found.pooled), *(found.by_universe.items() if whole and len(found.by_universe) > 1 else ())]


def _cells(one: Interval, digits: int) -> str:
    if not np.isfinite(one.value):
        return f"{'–':>11}  {'not defined here':<19}{'–':>10}"
    if not np.isfinite(one.low):
        return f"{one.value:>+z11.{digits}f}  {'too few to tell':<19}{'–':>10}"
    ends = f"[{one.low:+z.{digits}f}, {one.high:+z.{digits}f}]"
    return f"{one.value:>+z11.{digits}f}  {ends:<19}{one.detectable:>10.{digits}f}"


def judged(primary: Mapping[str, str]) -> str:
    """Who is judged for what; see `benchmarks.real_market.protocol.Protocol.primary`."""
    variance, certainty, returns = (primary[kind] for kind in ("variance", "certainty", "returns"))
    if variance == certainty == returns:
        return f"Judged: {variance}."
    return (
        f"Judged by variance: {variance}; by certainty equivalent, and for harm: {certainty}; for returns: {returns}."
    )


def ladder(rungs: Sequence[Rung], universes: Sequence[str]) -> list[str]:
    """Each rung, reached or not, with the figures that decided and where it holds."""
    lines = []
    for rung in rungs:
        lines += wrapped(f"{rung.number}. {'REACHED    ' if rung.reached else 'not reached'}  {rung.title}", " " * 16)
        lines += [f"   {line}" for line in textwrap.wrap(rung.why, WIDTH - 3)]
        if rung.by_universe:
            marks = ", ".join(
                f"{u} {'yes' if rung.by_universe[u] else 'no'}" for u in universes if u in rung.by_universe
            )
            lines += [f"   {line}" for line in textwrap.wrap(f"by universe: {marks}", WIDTH - 3)]
    return lines
