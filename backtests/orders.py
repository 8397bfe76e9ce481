"""From a decision to orders in shares, from the holdings as they are. The account's own kernel trades, on one bar of last closes.

The fill is at another price, so the weights that are reached differ by what prices move until then.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from backtests.deployment import as_array
from markets import Bars, Costs, Execution, InputError
from markets.accounting.market import make_market
from markets.accounting.simulate import plan_rows, run_paths

CASH = "cash"


@dataclass(frozen=True)
class Holdings:
    """An account as it is.

    Attributes
    ----------
    shares : ndarray of shape (A,)
        Negative where sold short.
    cash : float
    """

    shares: np.ndarray
    cash: float = 0.0

    def weights(self, prices: np.ndarray) -> np.ndarray:
        """Weights at these prices, shape (A,).

        Raises
        ------
        InputError
            When the account is worth nothing.
        """
        equity = self.cash + float(self.shares @ prices)
        if not equity > 0:
            raise InputError(f"the holdings are worth {equity:g} at the last closes; there is nothing to trade with")
        return self.shares * prices / equity


def read_holdings(path: str | Path, symbols: Sequence[str]) -> Holdings:
    """Holdings from a CSV file with the columns ``symbol`` and ``shares``, and cash in a row called ``cash``.

    Parameters
    ----------
    path : str or Path
    symbols : sequence of str, length A
        What the model trades. One that has no row is not held.

    Raises
    ------
    InputError
        When the file cannot be read, a symbol is another one or appears twice, or a number is none; the message names the row.
    """
    found: dict[str, float] = {}
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a table of holdings ({getattr(error, 'strerror', None) or error})") from None
    if not rows or [cell.strip().lower() for cell in rows[0]] != ["symbol", "shares"]:
        raise InputError(
            f"{path}: its first row must be symbol,shares; then one row for each symbol, and one called {CASH}"
        )
    for number, row in enumerate(rows[1:], 2):
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        if len(cells) != 2:
            raise InputError(f"{path}: row {number} has {len(cells)} cells; write a symbol and a number of shares")
        name, text = cells
        if name != CASH and name not in symbols:
            raise InputError(
                f"{path}: row {number}: the model knows nothing of {name!r}; leave out what it does not trade"
            )
        if name in found:
            raise InputError(f"{path}: row {number}: {name} appears twice; keep one row")
        try:
            found[name] = float(text)
        except ValueError:
            found[name] = math.nan
        if not math.isfinite(found[name]):
            raise InputError(f"{path}: row {number}: {text!r} is not a number of shares, or an amount of cash")
    return Holdings(np.array([found.get(symbol, 0.0) for symbol in symbols]), found.get(CASH, 0.0))


def orders(
    answer: Mapping[str, Any],
    prices: np.ndarray,
    held: Holdings,
    costs: Costs | str = "10bp",
    execution: Execution | None = None,
) -> np.ndarray:
    """Shares to buy, or to sell where negative, shape (A,), in the order of the answer.

    Parameters
    ----------
    answer : mapping
        A decision, as `backtests.decider` answers it.
    prices : ndarray of shape (A,)
        Last closes.
    held : Holdings
    costs : Costs or str
        What orders cost, for which cash is left.
    execution : Execution, optional
        Sizing and limits; by default whole lots.
    """
    execution = execution or Execution(sizing="whole_lots")
    aim, band, rate = (as_array(answer[part])[None, None] for part in ("target_weight", "band", "rate"))
    weights = held.weights(prices)
    aim = np.where(np.isfinite(aim), aim, weights)  # of a position that is to be left alone nothing is wanted
    now = Bars.make(pd.DatetimeIndex(["2000-01-01", "2000-01-02"]), answer["symbols"], np.array([prices, prices]))
    market, rules = make_market(now, Costs.parse(costs), execution)
    plan = plan_rows(*(np.repeat(part, 2, axis=1) for part in (aim, band, rate)))
    start = np.zeros(1, dtype=np.int64)
    paths = run_paths(market, rules, start, plan, held.cash, shares=held.shares)
    return paths.shares[0, 1] - held.shares
