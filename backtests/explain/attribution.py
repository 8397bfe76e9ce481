"""Integrated gradients of a policy's target weights with respect to the features that it has read.

The features move on a straight line from the baseline, which is 0, to what they were. What feature i has contributed to a
weight w is::

    x_i · ∫_0^1 ∂w(α x)/∂x_i dα

and all contributions add up to ``w(x) − w(0)`` (Sundararajan, Taly and Yan, "Axiomatic attribution for deep networks", ICML
2017). Features are in units of a symbol's own volatility, so 0 is a market in which nothing stands out.

The integral is by Gauss–Legendre on parts of the line. By how much a part misses is known exactly, as the change of the weight
over it, and a part that misses is halved: weights have kinks, where the gross weight reaches its limit. The weight of a
symbol depends on the other symbols' sequences through that limit alone, so one backward pass through the memory serves all
symbols; captum's integrated gradients take one for each, and `tests/peers/test_captum.py` compares the two.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from backtests.explain.decisions import Decisions

SOURCES = ("the symbol", "the market", "gross limit")
TOLERANCE = 1e-5  # of a weight, within a part of the line
_NODES, _WEIGHTS = (torch.from_numpy(x) for x in np.polynomial.legendre.leggauss(8))
_HALVINGS = 16
_STEPS = 200_000  # of sequences at once, which bounds memory use


class Contributions(NamedTuple):
    """What features have contributed to N decisions.

    Attributes
    ----------
    start, end : ndarray of shape (N, A)
        Weights at the baseline and at the features as they were.
    parts : ndarray of shape (3, N, T, A, F)
        What the features at each of the T bars have contributed to the weight of each symbol, by `SOURCES`: the symbol's
        features; their mean over the symbols; and all features of the other symbols, by what they take of the gross weight.
    """

    start: np.ndarray
    end: np.ndarray
    parts: np.ndarray

    @property
    def missing(self) -> np.ndarray:
        """What the contributions lack of the change of the weight, shape (N, A)."""
        return self.end - self.start - self.parts.sum(axis=(0, 2, 4))


def integrate(decisions: Decisions) -> Contributions:
    """The contributions of all features to all decisions."""
    n, symbols, bars, inputs = decisions.seen.shape
    at_once = max(_STEPS // (len(_NODES) * symbols * bars), 1)
    total = torch.zeros(3, n, symbols, bars, inputs // 2, dtype=torch.float64)
    row, low = torch.arange(n), torch.zeros(n, dtype=torch.float64)
    for halving in range(_HALVINGS):
        wrong = []
        width = 0.5**halving
        for place in torch.arange(len(row)).split(at_once):
            found = _along(decisions, row[place], low[place], width)
            ends = [_weights(decisions, row[place], low[place] + share * width) for share in (0, 1)]
            miss = (ends[1] - ends[0] - found.sum(dim=(0, 3, 4))).abs().amax(1)
            good = (miss <= TOLERANCE) if halving + 1 < _HALVINGS else torch.ones_like(miss, dtype=torch.bool)
            total.index_add_(1, row[place[good]], found[:, good])
            wrong.append(place[~good])
        left = torch.cat(wrong)
        if not len(left):
            break
        row, low = row[left].repeat(2), torch.cat([low[left], low[left] + width / 2])
    every = torch.arange(n)
    start, end = (_weights(decisions, every, torch.full((n,), at, dtype=torch.float64)) for at in (0, 1))
    return Contributions(start.numpy(), end.numpy(), total.transpose(2, 3).numpy())


def _weights(decisions: Decisions, row: Tensor, at: Tensor) -> Tensor:
    """Weights (M, A) of the decisions `row` at the points `at` of the line, both of shape (M,)."""
    with torch.no_grad():
        return decisions.aim(decisions.output(decisions.seen[row] * at[:, None, None, None]), row)


def _along(decisions: Decisions, row: Tensor, low: Tensor, width: float) -> Tensor:
    """The integral from `low` to ``low + width`` at M decisions, shape (3, M, A, T, F)."""
    points = (low[:, None] + width * (_NODES + 1) / 2).flatten()
    rows = row.repeat_interleave(len(_NODES))
    seen = (decisions.seen[rows] * points[:, None, None, None]).requires_grad_()
    output = decisions.output(seen)
    # each output depends on its own sequence alone, so the gradient of their sum holds those of all
    (slope,) = torch.autograd.grad(output[..., 0].sum(), seen)
    weight = (_WEIGHTS * width / 2).repeat(len(row))
    slope = slope * weight[:, None, None, None] * decisions.seen[rows]
    response = _response(decisions, output.detach(), rows)
    direct = torch.diagonal(response, dim1=1, dim2=2)
    by_itself = direct[..., None, None] * slope
    by_others = torch.einsum("mij,mjtf->mitf", response - torch.diag_embed(direct), slope)
    features = len(decisions.features)
    parts = (
        by_itself[..., :features],
        by_itself[..., features:],
        by_others[..., :features] + by_others[..., features:],
    )
    return torch.stack([part.unflatten(0, (len(row), -1)).sum(1) for part in parts])


def _response(decisions: Decisions, output: Tensor, row: Tensor) -> Tensor:
    """Derivative of each symbol's weight with respect to each symbol's tilt, shape (M, A, A)."""
    output.requires_grad_()
    aim = decisions.aim(output, row)
    columns = torch.eye(aim.shape[1], dtype=aim.dtype)[:, None].expand(-1, *aim.shape)
    (found,) = torch.autograd.grad(aim, output, columns, is_grads_batched=True)
    return found[..., 0, 0].unflatten(1, aim.shape).transpose(0, 1)
