"""`explain`: why a strategy decided as it did; which features and bars moved each weight, and what limits changed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from backtests import reasons
from backtests.explain.attribution import SOURCES, integrate
from backtests.explain.decisions import Decisions, shares
from backtests.versions import RegisteredStrategy
from markets import Bars, InputError
from strategies import PolicyStrategy, Strategy
from strategies.strategy import planned

_AT_ONCE = 16  # decisions of a span, which bounds memory use


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why the target weights of a decision are what they are. Of each symbol::

        decision = base + resting tilt + all contributions + change by limits

    Attributes
    ----------
    name : str
        The strategy's.
    symbols : tuple of str
    features : tuple of str
    times : DatetimeIndex of length T
        The bars that the policies have read, up to that of the decision.
    base : ndarray of shape (A,)
        What is held without any tilt: the weights of the policies' bases, and those of rules in a blend.
    start : ndarray of shape (A,)
        Weights if all features were 0 on all of these bars. What they differ from the base by is the resting tilt.
    contributions : ndarray of shape (3, T, A, F)
        What each feature at each bar has contributed to the weight, by source: the symbol's features, their mean over the symbols
        (the market), and those of the other symbols through the limit on the gross weight. See `backtests.explain.attribution`.
    limited : ndarray of shape (A,)
        What limits have changed.
    decision : ndarray of shape (A,)
        Target weights, as the strategy plans them.
    unknown : tuple of str
        Symbols whose features are not all known at the decision: their base is held.
    regimes : dict
        Probability of each regime, by the name of the strategy that has a detector; see `backtests.reasons.regimes`.
    limits : list of str or None
        What limits have changed, in words; None if there are none.
    beliefs : dict of str to ndarray of shape (A, L, 2)
        Mean and standard deviation of the latent variables of each policy whose memory is a belief, by its name.
    """

    name: str
    symbols: tuple[str, ...]
    features: tuple[str, ...]
    times: pd.DatetimeIndex
    base: np.ndarray
    start: np.ndarray
    contributions: np.ndarray
    limited: np.ndarray
    decision: np.ndarray
    unknown: tuple[str, ...]
    regimes: dict[str, dict[str, float]]
    limits: list[str] | None
    beliefs: dict[str, np.ndarray]

    @cached_property
    def residual(self) -> np.ndarray:
        """What the sum lacks of the decision, shape (A,): the error of the integration."""
        return self.decision - self.limited - self.start - self.contributions.sum(axis=(0, 1, 3))

    @property
    def most_moved(self) -> str:
        """The symbol whose weight is the farthest from its base."""
        return self.symbols[int(np.abs(self.decision - self.base).argmax())]

    def column(self, symbol: str) -> int:
        """The place of a symbol.

        Raises
        ------
        InputError
            When there is no such symbol.
        """
        return _column(self.name, self.symbols, symbol)

    def by_feature(self, symbol: str) -> pd.DataFrame:
        """Contributions to the weight of a symbol, summed over the bars.

        Returns
        -------
        DataFrame
            A row for each feature, the largest first, a column for each source, and their ``sum``.
        """
        values = self.contributions[:, :, self.column(symbol)].sum(axis=1).T
        return ranked(pd.DataFrame(values, index=list(self.features), columns=list(SOURCES)))

    def by_bar(self, symbol: str) -> pd.DataFrame:
        """Contributions to the weight of a symbol at each bar, a column for each feature, shape (T, F)."""
        values = self.contributions[:, :, self.column(symbol)].sum(axis=0)
        return pd.DataFrame(values, index=self.times, columns=list(self.features))


@dataclass(frozen=True, eq=False)
class SpanExplanation:
    """What moved the weights over N decisions.

    Attributes
    ----------
    name : str
    symbols, features : tuple of str
    times : DatetimeIndex of length N
        Bars of the decisions.
    base, start, limited, decision : ndarray of shape (N, A)
        As of `Explanation`.
    contributions : ndarray of shape (3, N, A, F)
        By source, summed over the bars that each decision has read.
    """

    name: str
    symbols: tuple[str, ...]
    features: tuple[str, ...]
    times: pd.DatetimeIndex
    base: np.ndarray
    start: np.ndarray
    contributions: np.ndarray
    limited: np.ndarray
    decision: np.ndarray

    @cached_property
    def residual(self) -> np.ndarray:
        """What the sum lacks of each decision, shape (N, A)."""
        return self.decision - self.limited - self.start - self.contributions.sum(axis=(0, 3))

    def by_feature(self, symbol: str | None = None) -> pd.DataFrame:
        """Mean absolute contributions to the weight of a symbol, or to the mean one of all symbols.

        Returns
        -------
        DataFrame
            A row for each feature, the largest first, a column for each source, and ``sum``, of which the sources partly cancel.
        """
        values = self._of(symbol)
        table = pd.DataFrame(np.abs(values).mean(axis=(1, 2)).T, index=list(self.features), columns=list(SOURCES))
        return ranked(table, np.abs(values.sum(axis=0)).mean(axis=(0, 1)))

    def by_time(self, symbol: str | None = None) -> pd.DataFrame:
        """Contributions at each decision, a column for each feature, shape (N, F): absolute and their mean for all symbols."""
        values = self._of(symbol).sum(axis=0)
        values = values[:, 0] if symbol is not None else np.abs(values).mean(axis=1)
        return pd.DataFrame(values, index=self.times, columns=list(self.features))

    def _of(self, symbol: str | None) -> np.ndarray:
        """The contributions to one symbol, or to all, shape (3, N, 1 or A, F)."""
        if symbol is None:
            return self.contributions
        return self.contributions[:, :, [_column(self.name, self.symbols, symbol)]]


