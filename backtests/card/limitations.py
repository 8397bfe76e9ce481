"""Where a model fails, as far as it is known when it is registered: a sentence for each.

They come from the checks of its certificate, the source of its data, the bars that its contract refuses, and its backtest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields

import numpy as np
import pandas as pd

from backtests.certificate import Certificate
from backtests.contract import PRICE, SILENCE, VOLATILITY, DataContract
from backtests.metrics import by_year, drawdowns
from backtests.report.text import cell
from backtests.results import Backtest, Backtests
from markets import Bars, Costs
from markets.bars.time_spans import SPACING, duration, moment
from markets.common.words import count, few
from strategies import Strategy, needs


def of_checks(certificate: Certificate) -> Iterator[str]:
    """Checks that failed, or could not be made."""
    for check in certificate.checks:
        if not check.passed:
            what = "It did not pass" if check.passed is False else "It is not known whether it passes"
            yield f"{what} the check of {check.name}: {check.sentence}."


def of_data(bars: Bars) -> Iterator[str]:
    """How the symbols were chosen, and what else must be known of the data."""
    if bars.source.survivorship:
        yield f"Its data are {bars.source.survivorship}."
    yield from (f"Of its data: {caveat}." for caveat in bars.source.caveats)


def of_training(strategy: Strategy, bars: Bars, first: pd.Timestamp | None) -> Iterator[str]:
    """What of its past is in sample; `first` is the first bar of its backtest, if there is one."""
    known = getattr(strategy, "seen_until", None)
    if known is None:
        return
    seen = moment(f"{strategy.name}: seen_until", known, bars.index.tz)
    yield f"Results on bars up to {cell(seen)} are in sample: it was chosen on them." + (
        f" Its backtest begins at {cell(first)}, before that."
        if first is not None and (first.tz is None) == (seen.tz is None) and first <= seen
        else ""
    )


def of_regimes(strategy: Strategy, bars: Bars, where: str) -> Iterator[str]:
    """Regimes that its detectors know and `bars` do not hold; and that there are no others to it."""
    for detector in needs.detectors(strategy).values():
        path = detector.filter(bars)
        shares = np.bincount(path.labels, minlength=len(path.names)) / len(bars)
        seen = [f"{name} on {share:.0%}" for name, share in zip(path.names, shares, strict=True) if share]
        lacking = [name for name, share in zip(path.names, shares, strict=True) if not share]
        untested = f" It never was {' or '.join(lacking)}: how the model trades then is not tested." if lacking else ""
        yield (
            f"Over {where} the most probable regime was {', '.join(seen)} of the bars.{untested} Any other market is taken "
            f"for one of its {len(path.names)} regimes."
        )


def of_backtest(figures: Mapping[str, float], costs: str) -> Iterator[str]:
    """What the metrics of its backtest say; `costs` are those that it paid, as the version's tag has them."""
    if not figures:
        yield "What it would have earned or lost is not known: no backtest of it is on record."
        return
    growth, turnover = figures["CAGR"], figures["turnover"]
    if growth <= 0:
        yield f"It lost money in its backtest: {growth:.1%} per year."
    elif growth > 0 and turnover > 0:
        paid = (
            "more than its backtest paid" if changed(costs, Costs) else "to trade, which cost nothing in its backtest"
        )
        yield (
            f"Its growth of {growth:.1%} per year is gone if each trade costs about {1e4 * growth / turnover:,.0f} bp {paid}: it "
            f"trades {turnover:.1f} times its equity per year."
        )


def of_result(result: Backtests, tested: Backtest) -> Iterator[str]:
    """Its worst drawdown and years."""
    for fall in drawdowns(tested, 1).to_dict("records"):
        ended = not pd.isna(fall["end"])
        back = f"was back at {cell(fall['end'])}" if ended else f"had not come back by {cell(tested.index[-1])}"
        yield f"It fell by {fall['depth']:.1%} from {cell(fall['start'])} to {cell(fall['bottom'])}, and {back}."
    years = by_year(tested)["total return"]
    if len(years) > 1:
        lost = int((years < 0).sum())
        sentence = f"Its worst year was {years.idxmin()}, with {years.min():.1%}; it lost money in {lost} of {len(years)} years"
        if tested.name != result.benchmark:
            behind = int((years < by_year(result[result.benchmark])["total return"]).sum())
            sentence += f", and earned less than {result.benchmark} in {behind}"
        yield f"{sentence}."


def of_contract(strategy: Strategy, contract: DataContract) -> str:
    """What it refuses to decide on: a sentence, and a list below it."""
    silence = sorted({SILENCE * seconds for seconds in contract.silence})
    silent = duration(silence[0]) + (f" to {duration(silence[-1])}, by symbol" if len(silence) > 1 else "")
    whole = [s for s, gaps in zip(contract.symbols, contract.gaps, strict=True) if not gaps]
    length = duration(contract.spacing)
    reasons = [
        f"bars are more than {SPACING:g} times, or less than 1/{SPACING:g} of, {length} apart",
        f"they end before {cell(contract.bars.index[-1])}",
        f"one of its {count(len(contract.symbols), 'symbol')} is missing, or there is another one",
        f"a symbol has been silent for more than {silent}",
        *([f"there is no last close of {few(whole)}, which had no gaps"] if whole else []),
        f"a close is more than {PRICE:g} times, or less than 1/{PRICE:g} of, the one at registration, or the one before it: "
        "another unit, or a split",
        f"a symbol's median move is more than {VOLATILITY:g} times, or less than 1/{VOLATILITY:g} of, the one at registration",
        *([f"bars are without {', '.join(contract.columns)}"] if contract.columns else []),
        *([f"they do not begin at {cell(contract.bars.index[0])}"] if contract.endless else []),
        *(
            f"the last value of {', '.join(part.frame.columns)} is much older than any was at registration"
            for part in needs.external_series(strategy)
        ),
    ]
    return "It decides nothing, and says why, or `regimeshift serve` answers its fallback, where:\n" + "\n".join(
        f"    - {reason}" for reason in reasons
    )


def changed(text: str, kind: type) -> list[str]:
    """The settings in the text of a dataclass, as a version's tags have it, that are not the defaults of `kind`."""
    usual = {field.name: repr(field.default) for field in fields(kind)}
    given = re.findall(r"(\w+)=([^,()]+)", text)
    return [f"{name.replace('_', ' ')} {value.strip(chr(39))}" for name, value in given if usual.get(name) != value]
