"""What tells how fast the market changes now: its state, and which half-lives have recently foretold best.

All of it is scale-free, so that a policy trained on stocks can be asked of futures, and none of it looks past the decision row.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SHORT, LONG = 21, 252  # half-lives of the ratio of volatilities
TRENDS = (21, 63, 126, 252)  # sessions
STATES = ("volatility", "correlation", "trend")
# Sizes that are usual, by which each is divided, and the largest multiple of them.
_USUAL = np.array([0.3, 0.1, 1.0])
_LARGEST = 3.0
_TREND = 126  # half-life in sessions
_TAILS = 4.0  # degrees of freedom of the returns whose likelihood is compared
_CUT = 4.0  # standardised returns beyond this are cut where correlations are compared
_IDENTITY = 0.2  # share of the identity in a correlation matrix whose likelihood is compared


def market_state(
    variance: np.ndarray, correlation: np.ndarray, known: np.ndarray, market: Sequence[np.ndarray]
) -> np.ndarray:
    """The market's state at each decision, in units in which 1 is usual and 3 is the most.

    Parameters
    ----------
    variance : ndarray of shape (D, 2, A)
        With half-lives `SHORT` and `LONG`.
    correlation : ndarray of shape (D, C, A, A)
        With ascending half-lives.
    known : ndarray of bool, shape (D, A)
    market : sequence of D ndarrays of shape (W,)
        Mean return of the symbols over the window of each decision.

    Returns
    -------
    ndarray of shape (D, 3)
        ``volatility``: log of short over long volatility, mean over the symbols; ``correlation``: mean correlation with the
        shortest half-life less that with the longest; ``trend``: t-statistic of the market's weighted mean return.
    """
    count = np.maximum(known.sum(axis=1), 1)
    ratio = (0.5 * np.log(variance[:, 0] / variance[:, 1]) * known).sum(axis=1) / count
    off = correlation[:, [0, -1]].sum(axis=(2, 3)) - correlation.shape[-1]  # without the diagonal
    mean = off / np.maximum(count * (count - 1), 1)[:, None]
    trend = np.zeros(len(known))
    for d, returns in enumerate(market):
        weighed = 0.5 ** (np.arange(len(returns))[::-1] / _TREND) * returns
        scale = np.sqrt((weighed**2).sum())
        trend[d] = weighed.sum() / scale if scale > 0 else 0.0
    state = np.stack([ratio, mean[:, 0] - mean[:, 1], trend], axis=1) / _USUAL
    return np.clip(state, -_LARGEST, _LARGEST)


def evidence(
    variance: np.ndarray,
    correlation: np.ndarray,
    known: np.ndarray,
    after: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]],
    memory: int = 26,
) -> tuple[np.ndarray, np.ndarray]:
    """How much better than the mean of the pool each half-life has foretold the returns that followed, as known at each decision.

    The log likelihood of the returns of each period under the estimates at its start, per symbol, over the last `memory`
    periods; what is `memory` / 2 periods old counts half. Of volatility it is Student's t with 4 degrees of freedom, which no
    single return can rule; of correlation a normal one of the returns in units of the pool's volatility. Weights
    ``exp(η · score)`` with η = 1 are Bayes' rule for one symbol that forgets (Herbster and Warmuth, "Tracking the best expert", Machine Learning
    1998, forget likewise).

    Parameters
    ----------
    variance : ndarray of shape (D, K, A)
    correlation : ndarray of shape (D, C, A, A)
    known : ndarray of bool, shape (D, A)
    after : sequence of D − 1 tuples (returns, known, years)
        Of the sessions from each decision to the next.
    memory : int
        Periods.

    Returns
    -------
    variance_score, correlation_score : ndarrays of shape (D, K) and (D, C), in nats
    """
    decisions = len(known)
    gains = [np.zeros((decisions, variance.shape[1])), np.zeros((decisions, correlation.shape[1]))]
    if decisions:
        mixed = (1 - _IDENTITY) * correlation + _IDENTITY * np.eye(known.shape[1])
        inverse, (_, volume) = np.linalg.inv(mixed), np.linalg.slogdet(mixed)
        for d, (returns, there, years) in enumerate(after):
            each = there & known[d]
            count = max(int(known[d].sum()), 1)
            gains[0][d] = _of_volatility(returns, each, years, variance[d]) / count
            unit = np.sqrt(variance[d].mean(axis=0) * years[:, None])
            moves = np.clip(np.where(each, returns / np.where(unit > 0, unit, 1.0), 0.0), -_CUT, _CUT)
            gains[1][d] = _of_correlation(moves, inverse[d], volume[d]) / count
    return _faded(gains[0], memory), _faded(gains[1], memory)


def _of_volatility(returns: np.ndarray, each: np.ndarray, years: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Log likelihood of returns (n, A) under K variances per year, without what is the same for all; shape (K,)."""
    scale = variance * years[:, None, None]
    scale = np.where(scale > 0, scale, 1.0)
    density = 0.5 * np.log(scale) + 0.5 * (_TAILS + 1) * np.log1p(returns[:, None] ** 2 / ((_TAILS - 2) * scale))
    return -(density * each[:, None]).sum(axis=(0, 2))


def _of_correlation(moves: np.ndarray, inverse: np.ndarray, volume: np.ndarray) -> np.ndarray:
    """Normal log likelihood of standardised returns (n, A) under C correlations; shape (C,)."""
    square = [np.einsum("ti,ij,tj->", moves, matrix, moves) for matrix in inverse]
    return -0.5 * (np.array(square) + len(moves) * volume)


def _faded(gains: np.ndarray, memory: int) -> np.ndarray:
    """Sum of the gains of the `memory` periods before each decision, fading, in excess of their mean over the pool."""
    gains = gains - gains.mean(axis=1, keepdims=True)
    out = np.zeros_like(gains)
    for age in range(1, memory + 1):
        out[age:] += 0.5 ** (2 * age / memory) * gains[:-age]
    return out
