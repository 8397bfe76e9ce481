"""Portfolios by skfolio's optimisers, refitted every month: hierarchical risk parity and maximum Sharpe ratio.

Both are long-only and fully invested, on sample moments of the simple returns of a window (`strategies.rules.refitted`).
Weights found once are kept by the content of the window, so that planning again with more or fewer bars costs nothing. A
singular covariance, as of fewer bars than symbols, is replaced by the nearest one that is not.
"""

from __future__ import annotations

import hashlib
import warnings
from collections import OrderedDict
from collections.abc import Callable

import numpy as np

from strategies.rules.minimum_variance import least_variance
from strategies.rules.refitted import Refitted, moving
from strategies.rules.schedule import Period

_KEPT = 20_000  # fits; 1,700 years of months
_FOUND: OrderedDict[tuple[str, str], np.ndarray] = OrderedDict()


class Optimised(Refitted):
    """Base class of the two.

    Parameters
    ----------
    window : int
        Returns per fit; at least 2.
    every : {"day", "week", "month", "quarter", "year"}
        Calendar period between fits.

    Raises
    ------
    InputError
        When `window` or `every` is out of range.
    """

    def __init__(self, window: int = 252, every: Period = "month"):
        super().__init__(window, every)

    def held(self, past: np.ndarray, period: np.ndarray, live: np.ndarray) -> np.ndarray:
        returns = past[1:] / past[:-1] - 1
        std = returns.std(axis=0)
        chosen = moving(std)
        if chosen.sum() < 2:
            return np.where(chosen.any(), chosen, 1 / len(chosen))
        # a solver's tolerance is absolute, and variances of minutes are below it
        found = _remembered(self.name, returns[:, chosen] / np.median(std[chosen]), self.weights)
        weights = np.zeros(len(std))
        weights[chosen] = found
        return weights

    def weights(self, returns: np.ndarray) -> np.ndarray:
        """Optimal weights of n symbols, at least 2, from their returns of shape (window, n)."""
        raise NotImplementedError


class RiskParity(Optimised):
    """Hierarchical risk parity (López de Prado, "Building diversified portfolios that outperform out of sample", Journal of
    Portfolio Management 2016).

    Symbols are ordered by hierarchical clusters of the distance ``sqrt((1 − ρ) / 2)``; then weight is split between the two
    halves of the order, again and again, in inverse proportion to the variance of each half under inverse-variance weights.
    No matrix is inverted. By skfolio's ``HierarchicalRiskParity``, whose clusters are Ward's where the paper has single
    linkage. See `Optimised` for the parameters.
    """

    name = "risk parity"

    def weights(self, returns: np.ndarray) -> np.ndarray:
        from skfolio.optimization import HierarchicalRiskParity

        return HierarchicalRiskParity().fit(returns).weights_


class MaximumSharpe(Optimised):
    """The long-only portfolio of largest Sharpe ratio in the window (Sharpe, "Mutual fund performance", Journal of Business
    1966).

    ``max wᵀ μ / sqrt(wᵀ Σ w)`` over ``w ≥ 0, Σᵢ wᵢ = 1``, with sample moments μ and Σ. Expected returns of a year are mostly
    noise, and this portfolio is known to do worse than equal weight (DeMiguel, Garlappi and Uppal, "Optimal versus naive
    diversification", Review of Financial Studies 2009). Where no symbol has a positive mean there is no maximum, and the
    portfolio is that of least variance. By skfolio's ``MeanRisk``. See `Optimised` for the parameters.
    """

    name = "maximum Sharpe"

    def weights(self, returns: np.ndarray) -> np.ndarray:
        from skfolio.optimization import MeanRisk, ObjectiveFunction

        if not (returns.mean(axis=0) > 0).any():
            return least_variance(np.cov(returns.T))
        return MeanRisk(objective_function=ObjectiveFunction.MAXIMIZE_RATIO).fit(returns).weights_


def _remembered(name: str, returns: np.ndarray, fit: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """``fit(returns)``, without the solver's rounding below zero; equal weights where the solver finds none."""
    key = name, hashlib.blake2b(returns.tobytes() + bytes(str(returns.shape), "ascii")).hexdigest()
    if key not in _FOUND:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that it repairs a singular covariance
                weights = np.maximum(np.asarray(fit(returns), dtype=np.float64), 0.0)
        except _failures():
            weights = np.ones(returns.shape[1])
        _FOUND[key] = weights / weights.sum()
        while len(_FOUND) > _KEPT:
            _FOUND.popitem(last=False)
    return _FOUND[key]


def _failures() -> tuple[type[Exception], ...]:
    """What the solver raises where it finds no solution."""
    from cvxpy.error import SolverError
    from skfolio.exceptions import NonPositiveVarianceError, OptimizationError

    return SolverError, OptimizationError, NonPositiveVarianceError
