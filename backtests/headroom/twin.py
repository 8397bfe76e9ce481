"""`Twin`: markets like the user's as bars, to train a learner on and to judge what it learnt, under the rules of the headroom.

Each market is one of `Calibration.draws`, with one symbol: what is held more or less of. Some markets are there to be trained on,
the rest to be judged in, so that a learner knows what markets there are, and not which one it is in. They differ as much as the
user's bars leave open. Every bar opens where the last one closed, and orders fill there: a decision at a close earns the next
return, as in `strategies.optimal.Exposure`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from backtests.headroom.headroom import Headroom
from backtests.headroom.traders import Judged
from markets import Bars, Costs, Execution, InputError, TaskSet
from markets.bars.time_spans import median_spacing
from markets.common.statistics import bars_per_year
from markets.synthetic import TwoRegimes
from strategies.optimal import Exposure

MARKETS = 12  # to be judged in, and as many to be trained on
JUDGED = 5000  # bars on which it is judged in each
SHORTEST, MOST = 1500, 4000  # bars of a history; features and estimates read up to a thousand of them before they begin
_DAY = 86_400


@dataclass(frozen=True, eq=False)
class Twin:
    """Markets like those of some bars.

    Attributes
    ----------
    name : str
        What they are like.
    problem : Exposure
        What may be held, and at what cost; per bar.
    per_year : float
        Bars of the user's per year.
    level : float
        Probability of intervals.
    costs : Costs
    execution : Execution
        Both say what `problem` says, to a learner and to the account.
    training : Bars
        The histories of markets to be trained on, one after another, of `history` returns each.
    history : int
        Bars that a learner has of each market before it is judged there.
    span : int
        Bars on which it is judged in each.
    markets : tuple of TwoRegimes
        Those to be judged in.
    judged : tuple of Judged
        The traders' accounts in these markets.
    seed : int
    """

    name: str
    problem: Exposure
    per_year: float
    level: float
    costs: Costs
    execution: Execution
    training: Bars
    history: int
    span: int
    markets: tuple[TwoRegimes, ...]
    judged: tuple[Judged, ...]
    seed: int = 0

    @classmethod
    def of(cls, found: Headroom, *, markets: int = MARKETS, span: int = JUDGED, seed: int = 0) -> Twin:
        """Markets of a headroom's calibration.

        Parameters
        ----------
        found : Headroom
        markets : int
            To be judged in, at least 2, and as many to be trained on; at most half of the draws each.
        span : int
            Bars on which a learner is judged in each, at least 250.
        seed : int
            Of the paths.

        Raises
        ------
        InputError
            When a setting is out of range.
        """
        draws = found.calibration.draws
        if not markets >= 2 or span < 250 or seed < 0:
            raise InputError(
                f"markets is {markets}, span {span} and seed {seed}; use at least 2, at least 250 and at least 0"
            )
        # spread over the chain, in turn, so that both kinds of markets differ as much as the draws do
        rows = np.linspace(0, len(draws) - 1, 2 * min(markets, len(draws) // 2)).round().astype(int).tolist()
        learnt, judged = rows[::2], rows[1::2]
        history = int(np.clip(len(found.returns), SHORTEST, MOST))
        spacing = median_spacing(found.index)
        paths = [draws[k].sample(1, history, np.random.default_rng([seed, 0, k]))[0][0] for k in learnt]
        training = bars_of(np.concatenate(paths), spacing)
        costs, execution = rules(found.problem, bars_per_year(training.index))
        return cls(
            found.name, found.problem, found.per_year, found.level, costs, execution, training, history, span,
            tuple(draws[k] for k in judged), tuple(found.judged[k] for k in judged), seed,
        )  # fmt: skip

    @property
    def learnt(self) -> int:
        """Number of markets to be trained on."""
        return (len(self.training) - 1) // self.history

    @property
    def sample(self) -> Bars:
        """The history of the first market to be trained on, by which windows can be chosen."""
        return self.training.rows(0, self.history)

    def tasks(self, *, support: int, query: int, warmup: int, step: int | None = None) -> tuple[TaskSet, TaskSet]:
        """Rolling windows of the markets to be trained on, and of the last quarter of these for validation.

        Parameters
        ----------
        support, query : int
            Bars of each part.
        warmup : int
            Bars of its market before a task begins, so that none reads two markets.
        step : int, optional
            Bars from one window to the next; by default `query`.

        Raises
        ------
        InputError
            When a history holds no window.
        """
        found = TaskSet.from_windows(self.training, support=support, query=query, step=step, warmup=warmup)
        # row 0 is the price before the first return
        ends = [(divmod(task.start - 1, self.history), (task.stop - 2) // self.history, task) for task in found]
        inside = [task for (market, row), last, task in ends if row >= warmup and market == last]
        since = 1 + self.history * (self.learnt - max(self.learnt // 4, 1))
        learnt, kept = (tuple(t for t in inside if (t.start >= since) == late) for late in (False, True))
        if not learnt or not kept:
            raise InputError(
                f"a history of {self.history:,} bars holds no window of {support} + {query} after a warm-up of {warmup}; use "
                "shorter windows"
            )
        return replace(found, tasks=learnt), replace(found, tasks=kept)

    def path(self, number: int) -> tuple[np.ndarray, Bars]:
        """Returns (history + span,) of a market to be judged in, and their bars, with a row before the first return."""
        rng = np.random.default_rng([self.seed, 1, number])
        returns = self.markets[number].sample(1, self.history + self.span, rng)[0][0]
        return returns, bars_of(returns, median_spacing(self.training.index))


def bars_of(returns: np.ndarray, spacing: float) -> Bars:
    """Bars of one symbol, on weekdays or `spacing` seconds apart, of which each opens where the last one closed."""
    close = 100 * np.cumprod(np.append(1.0, 1 + np.maximum(returns, -0.99)))[:, None]
    # a long path must not end in prices that are no numbers; returns do not depend on the level
    close *= np.exp(-np.log(close).mean())
    before = np.vstack([close[:1], close[:-1]])
    if 0.75 * _DAY < spacing < 1.5 * _DAY:
        index = pd.bdate_range("1900-01-01", periods=len(close)).as_unit("us")
    else:
        step = pd.Timedelta(seconds=round(spacing))
        index = pd.date_range("1900-01-01", periods=len(close), freq=step, unit="us")
    high, low = np.maximum(before, close), np.minimum(before, close)
    return Bars.make(index, ["held"], close, open=before, high=high, low=low, name="a market like it")


def rules(problem: Exposure, per_year: float) -> tuple[Costs, Execution]:
    """Costs and account of one symbol under which a plan earns what `problem` says, on so many bars per year."""
    costs = Costs(
        commission=problem.cost, financing_rate=problem.financing * per_year, borrow_rate=problem.borrow * per_year
    )
    limit = max(problem.high, -problem.low)
    return costs, Execution(
        fill="next_open", gross=limit, borrowing=limit > 1, long_only=problem.low == 0, delisting_haircut=0.0
    )
