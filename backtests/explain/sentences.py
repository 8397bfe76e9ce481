"""An explanation in words, for the terminal and the page."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from backtests.explain.counterfactual import Counterfactual
from backtests.explain.explanation import Explanation
from markets.common.words import count

MOST = 10  # features in a table
_NAMED = 3  # features in a sentence


def rows(explanation: Explanation, symbol: str) -> pd.DataFrame:
    """The sum that makes the weight of a symbol: the base, the resting tilt, its features, what limits changed, the decision.

    Returns
    -------
    DataFrame
        The columns of `Explanation.by_feature`, with ``sum`` first; NaN where a row has no sources.
    """
    column = explanation.column(symbol)
    table = explanation.by_feature(symbol)
    rest = table.iloc[MOST:]
    features = table.iloc[:MOST]
    if len(rest):
        features = pd.concat([features, rest.sum().to_frame(f"{len(rest)} others").T])
    base, start = explanation.base[column], explanation.start[column]
    before = pd.DataFrame({"sum": {"base": base, "resting tilt": start - base}})
    after = {"limits": explanation.limited[column]} if explanation.limits is not None else {}
    end = pd.DataFrame({"sum": after | {"decision": explanation.decision[column]}})
    found = pd.concat([before, features, end])
    return found[["sum", *(name for name in table.columns if name != "sum")]]


def sentences(explanation: Explanation, symbol: str, turning: Counterfactual | None) -> Iterator[str]:
    """What there is to say of the decision on a symbol, beside the table."""
    yield _when(explanation, symbol)
    for name, chances in explanation.regimes.items():
        yield f"Regime, as {name} sees it: {', '.join(f'{regime} {chance:.0%}' for regime, chance in chances.items())}."
    for name, belief in explanation.beliefs.items():
        values = ", ".join(f"{mean:+.2f} ± {std:.2f}" for mean, std in belief[explanation.column(symbol)])
        yield f"Belief of {name} about {symbol}, its latent variables: {values}."
    for sentence in explanation.limits or ():
        yield f"Limit: {sentence}."
    yield turned(symbol, turning)
    if explanation.unknown:
        yield f"Not all features are known of {', '.join(explanation.unknown)}; there the base is held."


def _when(explanation: Explanation, symbol: str) -> str:
    """How recent the bars are whose features count."""
    size = explanation.by_bar(symbol).abs().sum(axis=1).to_numpy()
    if not size.sum():
        return "No feature has moved it."
    last = int(np.searchsorted(size[::-1].cumsum(), size.sum() / 2)) + 1
    return f"Half of what features moved comes from the last {count(last, 'bar')} of {len(size)}."


def time_text(time: pd.Timestamp) -> str:
    """A time without its hour where that is midnight."""
    return f"{time:%Y-%m-%d}" if time == time.normalize() else f"{time:%Y-%m-%d %H:%M}"


def turned(symbol: str, turning: Counterfactual | None) -> str:
    """What would have turned the decision."""
    if turning is None:
        return f"No change of {symbol}'s features at the last bar within 5 standard deviations would have turned the decision."
    order = np.argsort(-np.abs(turning.deviations), kind="stable")[:_NAMED]
    words = [
        f"{turning.features[i]} {turning.was[i]:+.2f} to {turning.would[i]:+.2f}"
        for i in order
        if turning.deviations[i]
    ]
    more = np.count_nonzero(turning.deviations) - len(words)
    also = f", and {more} more by less" if more else ""
    return (
        f"The nearest change that would have turned {turning.turns} on {symbol} is {turning.distance:.2f} standard deviations of "
        f"a year: {', '.join(words)}{also}."
    )
