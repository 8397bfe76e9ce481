"""Whether any of many strategies is better than a benchmark, and which, allowing for the number of them.

Hansen, "A test for superior predictive ability", Journal of Business & Economic Statistics 2005 (SPA), and Romano and Wolf,
"Stepwise multiple testing as formalized data snooping", Econometrica 2005 (StepM). With ``d`` (T, K) each strategy's gain over
the benchmark at each bar, s_k the error of its mean, and stars for resamples::

    t_k = mean(d_k) / s_k,   t*_k = (mean(d*_k) − g_k) / s_k,   p = P(max t* ≥ max t)

g_k is the mean itself. A strategy far below the benchmark says nothing about the best one, though, and makes the test weaker:
`consistent` sets g_k to 0 where ``t_k < −√(2 log log T)``, and `lower` wherever t_k is negative. `upper` (White's reality check,
studentised) never does. Where all strategies equal the benchmark, `upper` is uniform, and `consistent` nearly so; where some are
worse, both are larger than uniform.

A resample is counted with those that are as extreme, so no p-value is zero. Where two t are equal to rounding both count.
arch's `SPA` tests the same means without dividing them by s_k; of columns that are divided before, the p-values are the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backtests.significance.resampling import error_of_mean, optimal_block, resampled_means, shortest_block

RESAMPLES = 1000
LEVEL = 0.05


@dataclass(frozen=True, eq=False)
class Superiority:
    """What SPA and StepM say of K strategies.

    Attributes
    ----------
    lower, consistent, upper : float
        p-values of "no strategy is better than the benchmark".
    statistic : ndarray of shape (K,)
        t of each strategy; NaN where it does not differ from the benchmark.
    adjusted : ndarray of shape (K,)
        Step-down p-value of each strategy (`consistent`): StepM at level α finds those of at most α. The least of them is
        `consistent`.
    needed : ndarray of shape (K,)
        By how much all t would have to grow for an `adjusted` of at most 0.05, were the resamples the same: above 1 just where
        it is more. Infinite where t is not positive.
    block : float
        Mean block length of the bootstrap, in bars.
    """

    lower: float
    consistent: float
    upper: float
    statistic: np.ndarray
    adjusted: np.ndarray
    needed: np.ndarray
    block: float


def superiority(
    gains: np.ndarray, *, block: float | None = None, resamples: int = RESAMPLES, seed: int = 0
) -> Superiority:
    """Test `gains` (T, K) of K strategies over a benchmark.

    Parameters
    ----------
    gains : ndarray of shape (T, K)
        What each strategy earned more than the benchmark at each bar; larger is better.
    block : float, optional
        Mean block length; by default the mean of the columns' optimal ones, or T^(1/3) if that is longer.
    resamples : int
    seed : int

    Returns
    -------
    Superiority
        All NaN if no strategy differs from the benchmark.
    """
    length, columns = gains.shape
    empty = np.full(columns, np.nan)
    differs = gains.std(axis=0) > 1e-12 * np.abs(gains).max(initial=0.0)
    if not differs.any():
        return Superiority(np.nan, np.nan, np.nan, empty, empty, empty, np.nan)
    kept = gains[:, differs]
    if block is None:
        block = max(float(np.mean([optimal_block(column) for column in kept.T])), shortest_block(length))
    mean, error = kept.mean(axis=0), error_of_mean(kept, block)
    moved = resampled_means(kept - mean, block, resamples, seed) / error
    t = mean / error
    p = {
        name: _share(np.max(moved + np.where(ignored, t, 0.0), axis=1), t.max())
        for name, ignored in (
            ("lower", t < 0),
            ("consistent", _far_below(t, length)),
            ("upper", np.zeros(len(t), bool)),
        )
    }
    adjusted, needed = _stepwise(moved + np.where(_far_below(t, length), t, 0.0), t)

    def placed(values: np.ndarray) -> np.ndarray:
        found = empty.copy()
        found[differs] = values
        return found

    return Superiority(p["lower"], p["consistent"], p["upper"], placed(t), placed(adjusted), placed(needed), block)


def _far_below(t: np.ndarray, length: int) -> np.ndarray:
    return t < -np.sqrt(2 * np.log(np.log(length)))


def _share(resampled: np.ndarray, value: float) -> float:
    """Share of the resamples, with the sample itself, that reach `value`."""
    return float((1 + np.sum(resampled >= value)) / (1 + len(resampled)))


def _stepwise(resampled: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Step-down p-values, and what all t (K,) lack for them to be 0.05, by resampled statistics (R, K).

    A strategy is found only if those above it are, so both are the largest so far.
    """
    order, number = np.argsort(-t, kind="stable"), len(resampled)
    largest = np.maximum.accumulate(resampled[:, order[::-1]], axis=1)[:, ::-1]  # of those that are left at each step
    p, needed = np.empty(len(t)), np.empty(len(t))
    p[order] = np.maximum.accumulate([_share(largest[:, i], t[k]) for i, k in enumerate(order)])
    few = int(LEVEL * (number + 1))  # the sample itself and the resamples that reach t are at most so many
    critical = np.sort(largest, axis=0)[-few] if few else np.inf
    t = np.maximum(t[order], 0)
    needed[order] = np.maximum.accumulate(np.divide(critical, t, out=np.full(len(t), np.inf), where=t > 0))
    return p, needed
