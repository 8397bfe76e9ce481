"""`headroom`: how much adapting could be worth on given bars, from markets that are like theirs and whose optima are known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from backtests.headroom.folded import Range, folded
from backtests.headroom.traders import (
    CONSTANT,
    FILTERS,
    LEARNS,
    LEARNT,
    TRADERS,
    Judged,
    gains_of,
    judge,
    ratio,
    sign_of,
)
from markets import Bars, Costs, Execution, InputError, simulate
from markets.accounting.quotes import last_quotes
from markets.bars.frequency import DAILY_YEAR
from markets.common.progress import visible
from markets.common.statistics import bars_per_year, returns_of
from markets.regimes.base import market_returns
from markets.synthetic import Calibration, TwoRegimes, calibrate
from markets.synthetic.calibration import FEWEST
from strategies.optimal import LEVELS, Exposure, ExposureFilter
from strategies.strategy import Strategy

CANDIDATES = 24  # markets that the learner holds to be possible
BARS = 10_000  # of the path on which it is judged in each market
Z_BOTH = 1.959964 + 0.841621  # quantiles of a two-sided test at 5 % and of a power of .8


@dataclass(frozen=True, eq=False)
class Headroom:
    """What adapting could be worth, and what it is made of.

    Attributes
    ----------
    name : str
        What is held: the equal-weight market of the bars, or a strategy.
    index : DatetimeIndex of shape (T,)
    returns : ndarray of shape (T,)
        Its returns, and the bars at which they end.
    per_year : float
        Bars per year.
    problem : Exposure
        What may be held of it, and at what cost; per bar.
    calibration : Calibration
        Markets like it.
    judged : tuple of Judged
        The traders' accounts in each of ``calibration.draws``.
    profile : ndarray of shape (1 + R, 2)
        Gain in certainty equivalent and in Sharpe ratio, per bar, in the most probable market and on the way to the end of its
        profile interval (`Calibration.ray`).
    level : float
        Probability of all intervals.
    """

    name: str
    index: pd.DatetimeIndex
    returns: np.ndarray
    per_year: float
    problem: Exposure
    calibration: Calibration
    judged: tuple[Judged, ...]
    profile: np.ndarray
    level: float

    @cached_property
    def certainty_equivalent(self) -> Range:
        """The most that adapting can add to the certainty equivalent, per year: the filter less the best constant exposure."""
        return self._folded(0, np.array([each.headroom for each in self.judged])) * self.per_year

    @cached_property
    def sharpe(self) -> Range:
        """What it adds to the Sharpe ratio, per year: of the same two accounts, and at least 0."""
        gains = [ratio(each.accounts[FILTERS]) - ratio(each.accounts[CONSTANT]) for each in self.judged]
        return self._folded(1, np.maximum(gains, 0)) * float(np.sqrt(self.per_year))

    def _folded(self, kind: int, gains: np.ndarray) -> Range:
        return folded(self.profile[:, kind], gains, np.array([each.sign for each in self.judged]), self.level)

    @cached_property
    def attainable(self) -> Range:
        """What one who learns the regimes from these bars gains over one who learns a constant exposure from them.

        In certainty equivalent per year: the mean over markets like these, and quantiles. It can be negative.
        """
        gains = [each.accounts[LEARNS].value - each.accounts[LEARNT].value for each in self.judged]
        tail = 0.5 * (1 - self.level)
        low, high = np.quantile(gains, [tail, 1 - tail])
        return Range(float(np.mean(gains)), float(low), float(high)) * self.per_year

    def years(self, gain: float) -> float:
        """Years of a walk-forward that show a gain in certainty equivalent: two-sided test at 5 %, power .8.

        The variance of the difference of utility grows with its mean: without bounds and costs it is 2/γ times the mean, so that
        a gain g takes ``7.85 · 2 / (γ g)`` years. Here their ratio is the median over the quarter of the markets whose headroom
        is nearest to the gain.

        Parameters
        ----------
        gain : float
            Per year.

        Returns
        -------
        float
            Infinite if the gain is 0.
        """
        gains, noises = np.array([(e.headroom, e.noise) for e in self.judged if e.headroom > 1e-12]).reshape(-1, 2).T
        if not len(gains) or not gain > 1e-12:
            return np.inf
        near = np.argsort(np.abs(gains * self.per_year - gain))[: max(len(self.judged) // 4, 5)]
        return float(Z_BOTH**2 * np.median(noises[near] / gains[near]) / gain)

    @cached_property
    def table(self) -> pd.DataFrame:
        """The ladder: a row for each trader, per year.

        Medians over the markets of the certainty equivalent and the Sharpe ratio, with the ends of their intervals, and of the
        turnover.
        """
        tail = 0.5 * (1 - self.level)
        rows = {}
        for trader in TRADERS:
            value = np.array([each.accounts[trader].value for each in self.judged]) * self.per_year
            ratios = np.array([ratio(each.accounts[trader]) for each in self.judged]) * np.sqrt(self.per_year)
            turnover = np.array([each.accounts[trader].turnover for each in self.judged]) * self.per_year
            low, middle, high = np.quantile(value, [tail, 0.5, 1 - tail])
            least, typical, most = np.quantile(ratios, [tail, 0.5, 1 - tail])
            rows[trader] = [middle, low, high, typical, least, most, float(np.median(turnover))]
        names = [
            "certainty equivalent",
            "CE, low",
            "CE, high",
            "Sharpe",
            "Sharpe, low",
            "Sharpe, high",
            "turnover",
        ]
        return pd.DataFrame.from_dict(rows, orient="index", columns=names)

    @property
    def markets(self) -> tuple[TwoRegimes, ...]:
        """The markets in which the traders were judged, the less volatile regime first."""
        return tuple(m if m.volatility[0] <= m.volatility[1] else m.swapped for m in self.calibration.draws)


def headroom(
    bars: Bars,
    *,
    costs: Costs | str = "10bp",
    execution: Execution | None = None,
    base: Strategy | None = None,
    risk_aversion: float = 5.0,
    draws: int = 100,
    level: float = 0.9,
    seed: int = 0,
    progress: bool = True,
) -> Headroom:
    """Say how much adapting to regimes could be worth on given bars, before anything is trained on them.

    What is held is an exposure to the equal-weight market of the bars, or to a strategy. A market of two regimes is calibrated to
    its returns (`markets.synthetic.calibrate`), with all its uncertainty, and in each of `draws` markets like it traders who
    know more or less are compared by their exact or simulated certainty equivalent ``mean − ½ γ E[return²]``, net of costs.

    Parameters
    ----------
    bars : Bars
        The visible rows; earlier ones only warm up `base`.
    costs : Costs or str
        Commission, taxes and spread are charged on changes of the exposure; with financing and borrow fees. Of quoted spreads
        it is the median over bars of the symbols' mean, since the exposure is to all of them and its cost does not change.
    execution : Execution, optional
        Exposure is in ``[−gross, gross]``, or from 0 if `long_only`. `net` limits it too, and so does `max_weight`, times the
        number of symbols; a `base` obeys that in its own account.
    base : Strategy, optional
        What is held more or less of; by default the equal-weight market.
    risk_aversion : float
        γ.
    draws : int
        Markets, at least 20.
    level : float
        Probability of intervals, in (0, 1).
    seed : int
    progress : bool
        Whether to show a progress bar, on a terminal.

    Returns
    -------
    Headroom

    Raises
    ------
    InputError
        When there are too few returns or they do not vary, costs are not proportional or of spreads that the bars do not
        quote, or a setting is out of range.
    """
    if draws < 20 or seed < 0 or not 0 < level < 1:
        raise InputError(
            f"draws is {draws}, seed {seed} and level {level}; use at least 20, at least 0, and between 0 and 1"
        )
    charged, execution = Costs.parse(costs), execution or Execution()
    name, index, returns = _held_returns(bars, base, charged, execution)
    per_year = bars_per_year(index) if len(index) >= FEWEST else DAILY_YEAR  # too few are refused below
    parts = len(bars.symbols) if base is None else np.inf
    problem = _problem(_usual_quotes(charged, bars), execution, parts, per_year, risk_aversion)
    with _naming(name):
        calibration = calibrate(returns, per_year, draws + CANDIDATES, seed)
    # the learner's candidates are no markets that it is judged in
    others = np.linspace(0, draws + CANDIDATES - 1, CANDIDATES).round().astype(int)
    candidates = calibration.subset(others).draws
    calibration = calibration.subset(np.setdiff1d(np.arange(draws + CANDIDATES), others))
    learner, constant = ExposureFilter(problem, candidates), best_constant(problem, candidates)
    judged = tuple(
        judge(problem, market, learner, constant, BARS, np.random.default_rng([seed, k]))
        for k, market in enumerate(_tracked(calibration.draws, progress))
    )
    profile = _profile(problem, calibration, np.array([each.headroom for each in judged]), level)
    return Headroom(name, index, returns, per_year, problem, calibration, judged, profile, level)


def estimate(problem: Exposure, calibration: Calibration, level: float = 0.9) -> Range:
    """Headroom per bar in certainty equivalent, with its interval, without the other traders."""
    sizes = np.array([gains_of(problem, market)[0] for market in calibration.draws])
    signs = np.array([sign_of(market) for market in calibration.draws])
    return folded(_profile(problem, calibration, sizes, level)[:, 0], sizes, signs, level)


def _profile(problem: Exposure, calibration: Calibration, sizes: np.ndarray, level: float) -> np.ndarray:
    """Gains at the mode and along the ray, shape (1 + R, 2)."""
    return np.array([gains_of(problem, market) for market in (calibration.mode, *calibration.ray(sizes, level))])


def _held_returns(
    bars: Bars, base: Strategy | None, costs: Costs, execution: Execution
) -> tuple[str, pd.DatetimeIndex, np.ndarray]:
    """Name, times and returns of what is held."""
    if base is None:
        returns = market_returns(bars)
        there = np.isfinite(returns)
        name = bars.name if len(bars.symbols) == 1 else f"the equal-weight market of {bars.name}"
        return name, bars.index[there], returns[there]
    first, stop = max(base.warmup, bars.past), bars.past + len(bars)
    if first >= stop - 1:
        raise InputError(f"{base.name} needs {base.warmup} bars to warm up, and {bars.name} has {stop}; use more bars")
    span = bars.rows(first, stop)
    paths = simulate(span, base.plan(span), costs=costs, execution=execution)
    return f"{base.name} on {bars.name}", span.index[1:], returns_of(paths.equity[0])


def _usual_quotes(costs: Costs, bars: Bars) -> Costs:
    """The same costs with a fixed spread for a quoted one: the median over bars of the symbols' mean quote."""
    if not costs.quoted:
        return costs
    quotes = np.where(np.isfinite(bars.close), last_quotes(bars), np.nan)
    usual = pd.DataFrame(quotes).mean(axis=1).median()
    return replace(costs, spread=float(costs.charged_spread(np.array(usual))), quoted=0.0)


