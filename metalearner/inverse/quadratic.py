"""Inverse reinforcement learning in closed form: what a trader with quadratic costs optimises.

He maximises the average of ``x r − ½ γ σ² x² − ½ λ σ² (Δx)²`` for a signal with ``E[r] = B f`` that reverts at φ per bar, and
trades ``x_t = x_{t−1} + κ (c f_t − x_{t−1})`` (`strategies.optimal.garleanu_pedersen`). So a regression of positions on the
position before and the signal, ``x_t = b₁ x_{t−1} + b₂ f_t``, shows what he optimises::

    κ = 1 − b₁,   c = b₂ / κ,   s = κ² / (1 − κ) = γ / λ,   γ = B / (σ² c (1 + φ κ / s)),   λ = γ / s

Whatever moves his positions beside that, such as rounding or other signals, is noise of the regression: the position that it
leads to is the one that he trades from next, so that least squares are consistent. Standard errors are those of the regression
by the delta method. B, φ and σ² are the market's, and are taken as known.

Reference: Gârleanu and Pedersen, "Dynamic Trading with Predictable Returns and Transaction Costs", Journal of Finance 2013.
"""

from __future__ import annotations

import numpy as np

from markets import InputError
from metalearner.inverse.inferred import Inferred, Parameter

FEWEST = 30  # decisions
_NAMES = ("risk aversion", "quadratic cost")
_STEP = 1e-6  # relative, of the numerical derivative


def infer_quadratic(
    positions: np.ndarray, signal: np.ndarray, *, slope: float, reversion: float, variance: float
) -> Inferred:
    """Risk aversion γ and quadratic cost λ of a trader, from what he held.

    Parameters
    ----------
    positions : ndarray of shape (T,)
        In units of the return that they earn, such as fractions of equity: x_t is held after the signal f_t was seen.
    signal : ndarray of shape (T,)
    slope : float
        B, expected return of the next bar per unit of the signal.
    reversion : float
        φ, mean reversion of the signal per bar, in [0, 1].
    variance : float
        σ², of a bar's return.

    Returns
    -------
    Inferred
        With ``risk aversion`` (γ) and ``quadratic cost`` (λ), or the reason why they are not identified.

    Raises
    ------
    InputError
        When there are fewer than 30 decisions, a value is not finite, or the market's numbers are out of range.
    """
    positions, signal = np.asarray(positions, dtype=np.float64), np.asarray(signal, dtype=np.float64)
    if positions.ndim != 1 or positions.shape != signal.shape or len(positions) <= FEWEST:
        raise InputError(
            f"positions {positions.shape} and signal {signal.shape}: give two series of {FEWEST + 1} or more"
        )
    if not (np.isfinite(positions).all() and np.isfinite(signal).all()):
        raise InputError("positions and signal must be finite; leave out the bars where one is missing")
    if not (slope != 0 and 0 <= reversion <= 1 and variance > 0):
        raise InputError(
            f"slope is {slope}, reversion {reversion} and variance {variance}; a signal says something of returns (slope not 0), "
            "reverts by a fraction per bar, and returns vary"
        )
    if reason := _not_identified(positions, signal):
        return Inferred.unknown(_NAMES, reason)
    seen = np.column_stack([positions[:-1], signal[1:]])
    coefficients, *_ = np.linalg.lstsq(seen, positions[1:], rcond=None)
    residual = positions[1:] - seen @ coefficients
    covariance = residual.var(ddof=2) * np.linalg.inv(seen.T @ seen)
    found = _preferences(coefficients, slope, reversion, variance)
    if found is None:
        return Inferred.unknown(
            _NAMES,
            f"he moves by {1 - coefficients[0]:.2f} of the way per bar, and against the signal or past it: that is no optimum of "
            "quadratic costs",
        )
    errors = np.sqrt(np.maximum(np.diag(covariance), 0))
    steps = np.maximum(_STEP * np.abs(coefficients), 1e-9 + 1e-3 * errors)
    derivative = np.empty((2, 2))
    for k in range(2):
        moved = [coefficients.copy() for _ in range(2)]
        moved[0][k] += steps[k]
        moved[1][k] -= steps[k]
        up, down = (_preferences(m, slope, reversion, variance) for m in moved)
        if up is None or down is None:
            return Inferred.unknown(
                _NAMES, "he trades all the way at once, or hardly at all, and then the cost cannot be told"
            )
        derivative[:, k] = (np.log(up) - np.log(down)) / (2 * steps[k])
    variances = derivative @ covariance @ derivative.T
    parameters = tuple(
        Parameter(name, float(value), float(np.sqrt(var)))
        for name, value, var in zip(_NAMES, found, np.diag(variances), strict=True)
    )
    return Inferred(parameters, variances)


def _preferences(coefficients: np.ndarray, slope: float, reversion: float, variance: float) -> np.ndarray | None:
    """γ and λ that lead to the coefficients (b₁, b₂); None if none do."""
    kappa = 1 - coefficients[0]
    if not 0 < kappa < 1:
        return None
    aim, ratio = coefficients[1] / kappa, kappa**2 / (1 - kappa)
    if not slope * aim > 0:
        return None
    gamma = slope / (variance * aim * (1 + reversion * kappa / ratio))
    return np.array([gamma, gamma / ratio])


def _not_identified(positions: np.ndarray, signal: np.ndarray) -> str:
    if not np.ptp(positions) > 0:
        return "he never trades: the cost may be anything from some size on"
    if not np.ptp(signal) > 0:
        return "the signal never changes, so nothing shows how far he follows it, and how fast"
    return ""
