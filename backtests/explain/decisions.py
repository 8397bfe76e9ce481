"""What a strategy is made of when it decides, and the decisions of a policy as a function of its features."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import singledispatch
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from markets import Bars
from strategies import Blend, Limit, PolicyStrategy, RegimeGated, Strategy
from strategies.policy import base_book


class Share(NamedTuple):
    """A strategy that decides by itself, and how much of each decision it is.

    Attributes
    ----------
    strategy : Strategy
    weight : ndarray of shape (N,)
    """

    strategy: Strategy
    weight: np.ndarray


@singledispatch
def shares(strategy: Strategy, bars: Bars) -> Iterator[Share]:
    """The strategies that a decision is averaged of; their aims by weight are the strategy's aim before its limits.

    Parameters
    ----------
    strategy : Strategy
        A limit, a `Blend` and a `RegimeGated` are looked into; another one decides by itself.
    bars : Bars
        With N visible rows, one for each decision.
    """
    yield Share(strategy, np.ones(len(bars)))


@shares.register
def _(strategy: Limit, bars: Bars) -> Iterator[Share]:
    assert isinstance(strategy.strategy, Strategy)
    yield from shares(strategy.strategy, bars)


@shares.register
def _(strategy: Blend, bars: Bars) -> Iterator[Share]:
    yield from _averaged(strategy.parts, np.full((len(bars), len(strategy.parts)), 1 / len(strategy.parts)), bars)


@shares.register
def _(strategy: RegimeGated, bars: Bars) -> Iterator[Share]:
    yield from _averaged(strategy.strategies, strategy.weights(bars), bars)


def _averaged(parts: tuple[Strategy, ...], weights: np.ndarray, bars: Bars) -> Iterator[Share]:
    for part, weight in zip(parts, weights.T, strict=True):
        for share in shares(part, bars):
            yield share._replace(weight=share.weight * weight)


class Decisions:
    """A policy's decisions at the visible rows of `bars`, as `PolicyStrategy.plan` makes them, as a function of its inputs.

    Parameters
    ----------
    strategy : PolicyStrategy
    bars : Bars
        With N visible rows, on each of which some symbol has a close.

    Attributes
    ----------
    policy : Policy
        A copy in float64.
    features : tuple of str
        Names of the F features.
    seen : Tensor of float64, shape (N, A, T, 2F)
        What the network reads at the `context` bars up to each decision: the symbol's features, then their mean over the
        symbols. 0 where unknown.
    known : Tensor of bool, shape (N, T, A)
    base : Tensor of float64, shape (N, 1, A, 3)
        As `strategies.policy.base_book` returns it.
    """

    def __init__(self, strategy: PolicyStrategy, bars: Bars):
        settings, context = strategy.policy.settings, strategy.context
        held = strategy.trimmed(bars)
        grown = held.with_past()
        features = torch.from_numpy(settings.features.compute(grown))
        before = features.new_full((context - 1, *features.shape[1:]), torch.nan)
        windows = torch.cat([before, features]).unfold(0, context, 1).permute(0, 3, 1, 2)[held.past :].clone()
        windows[: max(context - 1 - held.past, 0)] = torch.nan  # with fewer past bars the base is held
        self.policy = copy.deepcopy(strategy.policy).double().cpu().eval().requires_grad_(False)
        self.features = settings.features.names
        seen, self.known = self.policy.sequences(windows)
        self.seen = seen.unflatten(0, (len(bars), -1))
        self.base = torch.from_numpy(base_book(settings, grown))[held.past :, None]

    @property
    def base_weight(self) -> Tensor:
        """Weights of the base, shape (N, A)."""
        return self.base[:, 0, :, 0]

    @property
    def belief(self) -> np.ndarray | None:
        """Mean and standard deviation of each of the L latent variables, shape (N, A, L, 2); None without such a memory."""
        if self.policy.settings.memory != "belief":
            return None
        with torch.no_grad():
            remembered, _ = self.policy.body.memory(self.seen.flatten(0, 1), None)
        return remembered[:, -1].unflatten(0, self.seen.shape[:2]).unflatten(2, (2, -1)).transpose(2, 3).numpy()

    def output(self, seen: Tensor) -> Tensor:
        """Outputs of the network for inputs (M, A, T, 2F), shape (M·A, 1, outputs); each depends on its own sequence alone."""
        return self.policy.body(seen.flatten(0, 1), last=1)[0]

    def aim(self, output: Tensor, row: Tensor) -> Tensor:
        """Target weights (M, A) that these outputs stand for at the decisions `row`, int of shape (M,)."""
        return self.policy.trades(output, self.known[row, -1:], self.base[row]).aim[:, 0]
