"""What is shown beside a learner and is no control: its trained model with the memory cleared, or fed with another symbol's past.

Both policies were trained with their own past, and may do worse without it than one that never had any; so a gain over these is
no gain over not adapting. What they show is that the memory matters, and whether it is *this* symbol's past that does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.real_market.models import Kept
from markets import Bars
from markets.accounting.differentiable import TensorPlan
from strategies import PolicyStrategy, Strategy


@dataclass(frozen=True)
class Cleared:
    """The models of a learner without adaptation: the memory cleared at every bar, or no gradient steps.

    Attributes
    ----------
    kept : Kept
        Whose models these are; nothing is trained twice.
    """

    kept: Kept

    @property
    def name(self) -> str:
        return f"{self.kept.name}, cleared"

    def fit(self, tasks: Any, validation: Any, *, progress: bool = True) -> _Deployed:
        """The model of the learner, unadapted."""
        return _Deployed(self.kept.fit(tasks, validation, progress=progress).unadapted(), self.name)


@dataclass(frozen=True)
class OthersPast:
    """The models of a learner of policies with a memory, which is fed with another symbol's past.

    Attributes
    ----------
    kept : Kept
        Whose models these are.
    """

    kept: Kept

    @property
    def name(self) -> str:
        return f"{self.kept.name}, another's past"

    def fit(self, tasks: Any, validation: Any, *, progress: bool = True) -> _Deployed:
        """The model of the learner, fed so."""
        meta = self.kept.fit(tasks, validation, progress=progress)
        exchanged: Any = Exchanged(meta.policy)
        strategy = PolicyStrategy(exchanged, meta.context, self.name, meta.seen_until)
        return _Deployed(strategy, self.name)


@dataclass(frozen=True)
class _Deployed:
    """A strategy that no later bars change."""

    strategy: Strategy
    name: str

    def adapt(self, bars: Bars) -> Strategy:
        return self.strategy


class Exchanged(nn.Module):
    """A policy that sees its own last bar, and before it the bars of the symbol beside it.

    Parameters
    ----------
    policy : Policy
    """

    def __init__(self, policy: Any):
        super().__init__()
        self.policy, self.settings, self.shrink = policy, policy.settings, policy.shrink

    def forward(self, features: Tensor, base: Tensor, last: int | None = None) -> TensorPlan:
        """See `strategies.Policy.forward`; `features` are of shape (B, T, A, F)."""
        exchanged = torch.cat([features[:, :-1].roll(1, dims=2), features[:, -1:]], dim=1)
        return self.policy(exchanged, base, last=last)
