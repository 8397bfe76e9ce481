"""`MinimumVariance`: the long-only portfolio of least variance, by any estimate of the covariance."""

from __future__ import annotations

import numpy as np

from markets import Bars, InputError, Plan
from strategies.rules.covariances import Covariance, SampleCovariance
from strategies.rules.refitted import Refitted, moving
from strategies.rules.schedule import Period

# Added to the diagonal of a correlation that is singular: without it there is no single portfolio of more symbols than returns.
_RIDGE = 1e-10
_SINGULAR = 1e-9  # a pivot of its factorisation that is below this is rounding


def least_variance(covariance: np.ndarray) -> np.ndarray:
    """Weights w that minimise ``wᵀ Σ w`` over ``w ≥ 0, Σᵢ wᵢ = 1``, exactly.

    The optimum is proportional to the y ≥ 0 that minimises ``½ yᵀ Σ y − Σᵢ yᵢ``: both have the conditions ``Σ y − 1 ≥ 0``, with
    zero where y is above zero. With Σ = L Lᵀ that is the non-negative least squares problem ``min |Lᵀ y − L⁻¹ 1|`` (Lawson and
    Hanson, "Solving least squares problems", 1974), which an active-set method ends with the exact set of what is held. It
    is solved in units of each symbol's volatility, where Σ is the correlation.

    Parameters
    ----------
    covariance : ndarray of shape (n, n)
        With a diagonal above zero, and no negative eigenvalues beyond rounding. A singular one is solved with 1e-10 added to
        the diagonal of its correlation, which chooses one among several portfolios of the same variance.

    Returns
    -------
    ndarray of shape (n,)

    Raises
    ------
    InputError
        When the covariance has an eigenvalue below zero.
    """
    from scipy.linalg import solve_triangular  # half a second to import
    from scipy.optimize import nnls

    std = np.sqrt(np.diag(covariance))
    root = _factor(covariance / np.outer(std, std))
    scaled, _ = nnls(root.T, solve_triangular(root, std.min() / std, lower=True))
    weights = scaled / std
    return weights / weights.sum()


def _factor(correlation: np.ndarray) -> np.ndarray:
    """L of ``L Lᵀ``, of the correlation itself or, where that is singular, with `_RIDGE` on its diagonal."""
    try:
        root = np.linalg.cholesky(correlation)
        if np.diag(root).min() ** 2 > _SINGULAR:
            return root
    except np.linalg.LinAlgError:
        pass
    try:
        return np.linalg.cholesky(correlation + _RIDGE * np.eye(len(correlation)))
    except np.linalg.LinAlgError:
        raise InputError(
            f"a covariance of {len(correlation)} symbols has negative eigenvalues, so some portfolio would have a negative "
            "variance; give its nearest one without"
        ) from None


class MinimumVariance(Refitted):
    """The long-only portfolio of least variance (Markowitz, "Portfolio selection", Journal of Finance 1952).

    ``min wᵀ Σ w`` over ``w ≥ 0, Σᵢ wᵢ = 1``. It needs no expected returns, and the bound on weights works like shrinkage of Σ
    (Jagannathan and Ma, "Risk reduction in large portfolios: why imposing the wrong constraints helps", Journal of Finance
    2003). Which symbols are held depends on `window` alone, so that strategies with different covariances choose among the
    same. Symbols of less than a hundredth of the median volatility are left out, since what is fixed to something else would be
    all of the portfolio (`moving`); where nothing moves, weights are equal.

    Parameters
    ----------
    window : int
        Sessions that a symbol must have been listed for to be held, and that a sample covariance is of; at least 2.
    every : {"day", "week", "month", "quarter", "year"}
        Calendar period between fits.
    covariance : Covariance, optional
        The estimator of Σ: `SampleCovariance` (the default), `LedoitWolfCovariance`, `ExponentialCovariance`,
        `ExpandingCovariance`, `RegimeAdjustedCovariance`, `PooledCovariance`, or a `Covariance` of your own. One that remembers
        longer than the window takes what there is: rows are fitted from `window` sessions on.
    band : float
        Half-width of the no-trade zone around each weight, as a fraction of the equal weight 1 / A, at least 0. Estimates that
        forget fast move all the time, and what they cost is not in a variance.

    Raises
    ------
    InputError
        When a setting is out of range; in `plan`, when a covariance of your own has negative eigenvalues.
    """

    name = "minimum variance"

    def __init__(
        self, window: int = 252, every: Period = "month", covariance: Covariance | None = None, band: float = 0.0
    ):
        self.covariance = SampleCovariance() if covariance is None else covariance
        if not isinstance(self.covariance, Covariance):
            raise InputError(
                f"{self.name}: covariance is {covariance!r}; give an estimator, as in ExponentialCovariance(63)"
            )
        if covariance is not None:
            self.name = f"minimum variance, {covariance.label}"
        super().__init__(window, every, self.covariance.memory)
        if not 0 <= band < np.inf:
            raise InputError(f"{self.name}: band is {band}; it must be at least 0, and finite")
        self.band = band

    def plan(self, bars: Bars) -> Plan:
        plan = super().plan(bars)
        return Plan(plan.aim, np.full(bars.shape, self.band / bars.shape[1])) if self.band else plan

    def held(self, past: np.ndarray, period: np.ndarray, live: np.ndarray) -> np.ndarray:
        returns = past[1:] / past[:-1] - 1
        weights = np.zeros(returns.shape[1])
        chosen = np.flatnonzero(moving(returns[-self.window :].std(axis=0)))
        if len(chosen):
            covariance = self.covariance.of(returns[:, chosen])
            # not what has stood still for as long as a short memory reaches
            seen = moving(np.sqrt(np.diag(covariance)))
            if seen.any():
                weights[chosen[seen]] = least_variance(covariance[np.ix_(seen, seen)])
                return weights
        return np.full(len(weights), 1 / len(weights))
