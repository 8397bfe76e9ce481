"""How sure a record makes a Sharpe ratio: probabilistic and deflated Sharpe ratio, and the shortest record that tells.

Bailey and López de Prado, "The Sharpe ratio efficient frontier", Journal of Risk 2012, and "The deflated Sharpe ratio",
Journal of Portfolio Management 2014. With S the ratio per bar of T returns, γ₃ their skew and γ₄ their kurtosis (3 if normal)::

    PSR(S₀) = Φ((S − S₀) √(T − 1) / √(1 − γ₃ S + ¼ (γ₄ − 1) S²))
    DSR     = PSR(σ · E[max of N])
    E[max of N] = (1 − γ) Φ⁻¹(1 − 1/N) + γ Φ⁻¹(1 − 1/(N e)),   γ = 0.5772... (Euler–Mascheroni)

N is the number of trials of which this is the best, and σ the standard deviation of their Sharpe ratios. Trials are taken as
independent; those that resemble each other count for fewer, so that DSR errs on the careful side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from markets.common.statistics import kurtosis, sharpe, skew


@dataclass(frozen=True)
class Trials:
    """What was tried on a data set, of which a result is the best.

    Attributes
    ----------
    count : int
        Number of distinct settings.
    std : float
        Standard deviation of their annualised Sharpe ratios; NaN if unknown.
    """

    count: int
    std: float = np.nan


def probabilistic_sharpe(returns: np.ndarray, threshold: float = 0.0) -> float:
    """PSR: probability that the true ratio is above `threshold`.

    Parameters
    ----------
    returns : ndarray of shape (T,)
    threshold : float
        Sharpe ratio per bar.

    Returns
    -------
    float
        NaN if the returns do not vary.
    """
    return probabilistic(sharpe(returns), len(returns), skew(returns), kurtosis(returns), threshold)


def probabilistic(ratio: float, length: int, skew: float, kurtosis: float, threshold: float = 0.0) -> float:
    """`probabilistic_sharpe` of returns with these moments."""
    scale = _scale(ratio, skew, kurtosis)
    return float(ndtr((ratio - threshold) * np.sqrt(length - 1) / scale)) if scale > 0 else np.nan


def deflated_sharpe(returns: np.ndarray, trials: int, std: float) -> float:
    """DSR: probability that the true ratio is above 0, of the best of `trials`.

    Parameters
    ----------
    returns : ndarray of shape (T,)
    trials : int
        At least 1.
    std : float
        Standard deviation of the trials' Sharpe ratios, per bar.
    """
    return probabilistic_sharpe(returns, std * expected_maximum(trials))


def expected_maximum(trials: int) -> float:
    """Expected maximum of `trials` independent standard normal numbers, approximately; 0 of one."""
    if trials <= 1:
        return 0.0
    return float((1 - np.euler_gamma) * ndtri(1 - 1 / trials) + np.euler_gamma * ndtri(1 - 1 / (trials * np.e)))


def shortest_record(returns: np.ndarray, threshold: float = 0.0, level: float = 0.95) -> float:
    """Minimum track record length: returns needed for a PSR of `level`, if the moments stay as they are.

    Infinite if the ratio is not above `threshold`.
    """
    ratio = sharpe(returns)
    if not ratio > threshold:
        return np.inf if ratio <= threshold else np.nan
    return float(1 + (_scale(ratio, skew(returns), kurtosis(returns)) * ndtri(level) / (ratio - threshold)) ** 2)


def _scale(ratio: float, skew: float, kurtosis: float) -> float:
    """√T times the standard error of a Sharpe ratio; NaN if the moments are impossible ones."""
    with np.errstate(invalid="ignore"):
        return float(np.sqrt(1 - skew * ratio + 0.25 * (kurtosis - 1) * ratio**2))
