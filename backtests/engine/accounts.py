"""Accounts of plans: those of the same parts share calls of `simulate`, few enough at a time that memory is bounded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from backtests.results import Backtest
from markets import Bars, Costs, Execution, simulate
from strategies import Plan

_TOGETHER = 2**22  # weights (plans × bars × symbols) of one call, which bounds the memory


def accounts(
    bars: Bars,
    plans: Iterable[Plan],
    *,
    costs: Costs | str = "10bp",
    execution: Execution | None = None,
    name: str = "",
) -> Iterator[Backtest]:
    """The account of each plan for the visible rows of `bars`, in their order.

    Parameters
    ----------
    bars : Bars of shape (T, A)
    plans : iterable of Plan of shape (T, A)
        With whatever parts, stops among them.
    costs : Costs or str
    execution : Execution, optional
    name : str
        Of the strategy whose plans they are.
    """
    for some in batches(plans, _TOGETHER // bars.close.size):
        paths = simulate(bars, stacked(some), costs=costs, execution=execution)
        for k, plan in enumerate(some):
            equity = paths.equity[k]
            weights = paths.shares[k]
            weights *= bars.marks  # in place: panels may be large
            weights /= np.where(equity > 0, equity, np.inf)[:, None]
            np.nan_to_num(weights, copy=False)  # symbols that are not listed yet have no mark
            yield Backtest(
                name, bars.index, bars.symbols, equity, paths.cost[k], paths.traded[k], weights, plan,
                scaled=paths.scaled[k], afforded=paths.afforded[k],
            )  # fmt: skip


def batches(plans: Iterable[Plan], size: int) -> Iterator[list[Plan]]:
    """Up to `size` plans at a time, but at least one, which have the same parts."""
    batch: list[Plan] = []
    for plan in plans:
        if batch and (len(batch) >= size or batch[0].parts.keys() != plan.parts.keys()):
            yield batch
            batch = []
        batch.append(plan)
    if batch:
        yield batch


def stacked(plans: Sequence[Plan]) -> Plan:
    """Plans (T, A) of the same parts as one of shape (B, T, A); a single one as it is."""
    if len(plans) == 1:
        return plans[0]
    return Plan(**{part: np.stack([plan.part(part) for plan in plans]) for part in plans[0].parts})
