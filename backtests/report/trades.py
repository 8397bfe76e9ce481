"""The largest trades of each strategy in each symbol, to be marked on its price."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from backtests.report.compact import Clock, packed
from backtests.results import Backtests
from markets.common.pages import rows_to_draw


def largest_trades(result: Backtests, name: str, clock: Clock, symbols: list[int], most: int) -> list[dict[str, Any]]:
    """Of each symbol the trades of the largest share of equity, as the ledger has them.

    Parameters
    ----------
    result : Backtests
    name : str
        Strategy.
    clock : Clock
        Of the bars.
    symbols : list of int
    most : int
        Number of trades per symbol.

    Returns
    -------
    list of dict
        Per symbol: ``times``, ``prices`` before costs, ``sizes`` (fraction of the equity before the trade, positive for buys),
        and ``of``, the number of all its trades.
    """
    bars, equity = result.bars, result[name].equity
    trades = result.ledger(name).trades
    row = bars.index.get_indexer(pd.Index(trades["time"]))
    share = trades["value"].to_numpy() / np.maximum(equity[np.maximum(row - 1, 0)], 1e-9)
    price, symbol = trades["price"].to_numpy(), pd.Index(bars.symbols).get_indexer(pd.Index(trades["symbol"]))
    order = np.lexsort((-np.abs(share), symbol))  # by symbol, the largest first
    found = []
    for k in symbols:
        first, last = np.searchsorted(symbol[order], [k, k + 1])
        kept = np.sort(order[first : min(first + most, last)])
        found.append(
            {
                "times": clock.packed(row[kept]),
                "prices": packed(price[kept]),
                "sizes": packed(share[kept]),
                "of": int(last - first),
            }
        )
    return found


def prices(result: Backtests, clock: Clock, symbols: list[int], columns: int) -> list[dict[str, Any]]:
    """The marks of each symbol, NaN before it is listed, in as many columns of pixels."""
    bars, found = result.bars, []
    for k in symbols:
        mark = bars.marks[:, k]
        rows = rows_to_draw(bars.index, mark, columns)
        found.append({"symbol": bars.symbols[k], "times": clock.packed(rows), "price": packed(mark[rows])})
    return found
