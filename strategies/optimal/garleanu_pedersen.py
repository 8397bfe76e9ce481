"""The optimum of `GarleanuPedersen`: partial adjustment towards an aim, by a constant fraction per bar."""

from __future__ import annotations

import numpy as np
from scipy.linalg import solve_discrete_are

from markets.synthetic import GarleanuPedersen
from strategies.optimal.optimum import Optimum


def partial_adjustment(
    slope: np.ndarray,
    reversion: np.ndarray,
    covariance: np.ndarray,
    shock: np.ndarray,
    risk_aversion: float,
    impact: np.ndarray,
    discount: float = 1.0,
) -> tuple[np.ndarray, np.ndarray, float]:
    """Optimal trading with quadratic costs: ``x_t = x_{t−1} + rate (aim f_t − x_{t−1})``, for A assets and K predictors.

    Maximises the (discounted) sum of ``x'B f − ½ γ x'Σ x − ½ Δx'Λ Δx`` with ``f_{t+1} = (1 − Φ) f_t + ε``. This is a
    linear-quadratic problem in the state (x_{t−1}, f_t) and the trade Δx, solved by the discrete algebraic Riccati equation.

    Parameters
    ----------
    slope : ndarray of shape (A, K)
        B, expected return per unit of each predictor.
    reversion, shock : ndarray of shape (K, K)
        Φ, mean reversion of the predictors per bar, and Var ε, covariance of their shocks.
    covariance, impact : ndarray of shape (A, A)
        Σ, covariance of returns per bar, and Λ, the quadratic cost of trading.
    risk_aversion : float
        γ.
    discount : float
        Discount factor per bar; 1 is none.

    Returns
    -------
    rate : ndarray of shape (A, A)
        Adjustment per bar towards the aim.
    aim : ndarray of shape (A, K)
        Aim position per unit of each predictor.
    value : float
        Mean reward per bar, if `discount` is 1.

    References
    ----------
    Gârleanu and Pedersen, "Dynamic Trading with Predictable Returns and Transaction Costs", Journal of Finance 2013.
    """
    assets, factors = slope.shape
    risk, root = risk_aversion * covariance, np.sqrt(discount)
    none = np.zeros((assets, factors))
    move = root * np.block([[np.eye(assets), none], [none.T, np.eye(factors) - reversion]])
    push = root * np.vstack([np.eye(assets), none.T])
    stage = np.block([[risk, -slope], [-slope.T, np.zeros((factors, factors))]])
    cross = np.vstack([risk, -slope.T])
    value = solve_discrete_are(move, push, stage, risk + impact, s=cross)
    gain = np.linalg.solve(risk + impact + push.T @ value @ push, push.T @ value @ move + cross.T)
    rate = gain[:, :assets]
    aim = -np.linalg.solve(rate, gain[:, assets:])
    return rate, aim, float(-0.5 * np.trace(value[assets:, assets:] @ shock))


class GarleanuPedersenOptimum(Optimum):
    """Optimal strategy of `GarleanuPedersen`, in closed form::

        a = ½ (−γ + √(γ² + 4 γ λ)),   rate κ = a / λ,   aim = B f / (γ σ² (1 + a φ / γ))

        J = σ² (λ + γ + a),   A_xf = a σ² aim/f,   A_ff = (B + A_xf (1 − φ))² / (J (1 − (1 − φ)²)),   g* = ½ A_ff Ω

    g* is the mean reward per bar, in `value`.

    Parameters
    ----------
    family : GarleanuPedersen, optional
        Its defaults if not given.
    """

    family: GarleanuPedersen
    name = "partial adjustment"

    def __init__(self, family: GarleanuPedersen | None = None):
        f = self.family = family or GarleanuPedersen()
        self._a = 0.5 * (-f.risk_aversion + np.sqrt(f.risk_aversion**2 + 4 * f.risk_aversion * f.impact))
        self.rate = self._a / f.impact
        self.aim = f.slope / (f.risk_aversion * f.variance * (1 + self._a * f.reversion / f.risk_aversion))

    @property
    def value(self) -> float:
        f, keep = self.family, 1 - self.family.reversion
        curvature = f.variance * (f.impact + f.risk_aversion + self._a)
        factor = (f.slope + self._a * f.variance * self.aim * keep) ** 2 / (curvature * (1 - keep**2))
        return 0.5 * factor * f.shock

    def weights(self, returns: np.ndarray, signal: np.ndarray) -> np.ndarray:
        held, out = np.zeros(len(signal)), np.empty_like(signal)
        for t in range(signal.shape[1]):
            held = held + self.rate * (self.aim * signal[:, t] - held)
            out[:, t] = held
        return out
