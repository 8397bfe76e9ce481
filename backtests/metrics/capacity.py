"""Capacity: the capital at which the market impact of its own orders takes half of a strategy's return.

By the square-root law an order of value Q in a symbol of volatility σ per bar and average traded value ADV per bar pays
``k·σ·√(Q / ADV)·Q``. With q the orders as fractions of capital C, a mean over T bars, and A bars per year, impact costs
per year are a fraction::

    A/T Σ k σ √(C q / ADV) q = K √C,   K = A/T Σ k σ q^1.5 / √ADV

of the capital, and with r the mean return per year the fraction `kept` of it is left at ``C = ((1 − kept) r / K)²``. The
capital is held constant: profits are withdrawn. k is near 1 (Tóth et al., "Anomalous price impact and the critical nature of
liquidity in financial markets", Physical Review X 2011).
"""

from __future__ import annotations

import numpy as np

from backtests.metrics.view import Account
from markets import Bars, Costs, Execution, InputError
from markets.accounting.market import make_market
from markets.common.statistics import bars_per_year, returns_of


def capacity(account: Account, bars: Bars, *, impact: float = 1.0, kept: float = 0.5) -> float:
    """Capital, in the money of the prices, at which impact leaves the fraction `kept` of the mean return per year.

    Orders are what the weights say: the change of a weight from mark to mark beyond what prices did to it. The return is net of
    the costs that the account has paid; if these hold an impact, the capacity is what comes on top. Orders of the first bars,
    before there is a volatility, pay by the first that there is.

    Parameters
    ----------
    account : Backtest
        Of shape (T, A).
    bars : Bars of shape (T, A)
        With volume.
    impact : float
        k of the square-root law.
    kept : float
        Between 0 and 1.

    Returns
    -------
    float
        NaN if the account lost money; infinite if it never traded.

    Raises
    ------
    InputError
        When the bars have no volume or are not those of the account, or a setting is out of range.
    """
    if not impact > 0 or not 0 < kept < 1:
        raise InputError(f"impact is {impact} and kept is {kept}; give a positive number, and a fraction such as 0.5")
    if not account.index.equals(bars.index):
        raise InputError(f"{bars.name}: these are not the bars of the account")
    market, _ = make_market(bars, Costs(impact=impact), Execution())
    coefficient = market.impact[:-1].copy()  # at the decision of each order
    for column in coefficient.T:
        first = int((column > 0).argmax())
        column[:first] = column[first]  # not zero, as if these orders were free
    returns, per_year = returns_of(account.equity), bars_per_year(bars.index)
    earned = float(returns.mean() * per_year)
    marks = bars.marks
    with np.errstate(divide="ignore", invalid="ignore"):
        moved = np.nan_to_num(marks[1:] / marks[:-1], nan=1.0, posinf=1.0)
        kept_weight = account.weights[:-1] * moved / np.maximum(1 + returns, 1e-12)[:, None]
    orders = np.abs(account.weights[1:] - np.where(account.equity[1:, None] > 0, kept_weight, 0.0))
    orders[orders < 1e-9] = 0.0  # rounding
    rate = float((coefficient * orders**1.5).sum(axis=1).mean() * per_year)
    if not earned > 0:
        return np.nan
    return ((1 - kept) * earned / rate) ** 2 if rate > 0 else np.inf
