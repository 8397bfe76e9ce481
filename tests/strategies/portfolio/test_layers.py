import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies.portfolio.layers import (
    equal_weight,
    inverse_volatility,
    mean_variance,
    minimum_variance,
    portfolio_variance,
    risk_parity,
)

LAYERS = (minimum_variance, risk_parity, inverse_volatility, equal_weight)


def covariances(seed: int, count: int, symbols: int, factors: int = 2) -> torch.Tensor:
    """Covariances per year with common factors and volatilities of 5 % to 80 %."""
    rng = np.random.default_rng(seed)
    moves = rng.standard_normal((count, 4 * symbols, factors)) @ rng.standard_normal((count, factors, symbols))
    moves += rng.standard_normal(moves.shape)
    moves *= np.exp(rng.uniform(np.log(0.02), np.log(0.3), (count, 1, symbols)))
    return torch.from_numpy(np.einsum("nti,ntj->nij", moves, moves) / moves.shape[1])


def some_known(seed: int, count: int, symbols: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random((count, symbols)) < 0.8)


def solved(
    covariance: np.ndarray, known: np.ndarray, mean: np.ndarray | None = None, aversion: float = 0.0
) -> np.ndarray:
    """The optimum by cvxpy."""
    import cvxpy as cp

    at, out = np.flatnonzero(known), np.zeros(len(known))
    w = cp.Variable(len(at))
    risk = cp.quad_form(w, cp.psd_wrap(covariance[np.ix_(at, at)]))
    if mean is None:
        problem = cp.Problem(cp.Minimize(risk * 100), [w >= 0, cp.sum(w) == 1])
    else:
        problem = cp.Problem(cp.Maximize(mean[at] @ w - 0.5 * risk), [w >= 0])
    problem.solve(solver="CLARABEL", tol_gap_abs=1e-13, tol_gap_rel=1e-13, tol_feas=1e-13)
    out[at] = w.value
    return out


@given(seed=st.integers(0, 2**32 - 1), symbols=st.integers(1, 12), layer=st.sampled_from(LAYERS))
def test_weights_are_never_negative_and_sum_to_one(seed, symbols, layer):
    known = some_known(seed, 3, symbols)
    w = layer(covariances(seed, 3, symbols), known)
    assert (w >= 0).all()
    assert not w[~known].any()
    np.testing.assert_allclose(w.sum(-1), known.any(-1).to(w), atol=1e-12)


@pytest.mark.parametrize("symbols", [2, 7, 30])
def test_least_variance_is_what_a_solver_finds(symbols):
    covariance, known = covariances(1, 6, symbols), some_known(2, 6, symbols)
    known[:, 0] = True
    found = minimum_variance(covariance, known).numpy()
    for k in range(6):
        np.testing.assert_allclose(found[k], solved(covariance[k].numpy(), known[k].numpy()), atol=1e-6)


@pytest.mark.parametrize("symbols", [2, 7, 30])
def test_best_utility_is_what_a_solver_finds(symbols):
    covariance, known = covariances(3, 6, symbols), some_known(4, 6, symbols)
    known[:, 0] = True
    mean = torch.from_numpy(np.random.default_rng(5).normal(0, 0.05, (6, symbols)))
    found, both = (mean_variance(covariance, known, mean, long_only).numpy() for long_only in (True, False))
    assert (found >= 0).all()
    for k in range(6):
        at = np.flatnonzero(known[k])
        expected = solved(covariance[k].numpy(), known[k].numpy(), mean[k].numpy())
        np.testing.assert_allclose(found[k], expected, atol=1e-6 * np.abs(expected).max(initial=1))
        part = np.linalg.solve(covariance[k].numpy()[np.ix_(at, at)], mean[k].numpy()[at])
        np.testing.assert_allclose(both[k, at], part)
        assert not both[k, ~known[k].numpy()].any()


def test_risk_is_shared_alike():
    covariance, known = covariances(6, 5, 9), some_known(7, 5, 9)
    w = risk_parity(covariance, known)
    part = w * (covariance @ w[..., None])[..., 0] / portfolio_variance(covariance, w)[:, None]
    expected = known / known.sum(-1, keepdim=True)
    np.testing.assert_allclose(part, expected, atol=1e-12)


def test_risk_parity_is_that_of_skfolio():
    from skfolio.optimization import RiskBudgeting

    rng = np.random.default_rng(8)
    returns = rng.standard_normal((300, 6)) * 0.01 @ np.triu(np.ones((6, 6)))
    covariance = torch.from_numpy(np.cov(returns.T))[None] * 252
    found = risk_parity(covariance, torch.ones(1, 6, dtype=torch.bool))[0].numpy()
    np.testing.assert_allclose(found, RiskBudgeting().fit(returns).weights_, atol=1e-4)  # its solver's tolerance


@pytest.mark.parametrize("layer", LAYERS)
def test_gradients_are_those_of_finite_differences(layer):
    known = torch.ones(3, 5, dtype=torch.bool)
    known[0, 2] = False

    def weights(root):
        return layer(root @ root.transpose(-1, -2), known)

    root = torch.linalg.cholesky(covariances(9, 3, 5)).requires_grad_()
    if layer is equal_weight:
        assert not weights(root).requires_grad
    else:
        assert torch.autograd.gradcheck(weights, (root,), eps=1e-7, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("long_only", [False, True])
def test_gradients_of_best_utility_are_those_of_finite_differences(long_only):
    known, root = torch.ones(2, 4, dtype=torch.bool), torch.linalg.cholesky(covariances(10, 2, 4)).requires_grad_()
    mean = torch.from_numpy(np.random.default_rng(11).normal(0, 0.1, (2, 4))).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda r, m: mean_variance(r @ r.transpose(-1, -2), known, m, long_only), (root, mean), eps=1e-7, atol=1e-5
    )


@given(seed=st.integers(0, 2**32 - 1), layer=st.sampled_from((*LAYERS, None)))
@settings(max_examples=20)
def test_a_row_is_the_same_whatever_is_beside_it(seed, layer):
    covariance, known = covariances(seed, 9, 6), some_known(seed, 9, 6)
    mean = torch.from_numpy(np.random.default_rng(seed).normal(0, 0.1, (9, 6)))

    def weights(rows):
        if layer is None:
            return mean_variance(covariance[rows], known[rows], mean[rows], long_only=True)
        return layer(covariance[rows], known[rows])

    whole = weights(slice(None))
    for rows in (slice(0, 1), slice(2, 5), slice(3, 9)):
        np.testing.assert_array_equal(weights(rows), whole[rows])


def test_more_symbols_than_bars_are_held_once_the_covariance_is_shrunk():
    rng = np.random.default_rng(12)
    moves = rng.standard_normal((20, 60)) * 0.01
    sample = torch.from_numpy(moves.T @ moves / 20)[None]
    shrunk = 0.9 * sample + 0.1 * torch.diag_embed(sample.diagonal(dim1=-2, dim2=-1))
    known = torch.ones(1, 60, dtype=torch.bool)
    found = minimum_variance(shrunk, known)[0].numpy()
    np.testing.assert_allclose(found, solved(shrunk[0].numpy() * 1e4, known[0].numpy()), atol=1e-6)