def _column(name: str, symbols: tuple[str, ...], symbol: str) -> int:
    if symbol not in symbols:
        raise InputError(f"{name} has no symbol {symbol!r}; it trades {', '.join(symbols)}")
    return symbols.index(symbol)


def explain(strategy: Strategy, bars: Bars) -> Explanation:
    """Explain the decision after the last of `bars`.

    Parameters
    ----------
    strategy : Strategy
        A torch policy over features, or limits, blends and regime-gated sets of such; also as loaded from the registry.
    bars : Bars

    Raises
    ------
    InputError
        When nothing in it reads features, or the bars are not such as a registered model was made for.
    """
    strategy, bars = prepared(strategy, bars)
    found = _explained(strategy, bars[-1:], reduced=False)
    return Explanation(
        strategy.name, bars.symbols, found.features, bars.with_past().index[-found.contributions.shape[2] :], found.base[0],
        found.start[0], found.contributions[:, 0], found.limited[0], found.decision[0],
        tuple(symbol for symbol, seen in zip(bars.symbols, found.known[0], strict=True) if not seen),
        reasons.regimes(strategy, bars), reasons.limits(strategy, bars[-1:]), found.beliefs,
    )  # fmt: skip


def explain_span(strategy: Strategy, bars: Bars) -> SpanExplanation:
    """Explain the decisions on all visible bars; parameters and errors as of `explain`."""
    strategy, bars = prepared(strategy, bars)
    blocks = [
        _explained(strategy, bars[first : first + _AT_ONCE], reduced=True) for first in range(0, len(bars), _AT_ONCE)
    ]

    def joined(name: str, axis: int = 0) -> np.ndarray:
        return np.concatenate([getattr(block, name) for block in blocks], axis=axis)

    return SpanExplanation(
        strategy.name, bars.symbols, blocks[0].features, bars.index, joined("base"), joined("start"),
        joined("contributions", 1), joined("limited"), joined("decision"),
    )  # fmt: skip


def attributable(strategy: Strategy, bars: Bars) -> bool:
    """Whether anything in a strategy reads features, so that it can be explained by them; others are for `occlude`."""
    strategy, bars = prepared(strategy, bars)
    return any(isinstance(share.strategy, PolicyStrategy) for share in shares(strategy, bars[-1:]))


def prepared(strategy: Strategy, bars: Bars) -> tuple[Strategy, Bars]:
    """The strategy itself, if it comes from the registry, and the bars as it reads them, without those that hold no close.

    Raises
    ------
    InputError
        When a registered model was made for other symbols, or no visible bar is left.
    """
    if isinstance(strategy, RegisteredStrategy):
        bars = strategy.contract.ordered(bars)
        strategy = strategy.strategy
    bars = bars.without_empty()
    if not len(bars):
        raise InputError(f"{bars.name}: no bar to explain has a close; choose others")
    return strategy, bars


@dataclass(frozen=True, eq=False)
class _Found:
    """As of `SpanExplanation`; `contributions` have shape (3, N, T, A, F), or are summed over T."""

    features: tuple[str, ...]
    base: np.ndarray
    start: np.ndarray
    contributions: np.ndarray
    limited: np.ndarray
    decision: np.ndarray
    known: np.ndarray
    beliefs: dict[str, np.ndarray]  # at the last decision


def _explained(strategy: Strategy, bars: Bars, *, reduced: bool) -> _Found:
    """The decisions at the visible bars, each the sum of what its shares have decided, and of what limits changed."""
    found = list(shares(strategy, bars))
    policies = [share.strategy for share in found if isinstance(share.strategy, PolicyStrategy)]
    if not policies:
        raise InputError(
            f"{strategy.name} reads no features to which its weights could be attributed; what past bars have done to them is "
            "told by backtests.explain.occlude (regimeshift explain does so by itself)"
        )
    features = tuple(dict.fromkeys(name for policy in policies for name in policy.policy.settings.features.names))
    context, n, symbols = max(policy.context for policy in policies), *bars.shape
    base, start, before = (np.zeros(bars.shape) for _ in range(3))
    known, beliefs = np.zeros(bars.shape, dtype=bool), dict[str, np.ndarray]()
    contributions = np.zeros((3, n, *([] if reduced else [context]), symbols, len(features)))
    for part, weight in found:
        scale = weight[:, None]
        if not isinstance(part, PolicyStrategy):
            aim = scale * planned(part, bars).aim
            base, start, before = base + aim, start + aim, before + aim
            continue
        decisions = Decisions(part, bars)
        moved = integrate(decisions)
        base += scale * decisions.base_weight.numpy()
        start += scale * moved.start
        before += scale * moved.end
        if (belief := decisions.belief) is not None:
            name = part.name if part.name not in beliefs else f"{part.name} {len(beliefs) + 1}"
            beliefs[name] = belief[-1]
        known |= decisions.known[:, -1].numpy()
        columns = [features.index(name) for name in decisions.features]
        parts = moved.parts * weight[:, None, None, None]
        if reduced:
            contributions[..., columns] += parts.sum(axis=2)
        else:
            contributions[:, :, context - part.context :, :, columns] += parts
    decision = planned(strategy, bars).aim
    return _Found(features, base, start, contributions, decision - before, decision, known, beliefs)


def ranked(table: pd.DataFrame, total: np.ndarray | None = None) -> pd.DataFrame:
    """A table with the column ``sum``, of its rows unless it is given, ordered by its size."""
    table = table.assign(sum=table.sum(axis=1) if total is None else total)
    return table.loc[table["sum"].abs().sort_values(ascending=False, kind="stable").index]
