"""The memory of a policy, carried from bar to bar, so that a decision costs one step of the network.

A row of `PolicyStrategy.plan` is the policy run over the last `context` bars, from an empty memory on. So at every bar `context`
runs are under way, one begun at each of these bars. A new bar moves them all by one step, in one batch; the oldest one ends with
it, and is the decision.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from markets import Bars, Plan
from strategies.policy import Policy, PolicyStrategy, base_book, base_rule
from strategies.strategy import Strategy

_RECURRENT = ("gru", "belief")  # memories whose state has the same size at every bar


@dataclass(frozen=True, eq=False)
class PolicyMemory:
    """What a policy remembers after a bar.

    Attributes
    ----------
    policy : Policy
        The strategy's policy in float64, as `PolicyStrategy.plan` runs it.
    state : Tensor of shape (context − 1, A, layers, hidden)
        Memory of the runs under way, the oldest first.
    plan : Plan of shape (1, A)
        The decision at the bar.
    """

    policy: Policy
    state: Tensor
    plan: Plan

    @classmethod
    def of(cls, strategy: Strategy, bars: Bars) -> Self | None:
        """The memory after the last of `bars`, which hold what the decision there reads; takes `context` steps.

        None unless the strategy is a policy with a recurrent memory: others read their bars anew for each decision.
        """
        if not isinstance(strategy, PolicyStrategy) or strategy.policy.settings.memory not in _RECURRENT:
            return None
        settings = strategy.policy.settings
        policy = copy.deepcopy(strategy.policy).double().cpu()
        state = torch.zeros(0, len(bars.symbols), 1, settings.hidden, dtype=torch.float64)
        held = bars.with_past().without_empty()
        for row in settings.features.compute(held.rows(len(held) - strategy.context + 1, len(held))):
            _, _, state = _step(policy, torch.from_numpy(row), state)
        return cls(policy, state, strategy.plan(bars[-1:]))

    def after(self, strategy: Strategy, bars: Bars) -> Self:
        """The memory after one more bar.

        Parameters
        ----------
        strategy : PolicyStrategy
            As of before, but for external series, which may have gone on.
        bars : Bars
            They end with that bar, and hold what the decision there reads.
        """
        assert isinstance(strategy, PolicyStrategy)
        if not np.isfinite(bars.close[-1]).any():  # such a row is no bar to the memory: the decision before stands
            return self
        settings, now = strategy.policy.settings, strategy.trimmed(bars[-1:])
        out, known, state = _step(self.policy, torch.from_numpy(settings.features.compute(now)[0]), self.state)
        rule = base_rule(settings)
        # a base reads fewer bars than the features
        near = rule.trimmed(now) if rule is not None and settings.tilt == "weight" else now
        base = torch.from_numpy(base_book(settings, near))[None]
        with torch.inference_mode():
            plan = self.policy.trades(out, known, base)
        parts = [None if part is None else part[0].numpy() for part in plan]
        return type(self)(self.policy, state[1:], Plan(*parts))  # type: ignore[arg-type]


@torch.inference_mode()
def _step(policy: Policy, features: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Move the runs under way, and one that begins, by one bar.

    Parameters
    ----------
    policy : Policy
    features : Tensor of shape (A, F)
    state : Tensor of shape (runs, A, layers, hidden)

    Returns
    -------
    out : Tensor of shape (A, 1, outputs)
        Of the oldest run.
    known : Tensor of bool, shape (1, 1, A)
    state : Tensor of shape (runs + 1, A, layers, hidden)
    """
    seen, known = policy.sequences(features[None, None])
    symbols, body = len(seen), policy.body
    begun = torch.cat([state, state.new_zeros(1, *state.shape[1:])])
    out, _ = body(seen, state=begun[0])  # of the others no more than the memory is needed
    _, moved = body.memory(seen.repeat(len(begun), 1, 1), begun.flatten(0, 1))
    return out, known, moved.unflatten(0, (len(begun), symbols))
