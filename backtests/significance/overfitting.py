"""PBO: how often the best of several strategies in one half of the bars is below the median in the other.

Bailey, Borwein, López de Prado and Zhu, "The probability of backtest overfitting", Journal of Computational Finance 2017.
Combinatorially symmetric cross-validation: the bars are cut into an even number of blocks, and each choice of half of them is
once the sample in which the best Sharpe ratio is chosen. With ω the rank of the chosen strategy in the rest of the bars, divided
by the number of strategies plus 1, PBO is the share of choices with ``ω ≤ ½``: near ½ for strategies that do not differ, and 0
where the best one is best everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np

from markets import InputError


@dataclass(frozen=True, eq=False)
class Overfitting:
    """What cross-validation says of a choice among strategies.

    Attributes
    ----------
    probability : float
        PBO.
    logits : ndarray of shape (C,)
        log(ω / (1 − ω)) of each choice.
    inside, outside : ndarray of shape (C,)
        Sharpe ratio per bar of the chosen strategy in the bars in which it was chosen, and in the rest.
    """

    probability: float
    logits: np.ndarray
    inside: np.ndarray
    outside: np.ndarray


def overfitting(returns: np.ndarray, blocks: int = 16) -> Overfitting:
    """PBO of choosing among the columns of `returns` by their Sharpe ratio.

    Parameters
    ----------
    returns : ndarray of shape (T, N)
        Returns of N strategies on the same bars; the first ``T mod blocks`` are left out.
    blocks : int
        Even number of blocks; 16 give 12,870 choices.

    Raises
    ------
    InputError
        When there are fewer than 2 strategies or 2 bars per block, or the number of blocks is odd.
    """
    length, columns = returns.shape
    if columns < 2 or blocks < 2 or blocks % 2 or length < 2 * blocks:
        raise InputError(
            f"returns of shape {returns.shape} in {blocks} blocks; give 2 strategies or more, and an even number of blocks "
            "of 2 bars or more"
        )
    size = length // blocks
    cut = returns[length - size * blocks :].reshape(blocks, size, columns)
    sums, squares = cut.sum(axis=1), (cut**2).sum(axis=1)
    chosen = np.zeros((comb(blocks, blocks // 2), blocks))
    for row, half in zip(chosen, combinations(range(blocks), blocks // 2), strict=True):
        row[list(half)] = 1
    number = size * blocks // 2
    inside = _sharpe(chosen @ sums, chosen @ squares, number)
    outside = _sharpe((1 - chosen) @ sums, (1 - chosen) @ squares, number)
    best = inside.argmax(axis=1)
    rows = np.arange(len(best))
    there = outside[rows, best][:, None]
    rank = (outside < there).sum(axis=1) + ((outside == there).sum(axis=1) + 1) / 2  # equals share their mean rank
    share = rank / (columns + 1)
    return Overfitting(
        float((share <= 0.5).mean()), np.log(share / (1 - share)), inside[rows, best], outside[rows, best]
    )


def _sharpe(total: np.ndarray, squares: np.ndarray, number: int) -> np.ndarray:
    """Sharpe ratios per bar from sums and sums of squares of `number` returns; 0 where they do not vary."""
    mean = total / number
    variance = (squares - number * mean**2) / (number - 1)
    return np.divide(mean, np.sqrt(np.maximum(variance, 0)), out=np.zeros_like(mean), where=variance > 1e-20)
