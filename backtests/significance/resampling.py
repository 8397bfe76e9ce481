"""The stationary bootstrap: bars resampled in blocks of random length, and what the tests need of each resample.

A block starts at a random bar and goes on to the next bar with probability ``1 − 1/block``, so that lengths are geometric; after
the last bar comes the first (Politis and Romano, "The stationary bootstrap", Journal of the American Statistical Association
1994). The resamples are those of `arch.bootstrap.StationaryBootstrap`. arch copies the data bar by bar; here a block is two rows
of a running sum, so that a resample takes T / block steps.
"""

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba import njit


class Blocks(NamedTuple):
    """The blocks of R resamples, one resample after another.

    Attributes
    ----------
    first, length : ndarray of int64, shape (B,)
        First row and number of rows of each block.
    ends : ndarray of int64, shape (R + 1,)
        Resample i has the blocks from ``ends[i]`` to ``ends[i + 1]``.
    """

    first: np.ndarray
    length: np.ndarray
    ends: np.ndarray


@lru_cache(maxsize=2)
def blocks_of(bars: int, block: float, resamples: int, seed: int) -> Blocks:
    """Draw the blocks of `resamples` resamples of `bars` rows. The last are kept, since many strategies are resampled alike.

    A block that a resample's end cuts in two goes on from another row in the next resample: what is left of a geometric length
    is geometric.
    """
    generator, total = np.random.default_rng(seed), bars * resamples
    changes = np.zeros(0, dtype=np.int64)
    while not len(changes) or changes[-1] < total:
        more = np.cumsum(generator.geometric(1 / block, int(total / block) + 100))
        changes = np.concatenate([changes, more + (changes[-1] if len(changes) else 0)])
    stops = bars * np.arange(resamples + 1)
    changes = np.sort(np.concatenate([changes[changes < total], stops]), kind="stable")  # two sorted runs are merged
    changes = changes[np.append(True, np.diff(changes) > 0)]
    blocks = Blocks(generator.integers(bars, size=len(changes) - 1), np.diff(changes), np.searchsorted(changes, stops))
    for part in blocks:
        part.setflags(write=False)
    return blocks


def optimal_block(series: np.ndarray) -> float:
    """Mean block length that is best for the mean of `series` (T,): at least 1 bar, at most a third of them.

    Politis and White, "Automatic block-length selection for the dependent bootstrap", Econometric Reviews 2004, as corrected by
    Patton, Politis and White 2009; computed by arch.
    """
    from arch.bootstrap import optimal_block_length  # takes a second to import

    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        warnings.simplefilter("ignore")
        block = float(optimal_block_length(series)["stationary"].iloc[0])
    return float(np.clip(block, 1.0, len(series) / 3)) if np.isfinite(block) else 1.0


def shortest_block(length: int) -> float:
    """T^(1/3) bars, the rate at which the optimal block grows: a floor, where dependence is too weak to be estimated."""
    return length ** (1 / 3)


def error_of_mean(series: np.ndarray, block: float) -> np.ndarray:
    """Standard deviation of the mean of a resample of `series`, in closed form.

    With ``C(k)`` the autocovariance at lag k and ``p = 1/block`` (Politis and Romano, lemma 1)::

        T·Var = C(0) + 2 Σ κ(k) C(k),   κ(k) = (1 − k/T)(1 − p)^k + (k/T)(1 − p)^(T−k)

    Parameters
    ----------
    series : ndarray of shape (T,) or (T, K)
    block : float
        Mean block length.

    Returns
    -------
    ndarray of shape () or (K,)
    """
    length = len(series)
    size = 1 << (2 * length - 1).bit_length()  # of the Fourier transform, so that lags do not wrap
    spectrum = np.fft.rfft(series - series.mean(axis=0), size, axis=0)
    covariance = np.fft.irfft(spectrum * spectrum.conj(), size, axis=0)[:length] / length
    lag, stay = np.arange(length), 1 - 1 / block
    weight = (1 - lag / length) * stay**lag + lag / length * stay ** (length - lag)
    weight[0] = 0.5
    return np.sqrt(np.maximum(2 * np.tensordot(weight, covariance, axes=1), 0.0) / length)


def resampled_means(series: np.ndarray, block: float, resamples: int, seed: int) -> np.ndarray:
    """Means of the columns of `series` (T, K) in each resample, shape (resamples, K)."""
    means = np.empty((resamples, series.shape[1]))
    _means(_running(series), *blocks_of(len(series), block, resamples, seed), means)
    return means


def resampled_errors(series: np.ndarray, slopes: np.ndarray, block: float, resamples: int, seed: int) -> np.ndarray:
    """Standard error, in each resample, of a statistic of the means of `series` (T, K).

    It is that of a sum over independent blocks: the root of the sum of squares of what each block adds to the statistic, to
    first order.

    Parameters
    ----------
    series : ndarray of shape (T, K)
    slopes : ndarray of shape (resamples, K)
        Influence of each column on the statistic of a resample, such that the influences of its rows add up to about 0.

    Returns
    -------
    ndarray of shape (resamples,)
    """
    errors = np.empty(resamples)
    _errors(_running(series), slopes, *blocks_of(len(series), block, resamples, seed), errors)
    return errors


def _running(series: np.ndarray) -> np.ndarray:
    """Sums of the rows before each, shape (T + 1, K)."""
    return np.concatenate([np.zeros((1, series.shape[1])), np.cumsum(series, axis=0)])


@njit(cache=True, nogil=True)
def _sum(running, first, length, column):
    """Sum over the `length` rows from `first`, going round at the end."""
    bars, last = len(running) - 1, first + length
    if last <= bars:
        return running[last, column] - running[first, column]
    return running[bars, column] - running[first, column] + running[last - bars, column]


@njit(cache=True, nogil=True)
def _means(running, first, length, ends, means):
    for i in range(len(means)):
        means[i] = 0.0
        for j in range(ends[i], ends[i + 1]):
            for k in range(means.shape[1]):
                means[i, k] += _sum(running, first[j], length[j], k)
        means[i] /= len(running) - 1


@njit(cache=True, nogil=True)
def _errors(running, slopes, first, length, ends, errors):
    for i in range(len(errors)):
        squared = 0.0
        for j in range(ends[i], ends[i + 1]):
            effect = 0.0
            for k in range(slopes.shape[1]):
                effect += slopes[i, k] * _sum(running, first[j], length[j], k)
            squared += effect * effect
        errors[i] = np.sqrt(squared) / (len(running) - 1)
