"""Portfolio layers: differentiable maps from covariances to weights, right by construction.

Each solves its problem exactly, without gradient, and then takes one step of linear algebra with gradient at the solution, whose
derivative is the exact one by the implicit function theorem (Amos and Kolter, "OptNet: differentiable optimization as a layer in
neural networks", ICML 2017; for risk parity also the fixed point of Spinu, "An algorithm for computing risk parity weights",
2013). So there is no number of steps to choose, and long-only weights are never negative. Batches of N
problems in float64; symbols that take no part have weight 0.
"""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from torch import Tensor

_CYCLES = 1000
_PRECISION = 1e-13


def mean_variance(covariance: Tensor, known: Tensor, mean: Tensor, long_only: bool = False) -> Tensor:
    """Weights of best mean–variance utility at a risk aversion of 1, without a budget (Markowitz, "Portfolio selection", Journal
    of Finance 1952).

    ``max μᵀ w − ½ wᵀ Σ w``, over all w or over ``w ≥ 0``. On the symbols S that are held ``w_S = Σ_SS⁻¹ μ_S``.

    Parameters
    ----------
    covariance : Tensor of float64, shape (N, A, A)
        Symmetric and positive definite on the symbols that take part.
    known : Tensor of bool, shape (N, A)
        Which symbols take part.
    mean : Tensor of shape (N, A)
        Expected returns, over the time that the covariance is of.
    long_only : bool

    Returns
    -------
    Tensor of shape (N, A)
    """
    inside = known
    if long_only:
        inside = torch.from_numpy(_held(_array(covariance), _array(known), _array(mean))).to(known.device)
    return _solve_on(covariance, inside, mean)


def minimum_variance(covariance: Tensor, known: Tensor) -> Tensor:
    """The long-only, fully invested portfolio of least variance.

    ``min ½ wᵀ Σ w`` over ``w ≥ 0, Σ wᵢ = 1``: that of best utility for equal means, scaled to a sum of 1.

    Parameters
    ----------
    covariance, known
        As for `mean_variance`.

    Returns
    -------
    Tensor of shape (N, A)
        0 everywhere where no symbol takes part.
    """
    return _normalised(mean_variance(covariance, known, torch.ones_like(covariance[..., 0]), long_only=True))


def risk_parity(covariance: Tensor, known: Tensor) -> Tensor:
    """The portfolio in which all symbols contribute the same risk (Maillard, Roncalli and Teïletche, "The properties of equally
    weighted risk contribution portfolios", Journal of Portfolio Management 2010).

    ``wᵢ (Σ w)ᵢ`` is the same for all. With x the minimiser of ``½ xᵀ Σ x − Σ log xᵢ``, ``w = x / Σ xᵢ``: found by cycles over the
    coordinates (Griveau-Billion, Richard and Roncalli, "A fast algorithm for computing high-dimensional risk parity
    portfolios", 2013), and differentiated in one Newton step. Parameters and result as for `minimum_variance`.
    """
    found = torch.from_numpy(_equal_contributions(_array(covariance), _array(known))).to(known.device)
    safe = torch.where(known, found, 1.0)
    curvature = covariance.detach() + torch.diag_embed(safe**-2)
    slope = _times(covariance, found) - 1 / safe  # zero at the solution, and so is the step
    return _normalised(torch.where(known, found - _solve_on(curvature, known, slope), 0.0))


def inverse_volatility(covariance: Tensor, known: Tensor) -> Tensor:
    """Weights in inverse proportion to volatility; parameters and result as for `minimum_variance`."""
    variance = torch.where(known, covariance.diagonal(dim1=-2, dim2=-1), 1.0)
    return _normalised(torch.where(known, variance**-0.5, 0.0))


def equal_weight(covariance: Tensor, known: Tensor) -> Tensor:
    """Equal weights of the symbols that take part; parameters and result as for `minimum_variance`."""
    return _normalised(known.to(covariance))


def portfolio_variance(covariance: Tensor, weights: Tensor) -> Tensor:
    """``wᵀ Σ w``, shape (N,)."""
    return (weights * _times(covariance, weights)).sum(-1)


