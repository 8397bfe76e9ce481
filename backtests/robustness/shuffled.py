"""Trades in random order: the returns of the account are shuffled, and the drawdown of each order is measured.

Two things are shuffled: single bars, and whole holding periods (the bars from one with orders to the next, kept together). Every
order has the same returns, hence the same growth; what changes is how losses come together. Where the account trades on every
bar, holding periods are single bars.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from backtests.robustness.case import Case
from backtests.robustness.drawing import histogram
from backtests.section import Section
from markets import InputError
from markets.common.statistics import max_drawdown

ORDERS = 1000
FEWEST = 10  # pieces, below which there are too few orders of them to tell anything
_TOGETHER = 2**20  # returns that are shuffled at once


def shuffle_trades(case: Case, *, orders: int = ORDERS, seed: int = 0) -> Section:
    """Shuffle the account's bars and its holding periods, and compare the largest drawdown with that of the real order.

    Parameters
    ----------
    case : Case
    orders : int
        Random orders of each kind.
    seed : int

    Returns
    -------
    Section
        A row each for ``bars`` and ``holding periods``: their number, the largest drawdown in the real order, its median and 90 %
        interval over random orders, the fraction of them with a deeper one, and the total return, which no order changes.

    Raises
    ------
    InputError
        When there are fewer than 10 bars, or a setting is out of range.
    """
    if orders < 1 or seed < 0:
        raise InputError(f"orders is {orders} and seed is {seed}; orders must be at least 1 and seed at least 0")
    equity, traded = case.account.equity, case.account.traded
    alive = equity[:-1] > 0
    returns = np.where(alive, equity[1:] / np.where(alive, equity[:-1], 1.0) - 1, 0.0)
    pieces = {"bars": np.arange(len(returns)), "holding periods": np.append(0, np.flatnonzero(traded[2:] > 0) + 1)}
    if len(returns) < FEWEST:
        raise InputError(f"{case.bars.name}: {len(returns)} returns are too few to shuffle; give at least {FEWEST}")
    real = max_drawdown(np.append(1.0, np.cumprod(1 + returns)))
    samples, rows = {}, {}
    for (kind, starts), rng in zip(pieces.items(), np.random.default_rng(seed).spawn(2), strict=True):
        if len(starts) < FEWEST:
            continue
        samples[kind], growth = shuffled_drawdowns(returns, starts, orders, rng)
        low, middle, high = np.quantile(samples[kind], [0.05, 0.5, 0.95])
        deeper = float(
            (samples[kind] > real * (1 + 1e-9)).mean()
        )  # the same losses in a row are no deeper for rounding
        rows[kind] = {
            "number": len(starts), "real": real, "median": middle, "low": low, "high": high, "deeper": deeper,
            "total return": float(growth.mean()) - 1,
        }  # fmt: skip
    table = pd.DataFrame(rows).T
    kind = table.index[-1]  # holding periods, if there are enough
    last = table.loc[kind]

    def draw() -> Any:
        plot = histogram(samples, real, "max drawdown")
        plot.update_xaxes(tickformat=".0%")
        return plot

    return Section(
        "Trades in random order",
        f"{case.strategy.name}: max drawdown {real:.1%} in the real order; median {last['median']:.1%} over {orders:,} random "
        f"orders of its {int(last['number']):,} {kind}, 5% of them beyond {last['high']:.1%}, {last['deeper']:.0%} deeper than "
        "the real one. The total return is the same in all.",
        "How deep a drawdown the same returns make by chance alone: the real one is one of many that were as likely.",
        "Anything if returns depend on those before them: shuffling destroys volatility that clusters and losses that follow "
        "losses, so drawdowns of real markets are usually deeper. It says nothing of the returns themselves.",
        table,
        draw,
    )


def shuffled_drawdowns(
    returns: np.ndarray, starts: np.ndarray, orders: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Largest drawdown, and growth, of random orders of pieces.

    Parameters
    ----------
    returns : ndarray of shape (T,)
        Simple returns.
    starts : ndarray of int, shape (P,)
        First row of each piece, ascending from 0; a piece keeps its bars together.
    orders : int
    rng : Generator

    Returns
    -------
    drawdowns, growth : ndarray of shape (orders,)
    """
    lengths = np.diff(np.append(starts, len(returns)))
    logs = np.log(np.maximum(1 + returns, 1e-300))  # an account that is ruined stays ruined in any order
    drawdowns, growth = np.empty(orders), np.empty(orders)
    at_once = max(_TOGETHER // len(returns), 1)
    for first in range(0, orders, at_once):
        some = slice(first, min(first + at_once, orders))
        order = rng.permuted(np.tile(np.arange(len(starts)), (some.stop - first, 1)), axis=1)
        size = lengths[order]
        ends = size.cumsum(axis=1)
        # row of each return: it goes on from the start of its piece by as many bars as the piece has had
        jump = (starts[order] - (ends - size)).ravel()
        rows = np.repeat(jump, size.ravel()).reshape(-1, len(returns)) + np.arange(len(returns))
        wealth = np.cumsum(logs[rows], axis=1)
        highest = np.maximum(np.maximum.accumulate(wealth, axis=1), 0.0)
        drawdowns[some] = 1 - np.exp((wealth - highest).min(axis=1))
        growth[some] = np.exp(wealth[:, -1])
    return np.maximum(drawdowns, 0.0), growth
