"""What a reader must know beside the figures: equal accounts, weights cut by limits, policies that hold their base."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from backtests.results import Backtest

# Cuts that are worth a remark. Costs that were not left in cash cut most buys a little, which is not.
BY_LIMITS, BY_CASH = 0.99, 0.95


def grouped(backtests: Sequence[Backtest]) -> list[tuple[Backtest, list[Backtest]]]:
    """The distinct accounts, each with the others that are equal to it at every bar, to a millionth.

    A group is represented by its first rule, or by its first member if it has no rule.

    Returns
    -------
    list of (Backtest, list of Backtest)
        In the order of the representatives.
    """
    groups: list[list[Backtest]] = []
    for backtest in backtests:
        same = next((g for g in groups if np.allclose(g[0].equity, backtest.equity, rtol=1e-6, atol=0)), None)
        if same is None:
            groups.append([backtest])
        else:
            same.append(backtest)
    order = list(backtests)
    heads = [(next((b for b in group if b.fingerprint is None), group[0]), group) for group in groups]
    found = [(head, [b for b in group if b is not head]) for head, group in heads]
    return sorted(found, key=lambda item: order.index(item[0]))


def remarks(backtests: Sequence[Backtest]) -> list[str]:
    """Sentences to be read beside the table: which accounts are the same, what limits cut, what strategies say of themselves."""
    sentences = [
        f"Same as {head.name}: {'; '.join(b.name for b in rest)}." for head, rest in grouped(backtests) if rest
    ]
    for backtest, _ in grouped(backtests):
        for what, kept, notable in (
            ("limits", backtest.scaled, BY_LIMITS),
            ("the available cash", backtest.afforded, BY_CASH),
        ):
            filled = np.ones(1) if kept is None else kept[1:]
            cut = filled[filled < notable]
            if len(cut):
                sentences.append(
                    f"{backtest.name}: {what} cut what it wanted on {len(cut):,} of {len(filled):,} bars, to "
                    f"{cut.mean():.2f} of its gross weight in the mean (median {np.median(cut):.2f})."
                )
    return [*sentences, *dict.fromkeys(b.remark for b in backtests if b.remark)]
