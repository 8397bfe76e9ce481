import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from markets import InputError
from strategies import (
    ExpandingCovariance,
    ExponentialCovariance,
    LedoitWolfCovariance,
    PooledCovariance,
    RegimeAdjustedCovariance,
    SampleCovariance,
)

WEIGHTED = [ExponentialCovariance(9), ExpandingCovariance(), PooledCovariance((3, 9)), RegimeAdjustedCovariance(5, 20)]
each = pytest.mark.parametrize("covariance", WEIGHTED, ids=lambda covariance: covariance.name)


def factor_returns(length=300, symbols=5, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(length, symbols)) * rng.uniform(0.005, 0.02, symbols) + rng.normal(0, 0.008, (length, 1))


def test_each_is_skfolios():
    from skfolio.moments import EmpiricalCovariance, EWCovariance, LedoitWolf, RegimeAdjustedEWCovariance

    returns = factor_returns(720)
    recent = returns[-6 * 63 :]
    adjusted = RegimeAdjustedEWCovariance(half_life=40, corr_half_life=120).fit(returns)
    assert adjusted.regime_multiplier_ != 1
    pairs = [
        (SampleCovariance(), EmpiricalCovariance().fit(returns).covariance_),
        (LedoitWolfCovariance(), LedoitWolf().fit(returns).covariance_),
        (ExponentialCovariance(63), EWCovariance(half_life=63).fit(recent).covariance_),
        (ExpandingCovariance(), EmpiricalCovariance(assume_centered=True).fit(returns).covariance_),
        (RegimeAdjustedCovariance(), adjusted.covariance_ / adjusted.regime_multiplier_**2),
    ]
    for ours, theirs in pairs:
        factor = ours.of(returns)[0, 0] / theirs[0, 0]
        assert factor == pytest.approx(1, abs=0.002)  # of n or n − 1
        np.testing.assert_allclose(ours.of(returns) / factor, theirs, rtol=1e-9, err_msg=ours.name)


def test_skfolios_defaults_have_the_correlations_of_plain_decay():
    """Its scale does not change a portfolio of least variance, so that ours has two halflives."""
    from skfolio.moments import RegimeAdjustedEWCovariance

    returns = factor_returns(240)
    theirs = RegimeAdjustedEWCovariance().fit(returns)
    plain = ExponentialCovariance(40).of(returns)
    np.testing.assert_allclose(theirs.covariance_ / theirs.regime_multiplier_**2, plain, rtol=1e-9)


def test_the_pool_is_the_mean_of_the_covariances():
    returns = factor_returns(126)
    halflives = (21, 42, 63)
    expected = np.mean([ExponentialCovariance(halflife).of(returns) for halflife in halflives], axis=0)
    np.testing.assert_allclose(PooledCovariance(halflives).of(returns), expected, rtol=1e-12)
    np.testing.assert_allclose(PooledCovariance((42,)).of(returns), ExponentialCovariance(42).of(returns), rtol=1e-12)


@each
def test_recent_returns_count_more_and_old_ones_less(covariance):
    returns = factor_returns()
    early, late = returns.copy(), returns.copy()
    early[:30] *= 3
    late[-30:] *= 3
    variance, after, before = (np.diag(covariance.of(x)) for x in (returns, late, early))
    if covariance == ExpandingCovariance():
        assert (after > 1.2 * variance).all()
        assert (before > 1.2 * variance).all()
    else:
        assert (after > 5 * variance).all()
        np.testing.assert_allclose(before, variance, rtol=1e-3)


@each
def test_a_late_symbol_has_the_variance_and_the_correlation_since_its_listing(covariance):
    """Its short history is no reason for a low covariance."""
    returns = factor_returns()
    late = returns.copy()
    late[:240, 2] = np.nan
    whole, found, since = covariance.of(returns), covariance.of(late), covariance.of(returns[240:])
    others = [0, 1, 3, 4]
    np.testing.assert_allclose(found[np.ix_(others, others)], whole[np.ix_(others, others)], rtol=1e-9)
    # the pool is of weights, and they are scaled up since the listing all together
    assert found[2, 2] == pytest.approx(since[2, 2], rel=0.01 if covariance.name == "pool" else 1e-9)
    std, recent = np.sqrt(np.diag(found)), np.sqrt(np.diag(since))
    # the others' volatilities, by which skfolio's scale returns, began earlier
    tolerance = 0.05 if covariance.name in ("pool", "regime adjusted") else 1e-9
    np.testing.assert_allclose(found[2] / std / std[2], since[2] / recent / recent[2], atol=tolerance)


@each
@given(seed=st.integers(0, 2**32 - 1), symbols=st.integers(1, 6))
def test_it_is_symmetric_and_has_no_negative_eigenvalue(covariance, seed, symbols):
    """With listings at any time, and symbols that do not move."""
    rng = np.random.default_rng(seed)
    returns = factor_returns(40, symbols, seed)
    for i in range(symbols):
        returns[: rng.integers(0, 38) * (rng.random() < 0.7), i] = np.nan
    still = rng.random(symbols) < 0.2
    returns[:, still] = np.where(np.isnan(returns[:, still]), np.nan, 0.0)
    found = covariance.of(returns)
    assert np.isfinite(found).all()
    assert (np.diag(found)[still] == 0).all()
    np.testing.assert_allclose(found, found.T, rtol=1e-9, atol=1e-20)
    std = np.sqrt(np.diag(found))
    moves = std > 0
    if moves.any():
        unit = found[np.ix_(moves, moves)] / np.outer(std[moves], std[moves])
        assert np.linalg.eigvalsh(unit).min() > -1e-10


def test_pairs_that_cannot_be_of_one_sample_are_repaired():
    rng = np.random.default_rng(0)
    a = rng.normal(size=200)
    returns = np.column_stack([a, a, a]) + rng.normal(0, 1e-3, (200, 3))
    returns[:190, 2] = np.nan
    returns[190:, 0] *= -1  # the third goes with the second and against the first, which went together
    found = ExpandingCovariance().of(returns)
    std = np.sqrt(np.diag(found))
    unit = found / np.outer(std, std)
    assert np.linalg.eigvalsh(unit).min() > -1e-12
    np.testing.assert_allclose(np.diag(unit), 1)
    assert unit[0, 1] > 0.2
    assert unit[0, 2] < -0.2


def test_settings_are_checked_and_compared():
    for wrong in (lambda: ExponentialCovariance(0), lambda: PooledCovariance(()), lambda: RegimeAdjustedCovariance(0)):
        with pytest.raises(InputError, match="of at least 1 session"):
            wrong()
    with pytest.raises(InputError, match="cut is 20; it must be at least the longest halflife"):
        PooledCovariance((21,), cut=20)
    with pytest.raises(InputError, match="at least the halflife, 40"):
        RegimeAdjustedCovariance(40, 20)
    assert ExponentialCovariance(63) == ExponentialCovariance() != ExponentialCovariance(64)
    assert (ExponentialCovariance(10).memory, SampleCovariance().memory, PooledCovariance().memory) == (60, 0, 1260)
