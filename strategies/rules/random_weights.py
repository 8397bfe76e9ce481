"""`RandomWeights`, the null of every comparison: no skill, but the exposure and turnover of a given strategy."""

from __future__ import annotations

import numpy as np
from numba import njit

from markets import Bars, InputError, Plan
from strategies.rules.simple import Momentum
from strategies.strategy import Strategy, planned


class RandomWeights(Strategy):
    """Random weights with the long and the short exposure of another strategy on each bar, and with its turnover.

    A target is drawn: on each side of the book, weights in proportion to exponential variates, which is uniform over all ways
    to divide it (a flat Dirichlet distribution). The weights move towards it by as much as the other strategy's targets moved
    on the bar, ``Σᵢ |w_{t,i} − w_{t−1,i}|``, and what cannot be spent is spent later. When it is reached, another one is
    drawn. So the costs are those of the other strategy, and what it earns besides is owed to the choice of symbols or to luck
    (a test by random portfolios: Burns, "Random portfolios for evaluating trading strategies", 2006). A symbol on its way
    from one side to the other nets out, so with short positions the exposure is a little lower at times. Of a single symbol
    the weights are the strategy's.

    Weights are drawn from the first bar held on, so a row is the same whatever bars are shown.

    Parameters
    ----------
    strategy : Strategy, optional
        Whose exposure and turnover to take; by default `Momentum`.
    seed : int
        At least 0.

    Raises
    ------
    InputError
        When `seed` is below 0.
    """

    endless = True

    def __init__(self, strategy: Strategy | None = None, seed: int = 0):
        self.strategy = strategy or Momentum()
        self.name = f"random like {self.strategy.name}"
        if seed < 0:
            raise InputError(f"{self.name}: seed is {seed}; it must be at least 0")
        self.seed = seed
        self.warmup, self.adapts = self.strategy.warmup, self.strategy.adapts

    def plan(self, bars: Bars) -> Plan:
        held = bars.with_past()
        aim = planned(self.strategy, held).aim
        # filled row by row, so the draws of a row do not depend on how many rows follow
        sizes = np.random.default_rng([self.seed, 0]).standard_exponential(held.shape)
        sides = np.random.default_rng([self.seed, 1]).random(held.shape)
        return Plan(_walk(aim, held.listed, sizes, sides)[bars.past :])

    def adapt(self, bars: Bars) -> Strategy:
        """Like the adapted strategy; itself if that does not adapt."""
        return RandomWeights(self.strategy.adapt(bars), self.seed) if self.adapts else self


@njit(cache=True, nogil=True)
def _walk(aim, listed, sizes, sides):
    """Weights (T, A) that go from target to target, as far as the rows of `aim` moved so far allow."""
    length, n = aim.shape
    out = np.zeros((length, n))
    last, start, target, totals = np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(2)
    budget, at = 0.0, 0  # `at` is the row whose draws are the target
    for t in range(length):
        long = short = 0.0
        for i in range(n):
            budget += abs(aim[t, i] - (aim[t - 1, i] if t else 0.0))
            long += max(aim[t, i], 0.0)
            short += max(-aim[t, i], 0.0)
        _target(long, short, listed[t], sizes[at], sides[at], totals, target)
        _exposed(last, long, short, listed[t], target, start)
        way = first = 0.0
        for i in range(n):
            way += abs(target[i] - start[i])
            first += abs(start[i] - last[i])
        share = min(max(budget - first, 0.0) / way, 1.0) if way > 0 else 1.0
        for i in range(n):
            out[t, i] = start[i] + share * (target[i] - start[i])
            budget -= abs(out[t, i] - last[i])
            last[i] = out[t, i]
        if share == 1:
            at = t
    return out


@njit(cache=True, nogil=True)
def _target(long, short, listed, sizes, sides, totals, out):
    """A book of exposures `long` and `short`, divided at random among the listed symbols, into `out`."""
    out[:] = 0.0
    there, lowest, highest = 0, -1, -1
    for i in range(len(out)):
        if listed[i]:
            there += 1
            lowest = i if lowest < 0 or sides[i] < sides[lowest] else lowest
            highest = i if highest < 0 or sides[i] > sides[highest] else highest
    if long + short == 0 or there == 0:
        return
    totals[:] = 0.0
    for i in range(len(out)):
        if listed[i]:
            sold = sides[i] < short / (long + short)
            if there > 1:  # no side is left empty
                sold = (sold or (i == lowest and short > 0)) and not (i == highest and long > 0)
            out[i] = -sizes[i] if sold else sizes[i]
            totals[int(sold)] += sizes[i]
    for i in range(len(out)):
        if out[i] != 0:
            out[i] *= long / totals[0] if out[i] > 0 else short / totals[1]


@njit(cache=True, nogil=True)
def _exposed(last, long, short, listed, target, out):
    """`last` on the listed symbols, scaled to the exposures, into `out`; the target's side where there is none to scale."""
    up = down = 0.0
    for i in range(len(out)):
        if listed[i]:
            up += max(last[i], 0.0)
            down += max(-last[i], 0.0)
    for i in range(len(out)):
        held = last[i] if listed[i] else 0.0
        bought = max(held, 0.0) * long / up if up > 0 else max(target[i], 0.0)
        sold = max(-held, 0.0) * short / down if down > 0 else max(-target[i], 0.0)
        out[i] = bought - sold
