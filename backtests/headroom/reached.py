"""`reached`: what share of the headroom a learner reaches on markets like the user's, by the account that every backtest has.

In each market of a `Twin` the learner adapts to a history and trades the bars that follow. The filter that knows the market's
parameters and the best constant exposure trade the same bars through the same account, and the share over K markets is ::

    Σ (learner − constant) / Σ (filter − constant)

of their certainty equivalents. A path of the user's length would say little, since luck in returns is larger than what adapting
adds. So the part of luck that is known is left out: what is held over a bar earns the *expected* return given all returns before
it, ``E[r | past]``, and bears its expected square, both of which the filter knows exactly. What was paid, the account says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from backtests.engine.protocols import Adaptive
from backtests.headroom.folded import Range
from backtests.headroom.traders import CONSTANT, LEARNS, LEARNT
from backtests.headroom.twin import Twin
from markets import Bars, InputError, Plan, simulate
from markets.common.progress import visible
from markets.synthetic import TwoRegimes
from strategies.optimal import Account, ExposureFilter, filtered, solve_filter
from strategies.strategy import planned

LEAST = 1e-3  # headroom per year, below which a share of it means nothing
RESAMPLES = 2000


@dataclass(frozen=True, eq=False)
class Reached:
    """Accounts per bar in each of K markets, all on the same bars.

    Attributes
    ----------
    name : str
        Of the learner.
    twin : Twin
    learner, filter, constant : tuple of Account, length K
        Of the learner, of one who knows the market's parameters and filters its regime, and of the best exposure that never
        changes.
    """

    name: str
    twin: Twin
    learner: tuple[Account, ...]
    filter: tuple[Account, ...]
    constant: tuple[Account, ...]

    @property
    def gains(self) -> np.ndarray:
        """Certainty equivalent above the constant's, per year: of the learner and of the filter, shape (2, K)."""
        value = np.array([[each.value for each in who] for who in (self.learner, self.filter, self.constant)])
        return (value[:2] - value[2]) * self.twin.per_year

    @property
    def telling(self) -> bool:
        """Whether there is headroom enough for a share of it to mean something."""
        return bool(self.gains[1].mean() >= LEAST)

    @cached_property
    def share(self) -> Range:
        """Share of the headroom, with its interval by the bootstrap over markets; NaN where the share is not `telling`."""
        if not self.telling:
            return Range(np.nan, np.nan, np.nan)
        learner, most = self._resampled
        return self._range(self.gains[0].sum() / self.gains[1].sum(), learner / most)

    @cached_property
    def gain(self) -> Range:
        """Mean gain per year over the best constant exposure, with its interval."""
        return self._range(self.gains[0].mean(), self._resampled[0])

    def others(self) -> dict[str, float]:
        """What those gain per year, on average over the same markets, who know only what the user's bars say of them.

        By their names in `backtests.headroom.TRADERS`: one who learns the regimes, and one who learns a constant exposure.
        """
        judged = self.twin.judged
        best = np.array([each.accounts[CONSTANT].value for each in judged])
        return {
            name: float((np.array([each.accounts[name].value for each in judged]) - best).mean()) * self.twin.per_year
            for name in (LEARNS, LEARNT)
        }

    @cached_property
    def _resampled(self) -> np.ndarray:
        """Mean gains over markets drawn with replacement, shape (2, RESAMPLES)."""
        count = len(self.learner)
        rows = np.random.default_rng([self.twin.seed, 2]).integers(count, size=(RESAMPLES, count))
        return self.gains[:, rows].mean(axis=2)

    def _range(self, value: float, draws: np.ndarray) -> Range:
        tail = 0.5 * (1 - self.twin.level)
        low, high = np.quantile(draws, [tail, 1 - tail])
        return Range(float(value), float(low), float(high))


