from itertools import pairwise

import numpy as np
import pytest
from arch.bootstrap import SPA, StationaryBootstrap
from scipy.stats import chisquare, ks_2samp, kstest

from backtests.significance.resampling import (
    _running,
    _sum,
    blocks_of,
    error_of_mean,
    optimal_block,
    resampled_errors,
    resampled_means,
    shortest_block,
)
from backtests.significance.statistic import CertaintyEquivalent, SharpeRatio


def noise(length=400, columns=2, seed=0):
    return np.random.default_rng(seed).normal(0.001, 0.01, (length, columns))


def blocks(length, block, resamples, seed=0):
    """(first, length) of the blocks of each resample."""
    found = blocks_of(length, block, resamples, seed)
    for start, stop in pairwise(found.ends):
        yield found.first[start:stop], found.length[start:stop]


def test_blocks_are_those_of_the_stationary_bootstrap():
    """They start anywhere alike, their lengths are geometric, and the last is cut at the end."""
    firsts, sizes = [], []
    for first, size in blocks(500, 4.0, 200):
        assert size.sum() == 500
        firsts.append(first)
        sizes.append(size[:-1])
    first, size = np.concatenate(firsts), np.concatenate(sizes)
    assert kstest((first + 0.5) / 500, "uniform").pvalue > 0.01
    seen = np.bincount(np.minimum(size, 15), minlength=16)[1:]
    expected = 0.25 * 0.75 ** np.arange(15)
    expected[-1] = 0.75**14
    assert chisquare(seen, expected * len(size)).pvalue > 0.01


def test_means_are_archs_in_distribution():
    """Two samples of the same law, whatever the dependence."""
    series = np.convolve(noise(508, 1)[:, 0], np.ones(9), "valid")[:, None]
    ours = resampled_means(series, 6.0, 2000, 0)[:, 0]
    theirs = [data[0][0].mean() for data in StationaryBootstrap(6.0, series, seed=1).bootstrap(2000)]
    assert ks_2samp(ours, theirs).pvalue > 0.01


@pytest.mark.parametrize(("first", "length"), [(0, 5), (3, 1), (3, 2), (4, 4)])
def test_a_block_goes_round_at_the_end(first, length):
    series = np.array([[1.0], [10], [100], [1000], [10000]])
    rows = np.arange(first, first + length) % 5
    assert _sum(_running(series), first, length, 0) == series[rows].sum()


@pytest.mark.parametrize("statistic", [SharpeRatio(), CertaintyEquivalent(20.0)])
def test_means_values_and_errors_are_those_of_the_resampled_bars(statistic):
    series, block = noise(), 5.0
    moments = [statistic.moments(column) for column in series.T]
    columns = np.column_stack([*moments, np.ones(len(series))])
    means = resampled_means(columns, block, 20, 3)
    parts = [statistic.at(means[:, k : k + 2], len(series)) for k in (0, 2)]
    (one, slope, level), (two, other, other_level) = parts
    slopes = np.column_stack([slope, -other, other_level - level])
    errors = resampled_errors(columns, slopes, block, 20, 3)
    for i, (first, size) in enumerate(blocks(len(series), block, 20, seed=3)):
        rows = [np.arange(f, f + n) % len(series) for f, n in zip(first, size, strict=True)]
        bars = series[np.concatenate(rows)]
        np.testing.assert_allclose(means[i, [0, 2]], bars.mean(axis=0), atol=1e-15)
        assert one[i] - two[i] == pytest.approx(statistic.value(bars[:, 0]) - statistic.value(bars[:, 1]), rel=1e-9)
        psi = statistic.influence(bars[:, 0]) - statistic.influence(bars[:, 1])
        edges = np.concatenate([[0], np.cumsum(size)])
        sums = [psi[a:b].sum() for a, b in pairwise(edges)]
        assert errors[i] == pytest.approx(np.sqrt(np.square(sums).sum()) / len(series), rel=1e-9)


@pytest.mark.parametrize("block", [1.0, 3.0, 20.0])
def test_the_error_of_a_mean_is_archs_formula_and_that_of_the_resamples(block):
    series = noise(300, 3)
    spa = SPA(np.zeros(300), -series, block_size=block, reps=2, seed=0)
    spa._compute_variance()
    error = error_of_mean(series, block)
    np.testing.assert_allclose(error, np.sqrt(spa._loss_diff_var / 300), rtol=1e-9)
    np.testing.assert_allclose(resampled_means(series, block, 4000, 0).std(axis=0), error, rtol=0.06)


def test_the_same_seed_draws_the_same_and_a_constant_has_no_ratio():
    series = noise()
    assert (resampled_means(series, 3, 5, 1) == resampled_means(series, 3, 5, 1)).all()
    assert (resampled_means(series, 3, 5, 1) != resampled_means(series, 3, 5, 2)).any()
    series[:, 0] = 0.0
    series[0, 0] = 1e-3  # most resamples miss it or not, and those without it are constant
    means = resampled_means(SharpeRatio().moments(series[:, 0]), 1.0, 50, 0)
    ratios, slopes, _ = SharpeRatio().at(means, len(series))
    assert 0 < np.isnan(ratios).sum() < 50
    assert (np.isnan(ratios) == np.isnan(slopes).any(axis=1)).all()


def test_block_lengths():
    white = np.random.default_rng(0).standard_normal(1000)
    assert optimal_block(white) < 4
    assert 5 < optimal_block(np.convolve(white, np.ones(20))) <= 1019 / 3
    assert optimal_block(np.zeros(100)) == 1
    assert shortest_block(1000) == pytest.approx(10)
