"""An account by year, by month and by regime, with the conventions of `backtests.metrics.account`.

A return belongs to the year and month of the mark at which it ends, and to the regime of the mark at which it begins: the one
that was known when the position was decided. The regime at its end has seen the return, and would sort losses into the wild
regime. Rates per year use the bars per year of the whole account.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from backtests.metrics.view import Account
from markets import InputError, RegimePath
from markets.common.statistics import bars_per_year, deviation, hit_rate, max_drawdown, returns_of, sharpe


def by_year(account: Account) -> pd.DataFrame:
    """One row per calendar year: total return, volatility, Sharpe, max drawdown, turnover, costs, hit rate.

    Turnover and costs are of the year's bars, not annualised.
    """
    return _grouped(account, account.index[1:].year.to_numpy(), annual=False).rename_axis("year")


def by_month(account: Account) -> pd.DataFrame:
    """Total return of each month: one row per year, columns 1 to 12; NaN where there are no bars."""
    end = account.index[1:]
    growth = pd.Series(1 + returns_of(account.equity)).groupby([end.year, end.month]).prod() - 1
    return growth.unstack().reindex(columns=range(1, 13)).rename_axis(index="year", columns="month")


def by_regime(account: Account, regimes: RegimePath) -> pd.DataFrame:
    """One row per regime, least volatile first.

    Returns
    -------
    DataFrame
        Columns ``bars``, ``share of bars``, ``mean return`` per year, and as in `by_year` volatility, Sharpe, max drawdown (of
        the regime's returns put together), turnover and costs (per year of that regime), hit rate.

    Raises
    ------
    InputError
        When the regimes begin after the account.
    """
    at = regimes.index.searchsorted(account.index[:-1], side="right") - 1  # the latest label at or before the bar
    if (at < 0).any():
        raise InputError(
            f"regimes begin on {regimes.index[0]}, after the account on {account.index[0]}; filter all of its bars"
        )
    labels = regimes.labels[at]
    table = _grouped(account, labels, annual=True).reindex(range(len(regimes.names)))
    returns, per_year = returns_of(account.equity), bars_per_year(account.index)
    bars = np.bincount(labels, minlength=len(regimes.names))
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.bincount(labels, returns, minlength=len(regimes.names)) / bars * per_year
    table = table.drop(columns="total return")
    table.insert(0, "bars", bars)
    table.insert(1, "share of bars", bars / max(len(returns), 1))
    table.insert(2, "mean return", mean)
    return table.set_axis(pd.Index(regimes.names, name="regime"))


def _grouped(account: Account, groups: np.ndarray, *, annual: bool) -> pd.DataFrame:
    """Metrics of the returns of each group (T − 1,)."""
    returns, per_year = returns_of(account.equity), bars_per_year(account.index)
    before = account.equity[:-1]
    safe = np.where(before > 0, before, np.inf)
    traded, paid = account.traded[1:] / safe, account.cost[1:] / safe
    rows = {}
    for group in np.unique(groups):
        inside = groups == group
        part = returns[inside]
        rate = per_year / len(part) if annual else 1.0
        rows[group] = {
            "total return": float(np.prod(1 + part) - 1),
            "volatility": deviation(part) * np.sqrt(per_year),
            "Sharpe": sharpe(part, per_year),
            "max drawdown": max_drawdown(np.concatenate([[1.0], np.cumprod(1 + part)])),
            "turnover": float(traded[inside].sum() * rate),
            "costs": float(paid[inside].sum() * rate),
            "hit rate": hit_rate(part),
        }
    return pd.DataFrame.from_dict(rows, orient="index")