def reached(twin: Twin, learner: Adaptive, *, every: int = 0, progress: bool = True) -> Reached:
    """Judge something that adapts in the markets of a twin.

    Parameters
    ----------
    twin : Twin
    learner : Strategy or MetaPolicy
        Trained on ``twin.tasks(...)`` if it learns.
    every : int
        Bars between adaptations; 0 adapts once, to the history, which is enough for what adapts by what it reads.
    progress : bool
        Whether to show a progress bar, on a terminal.

    Returns
    -------
    Reached

    Raises
    ------
    InputError
        When `every` is negative, or a history is shorter than the learner needs.
    """
    if every < 0:
        raise InputError(f"every is {every}; it must be at least 0")
    found = [
        _judge(twin, number, market, learner, every or twin.span + 1)
        for number, market in _tracked(twin.markets, learner.name, progress)
    ]
    return Reached(learner.name, twin, *(tuple(each) for each in zip(*found, strict=True)))


def _judge(twin: Twin, number: int, market: TwoRegimes, learner: Adaptive, every: int) -> tuple[Account, ...]:
    """Accounts of learner, filter and constant in one market."""
    problem, first = twin.problem, twin.history
    returns, bars = twin.path(number)
    solved = solve_filter(problem, market)
    held = ExposureFilter(problem, [market], solved=[solved]).follow(returns[None])[0, first - 1 :, None]
    constant = np.full_like(held, problem.low + problem.step * solved.constant.sum())
    # it is bought whole, and then nothing is traded as prices move it by less than half a step of the optimum's
    band = np.full_like(held, problem.step / 2)
    band[0] = 0
    plans = [_planned(learner, bars, first, every), Plan(held), Plan(constant, band)]
    second = filtered(market, returns[None])[0, first - 1 : -1]
    return tuple(account(twin, market, bars.rows(first, len(bars)), plan, second) for plan in plans)


def _planned(learner: Adaptive, bars: Bars, first: int, every: int) -> Plan:
    """The plan from row `first` on, of a learner that adapts to the bars so far."""
    plans = []
    starts = range(first, len(bars) - 1, every)  # what the last row decides is never filled
    for start in starts:
        adapted = learner.adapt(bars.rows(0, start + 1))
        if start + 1 <= adapted.warmup:
            raise InputError(
                f"{adapted.name} needs {adapted.warmup} bars to warm up, and a history has {first}; use shorter windows"
            )
        plans.append(planned(adapted, bars.rows(start, len(bars) if start == starts[-1] else start + every)))
    return Plan.join(plans)


def account(twin: Twin, market: TwoRegimes, bars: Bars, plan: Plan, second: np.ndarray) -> Account:
    """Moments of an account that executes a plan, with expected instead of realised returns.

    Parameters
    ----------
    twin : Twin
    market : TwoRegimes
    bars : Bars of shape (T, 1)
    plan : Plan of shape (T, 1)
    second : ndarray of shape (T − 1,)
        Probability, after each bar but the last, that the next one is in the second regime.

    Returns
    -------
    Account
    """
    paths = simulate(bars, plan, costs=twin.costs, execution=twin.execution)
    equity, close = paths.equity[0], bars.close[:, 0]
    # the fill is at the last close: what is held over a bar, as a fraction of the equity before it is bought
    weights = paths.shares[0, 1:, 0] * close[:-1] / equity[:-1]
    paid = weights * (close[1:] / close[:-1] - 1) - (equity[1:] / equity[:-1] - 1)
    mean, square = (pair[0] + (pair[1] - pair[0]) * second for pair in (np.asarray(market.mean), market.square))
    earned = float((weights * mean - paid).mean())
    squares = float((weights**2 * square).mean())
    turnover = float((paths.traded[0, 1:] / equity[:-1]).mean())
    return Account(earned, squares, turnover, earned - 0.5 * twin.problem.risk_aversion * squares)


def _tracked(markets: Sequence[TwoRegimes], name: str, progress: bool) -> Iterator[tuple[int, TwoRegimes]]:
    from rich.progress import track

    shown = track(markets, f"{name} in markets like it", transient=True, disable=not visible(progress))
    yield from enumerate(shown)
