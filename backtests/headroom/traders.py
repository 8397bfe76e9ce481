"""What traders who know more or less about a market's regimes earn in it: exactly, or along a simulated path."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from markets.synthetic import TwoRegimes
from strategies.optimal import Account, Exposure, ExposureFilter, Solved, filtered, solve_filter, solve_known

BURN = 500  # bars of a path before it counts, in which beliefs forget their start
BLOCK = 250  # bars of a batch mean, long against the memory of a regime

KNOWN = "knows the regime"
FILTERS = "filters it, knows its parameters"
LEARNS = "filters it, learns its parameters"
CONSTANT = "never adapts, best constant exposure"
LEARNT = "never adapts, learns its exposure"
HELD = "always invested"
TRADERS = (KNOWN, FILTERS, LEARNS, CONSTANT, LEARNT, HELD)


@dataclass(frozen=True)
class Judged:
    """Accounts in one market, per bar.

    Attributes
    ----------
    accounts : dict of str to Account
        By the names of `TRADERS`.
    headroom : float
        Certainty equivalent of the filter above that of the best constant exposure.
    sign : float
        1 where the first regime deserves more exposure than the second, else −1.
    noise : float
        Long-run variance of the difference of utility that is the headroom.
    """

    accounts: dict[str, Account]
    headroom: float
    sign: float
    noise: float


def sign_of(market: TwoRegimes) -> float:
    """1 where the first regime deserves more exposure than the second, else −1."""
    first, second = np.asarray(market.mean) / market.square
    return 1.0 if first >= second else -1.0


def gains_of(problem: Exposure, market: TwoRegimes) -> tuple[float, float]:
    """What filtering the regime adds per bar to the certainty equivalent and the Sharpe ratio of the best constant exposure."""
    solved = solve_filter(problem, market)
    return solved.headroom, ratio(solved.account) - ratio(solved.unadapted)


def ratio(account: Account) -> float:
    """Sharpe ratio per bar; 0 of an account that holds nothing."""
    return account.sharpe if np.isfinite(account.sharpe) else 0.0


def judge(
    problem: Exposure, market: TwoRegimes, learner: ExposureFilter, constant: float, bars: int, rng: np.random.Generator
) -> Judged:
    """Accounts of all traders in one market.

    Parameters
    ----------
    problem : Exposure
    market : TwoRegimes
    learner : ExposureFilter
        The exposure of one who only knows what markets it may be.
    constant : float
        Exposure of one who never adapts and does not know the market either.
    bars : int
        Length of the path on which the learner's loss against the filter is measured.
    rng : Generator

    Returns
    -------
    Judged
    """
    known, best = solve_known(problem, market), solve_filter(problem, market)
    returns, _ = market.sample(1, BURN + bars, rng)
    second = filtered(market, returns)[:, BURN:-1]
    moments = tuple(pair[0] + (pair[1] - pair[0]) * second for pair in (np.asarray(market.mean), market.square))
    paths = [follower.follow(returns)[0, BURN - 1 : -1] for follower in (_knowing(problem, market, best), learner)]
    sampled = [_account(problem, path, *(m[0] for m in moments)) for path in paths]
    # the exact account, and what learning loses against it on the same path
    exact = best.account
    learns = Account(*(getattr(exact, k) + getattr(sampled[1], k) - getattr(sampled[0], k) for k in _PARTS))
    accounts = {
        KNOWN: known.account,
        FILTERS: exact,
        LEARNS: learns,
        CONSTANT: best.unadapted,
        LEARNT: _held(problem, best, constant),
        HELD: _held(problem, best, min(1.0, problem.high)),
    }
    held = float(problem.low + problem.step * best.constant.sum())
    gap = _utility(problem, paths[0], returns[0, BURN:]) - _utility(
        problem, np.full(len(paths[0]), held), returns[0, BURN:]
    )
    return Judged(accounts, best.headroom, sign_of(market), _long_run_variance(gap))


_PARTS = ("mean", "square", "turnover", "value")


def _knowing(problem: Exposure, market: TwoRegimes, solved: Solved) -> ExposureFilter:
    return ExposureFilter(problem, [market], solved=[solved])


def _account(problem: Exposure, weights: np.ndarray, mean: np.ndarray, square: np.ndarray) -> Account:
    """Moments along a path, given those of each next return; the first weight is that before the path."""
    held = weights[1:]
    turnover = float(np.abs(np.diff(weights)).mean())
    earned = float((held * mean - problem.holding(held)).mean()) - problem.cost * turnover
    squares = float((held**2 * square).mean())
    return Account(earned, squares, turnover, earned - 0.5 * problem.risk_aversion * squares)


def _held(problem: Exposure, solved: Solved, exposure: float) -> Account:
    """Moments of an exposure that never changes."""
    mean = float(exposure * (solved.mean @ solved.stationary) - problem.holding(np.array(exposure)))
    square = float(exposure**2 * (solved.square @ solved.stationary))
    return Account(mean, square, 0.0, mean - 0.5 * problem.risk_aversion * square)


def _utility(problem: Exposure, weights: np.ndarray, returns: np.ndarray) -> np.ndarray:
    """Utility of each bar's return; the first weight is that before the path."""
    held = weights[1:]
    earned = held * returns[1:]
    paid = problem.cost * np.abs(np.diff(weights)) + problem.holding(held)
    return earned - paid - 0.5 * problem.risk_aversion * earned**2


def _long_run_variance(values: np.ndarray) -> float:
    """Variance of the mean times the number of bars, by batch means."""
    batches = values[: len(values) // BLOCK * BLOCK].reshape(-1, BLOCK).mean(axis=1)
    return float(BLOCK * batches.var(ddof=1))
