"""Other ways to deploy a trained model than to adapt it: its control, its memory cleared, or fed with another symbol's past.

Some learners train a control beside their policy, *without* memory or with frozen estimates; that is a fair one. A memory that
was trained and is then cleared, or given the past of another symbol, is none: it was never asked to do without, and may do worse
than a policy that never had any. It is shown, since it tells whether the memory matters, and whether *this* symbol's past does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from benchmarks.real_market.models import Kept
from markets import Bars
from markets.accounting.differentiable import TensorPlan
from strategies import PolicyStrategy, Strategy

Way = Literal["control", "cleared", "others_past"]


@dataclass(frozen=True)
class Variant:
    """The models of a learner, deployed in another way.

    Attributes
    ----------
    kept : Kept
        Whose models these are; nothing is trained twice.
    way : {"control", "cleared", "others_past"}
        ``control``: what the learner trained as its control (`MetaPolicy.unadapted`). ``cleared``: the memory cleared at every
        bar (`InContext.cleared`). ``others_past``: a `PolicyStrategy` whose memory reads the bars of the symbol beside.
    name : str
        In tables.
    """

    kept: Kept
    way: Way
    name: str

    def fit(self, tasks: Any, validation: Any, *, progress: bool = True) -> Deployed:
        """The model of the learner, so deployed."""
        meta = self.kept.fit(tasks, validation, progress=progress)
        if self.way == "control":
            return Deployed(meta.unadapted(), self.name)
        if self.way == "cleared":
            return Deployed(meta.cleared(), self.name)
        exchanged: Any = Exchanged(meta.policy)
        return Deployed(PolicyStrategy(exchanged, meta.context, self.name, meta.seen_until), self.name)


@dataclass(frozen=True)
class Deployed:
    """A strategy that later bars do not change.

    Attributes
    ----------
    strategy : Strategy
    name : str
    """

    strategy: Strategy
    name: str

    def adapt(self, bars: Bars) -> Strategy:
        """The strategy as it is."""
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
