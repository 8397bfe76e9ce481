"""`RandomWeights`, the null of every comparison: no skill, but the exposure and turnover of a given strategy."""

from __future__ import annotations

import numpy as np

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


def _walk(aim: np.ndarray, listed: np.ndarray, sizes: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """Weights (T, A) that go from target to target, as far as the rows of `aim` moved so far allow."""
    out = np.zeros(aim.shape)
    long, short = np.maximum(aim, 0).sum(axis=1), np.maximum(-aim, 0).sum(axis=1)
    moved = np.abs(np.diff(aim, axis=0, prepend=0.0)).sum(axis=1)
    last, budget, at = np.zeros(aim.shape[1]), 0.0, 0  # `at` is the row whose draws are the target
    for t in range(len(aim)):
        budget += moved[t]
        target = _target(long[t], short[t], listed[t], sizes[at], sides[at])
        start = _exposed(last, long[t], short[t], listed[t], target)
        way = np.abs(target - start).sum()
        share = min(max(budget - np.abs(start - last).sum(), 0.0) / way, 1.0) if way > 0 else 1.0
        out[t] = start + share * (target - start)
        budget -= np.abs(out[t] - last).sum()
        last = out[t]
        if share == 1:
            at = t
    return out


def _target(long: float, short: float, listed: np.ndarray, sizes: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """A book of exposures `long` and `short`, divided at random among the listed symbols."""
    out, there = np.zeros(len(listed)), np.flatnonzero(listed)
    if long + short == 0 or not len(there):
        return out
    sold = sides[there] < short / (long + short)
    if len(there) > 1:  # no side is left empty
        sold[sides[there].argmin()] |= short > 0
        sold[sides[there].argmax()] &= long == 0
    for side, exposure in ((there[~sold], long), (there[sold], -short)):
        out[side] = exposure * sizes[side] / sizes[side].sum()
    return out


def _exposed(last: np.ndarray, long: float, short: float, listed: np.ndarray, target: np.ndarray) -> np.ndarray:
    """`last` on the listed symbols, scaled to the exposures; the target's side where there is none to scale."""
    last = np.where(listed, last, 0.0)
    out = np.zeros(len(last))
    for sign, exposure in ((1, long), (-1, short)):
        side, chosen = np.maximum(sign * last, 0), np.maximum(sign * target, 0)
        total = side.sum()
        out += sign * (side * exposure / total if total > 0 else chosen)
    return out