def _problem(costs: Costs, execution: Execution, parts: float, per_year: float, risk_aversion: float) -> Exposure:
    """The exposure that an account may have to something of which each symbol is one of `parts`, and what it costs per bar."""
    if costs.fixed or costs.impact or costs.quadratic or costs.cash_rate:
        raise InputError(
            "headroom charges costs that are proportional to the trade, and fees on borrowing and shorts; set fixed, impact, "
            "quadratic and cash_rate to 0"
        )
    limit = min(execution.gross, execution.net, execution.max_weight * parts)
    if not np.isfinite(limit):
        raise InputError("headroom needs a limit on the exposure: set gross, net or max_weight of the execution")
    low = 0.0 if execution.long_only else -limit
    steps = LEVELS if execution.long_only else 2 * LEVELS
    cost = 0.5 * (costs.buy_side + costs.sell_side)
    fees = costs.financing_rate / per_year, costs.borrow_rate / per_year
    return Exposure(risk_aversion, cost, low, limit, *fees, levels=steps)


def best_constant(problem: Exposure, candidates: Sequence[TwoRegimes]) -> float:
    """The constant exposure that is best on average over some markets."""
    gain = sum(
        problem.gain(np.array([market.overall[0]]), np.array([market.share @ market.square])) for market in candidates
    )
    return float(problem.low + problem.step * (np.asarray(gain) > 0).sum())


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Context manager that puts what was held before the message of an `InputError`."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{name}: {error}") from None


def _tracked(markets: Sequence[TwoRegimes], progress: bool) -> Iterable[TwoRegimes]:
    from rich.progress import track

    return track(markets, "markets like it", transient=True, disable=not visible(progress))