def _array(tensor: Tensor) -> np.ndarray:
    return np.ascontiguousarray(tensor.numpy(force=True))


def _times(matrix: Tensor, x: Tensor) -> Tensor:
    """``matrix @ x``, in an order of sums that does not depend on N, as that of a batched product does."""
    return (matrix * x[..., None, :]).sum(-1)


def _normalised(x: Tensor) -> Tensor:
    total = x.sum(-1, keepdim=True)
    return x / torch.where(total > 0, total, 1.0)


def _solve_on(matrix: Tensor, inside: Tensor, right: Tensor) -> Tensor:
    """``matrix_SS⁻¹ right_S`` on the symbols S that are `inside`, 0 on the others."""
    both = inside[..., :, None] & inside[..., None, :]
    whole = torch.where(both, matrix, torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device))
    return torch.linalg.solve(whole, torch.where(inside, right, 0.0)[..., None])[..., 0]


@njit(cache=True, nogil=True)
def _held(covariance, known, mean):
    """Which symbols the long-only portfolios of best utility hold, bool of shape (N, A)."""
    out = np.zeros(known.shape, dtype=np.bool_)
    for n in range(known.shape[0]):
        among = np.flatnonzero(known[n])
        x = _nonnegative(covariance[n][among][:, among], mean[n][among])
        for k in range(len(among)):
            out[n, among[k]] = x[k] > 0
    return out


@njit(cache=True, nogil=True)
def _nonnegative(matrix, right):
    """Minimiser of ``½ xᵀ M x − rᵀ x`` over ``x ≥ 0`` for a positive definite M, by block principal pivoting.

    All symbols that break a condition change sides at once; where that does not lessen their number three times in a row, only
    the last one does, which ends for certain (Júdice and Pires, "A block principal pivoting algorithm for large-scale strictly
    monotone linear complementarity problems", Computers and Operations Research 1994).
    """
    n = len(right)
    inside = right > 0
    x, fewest, chances = np.zeros(n), n + 1, 3
    scale = np.sqrt(np.diag(matrix))
    for _ in range(100 + 50 * n if n else 0):
        held = np.flatnonzero(inside)
        x[:] = 0.0
        if len(held):
            part = matrix[held][:, held]
            x[held] = np.linalg.solve(part, right[held])
        slope = matrix @ x - right
        size, steep = np.abs(x * scale).max(), np.abs(right / scale).max()
        count, last = 0, -1
        wrong = np.zeros(n, dtype=np.bool_)
        for i in range(n):
            if inside[i]:
                wrong[i] = x[i] * scale[i] < -1e-13 * size
            else:
                wrong[i] = slope[i] / scale[i] < -1e-11 * steep
            if wrong[i]:
                count += 1
                last = i
        if count == 0:
            break
        if count < fewest:
            fewest, chances = count, 3
        elif chances > 0:
            chances -= 1
        else:
            wrong[:] = False
            wrong[last] = True
        for i in range(n):
            if wrong[i]:
                inside[i] = not inside[i]
    for i in range(n):
        if not inside[i] or x[i] < 0:
            x[i] = 0.0
    return x


@njit(cache=True, nogil=True)
def _equal_contributions(covariance, known):
    """Minimisers of ``½ xᵀ Σ x − Σ log xᵢ``, shape (N, A); 0 where a symbol takes no part."""
    out = np.zeros(known.shape)
    for n in range(known.shape[0]):
        among = np.flatnonzero(known[n])
        part = covariance[n][among][:, among]
        size = len(among)
        x = 1 / np.sqrt(np.diag(part) * max(size, 1))
        product = part @ x
        for _ in range(_CYCLES):
            change = 0.0
            for i in range(size):
                rest = product[i] - part[i, i] * x[i]
                new = (-rest + np.sqrt(rest * rest + 4 * part[i, i])) / (2 * part[i, i])
                move = new - x[i]
                if move != 0.0:
                    for j in range(size):
                        product[j] += part[j, i] * move
                change = max(change, abs(move) / new)
                x[i] = new
            if change < _PRECISION:
                break
        for k in range(size):
            out[n, among[k]] = x[k]
    return out
