"""The stationary bootstrap: bars resampled in blocks of random length, and what the tests need of each resample.

A block starts at a random bar and goes on to the next bar with probability ``1 − 1/block``, so that lengths are geometric; after
the last bar comes the first (Politis and Romano, "The stationary bootstrap", Journal of the American Statistical Association
1994). The resamples are those of `arch.bootstrap.StationaryBootstrap`. arch copies the data bar by bar; here a block is two rows
of a running sum, so that a resample takes T / block steps.
"""

from __future__ import annotations

import warnings

import numpy as np
from numba import njit


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
    _means(_running(series), 1 / block, np.random.default_rng(seed), means)
    return means


def resampled_ratios(series: np.ndarray, block: float, resamples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Sharpe ratio of the first column minus that of the second, if there is one, and its standard error, in each resample.

    The error is that of a sum over independent blocks: the root of the sum of squares of what each block adds to the
    difference, to first order (see `backtests.significance.sharpe_ratio.influence`).

    Parameters
    ----------
    series : ndarray of shape (T, 1) or (T, 2)
        Returns.

    Returns
    -------
    (ndarray of shape (resamples,), ndarray of shape (resamples,))
        NaN where a resample is constant.
    """
    ratios, errors = np.empty(resamples), np.empty(resamples)
    scaled = series / series.std(axis=0)  # so that no sum of squares is lost in rounding
    _ratios(_running(scaled), _running(scaled**2), 1 / block, np.random.default_rng(seed), ratios, errors)
    return ratios, errors


def _running(series: np.ndarray) -> np.ndarray:
    """Sums of the rows before each, shape (T + 1, K)."""
    return np.concatenate([np.zeros((1, series.shape[1])), np.cumsum(series, axis=0)])


@njit(cache=True, nogil=True)
def _draw(generator, start, first, length):
    """Draw a resample's blocks: their `first` rows and their `length`, cut at the T-th bar; return how many there are."""
    bars, filled, count = len(first), 0, 0
    while filled < bars:
        first[count] = generator.integers(0, bars)
        length[count] = min(generator.geometric(start), bars - filled)
        filled += length[count]
        count += 1
    return count


@njit(cache=True, nogil=True)
def _sum(running, first, length, column):
    """Sum over the `length` rows from `first`, going round at the end."""
    bars, last = len(running) - 1, first + length
    if last <= bars:
        return running[last, column] - running[first, column]
    return running[bars, column] - running[first, column] + running[last - bars, column]


@njit(cache=True, nogil=True)
def _means(running, start, generator, means):
    bars = len(running) - 1
    first, length = np.empty(bars, np.int64), np.empty(bars, np.int64)
    for i in range(len(means)):
        means[i] = 0.0
        for j in range(_draw(generator, start, first, length)):
            for k in range(means.shape[1]):
                means[i, k] += _sum(running, first[j], length[j], k)
        means[i] /= bars


@njit(cache=True, nogil=True)
def _ratios(running, running_squares, start, generator, ratios, errors):
    bars, columns = len(running) - 1, running.shape[1]
    first, length = np.empty(bars, np.int64), np.empty(bars, np.int64)
    one, two = np.empty(bars), np.empty(bars)  # each block's sum, and sum of squares
    effect = np.empty(bars)  # of each block on the difference
    for i in range(len(ratios)):
        count = _draw(generator, start, first, length)
        effect[:count] = 0.0
        ratios[i] = 0.0
        for k in range(columns):
            sign = 1.0 if k == 0 else -1.0
            total = squares = 0.0
            for j in range(count):
                one[j] = _sum(running, first[j], length[j], k)
                two[j] = _sum(running_squares, first[j], length[j], k)
                total += one[j]
                squares += two[j]
            mean = total / bars
            variance = (squares - bars * mean * mean) / (bars - 1)
            if not variance > 1e-14:
                variance = np.nan
            std = np.sqrt(variance)
            ratio = mean / std
            ratios[i] += sign * ratio
            linear, quadratic = sign / std, sign * 0.5 * ratio / variance
            for j in range(count):
                centred = one[j] - length[j] * mean
                excess = two[j] - mean * (2 * one[j] - length[j] * mean) - length[j] * variance
                effect[j] += linear * centred - quadratic * excess
        squared = 0.0
        for j in range(count):
            squared += effect[j] * effect[j]
        errors[i] = np.sqrt(squared) / bars
