"""Learning a gate over frozen experts: the exact gradient of the mixed account with respect to the gate's few parameters.

The experts' plans on each task, and the filtered probabilities p of the regimes, are computed once. What is traded is the mixture
of `strategies.rules.gate`, and its utility is differentiated through the account with respect to (log M, log β) alone::

    maximise over (M, β)   mean over tasks of U( account of Σ_e w_e(p; M, β) · plan of expert e )

It begins near the identity gate, from which `select_shrinkage` then keeps as large a share of what was learnt as validation
supports. Tasks on which the experts were trained would tell it to trust them too much, so it is for tasks that are new to them
(Wolpert, "Stacked generalization", Neural Networks 1992).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from markets import RegimeDetector, TaskSet
from markets.accounting.differentiable import TensorPlan
from metalearner.objectives.pathwise import CostCurriculum, Pathwise, Windows, WindowSampler
from strategies import Gate
from strategies.rules.gate import gate_weights

_ELSEWHERE = -3.0  # log of what a regime calls for of other experts at the start: with none, it would have no gradient
_PATHS = 256  # largest number of paths evaluated in one forward pass


class GateModule(nn.Module):
    """The parameters of a `Gate`, in logs and float64.

    Parameters
    ----------
    regimes : int
        Number K of regimes, and of experts.
    reads : bool
        Whether it reads the filter. If not, its sharpness is 0: one mixture whatever the regime, at first in equal parts.

    Attributes
    ----------
    shrink : Tensor of shape ()
        Share of what was learnt; the rest is the identity gate.
    """

    def __init__(self, regimes: int, reads: bool = True):
        super().__init__()
        start = (
            _ELSEWHERE * (1 - torch.eye(regimes, dtype=torch.float64)) if reads else torch.zeros(1, regimes).double()
        )
        self.reads, self.regimes = reads, regimes
        self.log_mix = nn.Parameter(start)
        if reads:
            self.log_sharpness = nn.Parameter(torch.zeros((), dtype=torch.float64))
        self.shrink: Tensor
        self.register_buffer("shrink", torch.ones((), dtype=torch.float64))

    @classmethod
    def of(cls, gate: Gate) -> GateModule:
        """The parameters of a given gate, to evaluate it."""
        module = cls(len(gate.mix))
        with torch.no_grad():
            module.log_mix.copy_(torch.from_numpy(gate.mix).log())
            module.log_sharpness.fill_(gate.sharpness).log_()
            module.shrink.fill_(gate.share)
        return module

    @property
    def mix(self) -> Tensor:
        """M, of shape (K, E)."""
        return self.log_mix.exp().expand(self.regimes, -1)

    @property
    def sharpness(self) -> Tensor:
        """β."""
        return self.log_sharpness.exp() if self.reads else torch.zeros_like(self.shrink)

    def forward(self, aim: Tensor, band: Tensor, rate: Tensor, chance: Tensor) -> TensorPlan:
        """The mixed plan along B paths.

        Parameters
        ----------
        aim, band, rate : Tensor of shape (B, T, A, E)
        chance : Tensor of shape (B, T, K)

        Returns
        -------
        TensorPlan of shape (B, T, A)
        """
        weights = gate_weights(chance, self.mix, self.sharpness, self.shrink)[:, :, None]
        mixed = ((part * weights).sum(-1) for part in (aim, band, rate))
        return TensorPlan(next(mixed), next(mixed), next(mixed).clamp(max=1.0))

    def gate(self) -> Gate:
        """What was learnt, with M divided by its mean row sum, which changes no weight."""
        mix = self.mix.detach().numpy()
        return Gate(mix * len(mix) / mix.sum(), float(self.sharpness.detach()), float(self.shrink))


class ExpertSampler(WindowSampler):
    """Windows of tasks on which a gate chooses between the plans of frozen experts.

    Parameters
    ----------
    objective : Pathwise
        Its costs are charged in full, and all symbols are traded.
    tasks : TaskSet
    experts : sequence of Policy
    detector : RegimeDetector
        Fitted.
    context : int
        Bars of memory before the first evaluated bar.
    """

    def __init__(
        self, objective: Pathwise, tasks: TaskSet, experts: Sequence[Any], detector: RegimeDetector, context: int
    ):
        charged = replace(objective, symbols=0, truncate=0, curriculum=CostCurriculum(0.0, 0.0))
        super().__init__(charged, tasks, experts[0].settings, context, 0)
        batch = self.collect(experts[0], {}, self.all_tasks(), "query")
        parts = [batch[np.arange(k, min(k + _PATHS, len(self)))] for k in range(0, len(self), _PATHS)]
        rows = torch.cat([super(ExpertSampler, self).inputs(part)[0] for part in parts])
        plans = [_plans(expert, [super(ExpertSampler, self).inputs(part)[1:] for part in parts]) for expert in experts]
        chance = torch.tensor(detector.filter(self.bars).probabilities)[rows]
        self._inputs = (*(torch.stack(each, dim=-1) for each in zip(*plans, strict=True)), chance)
        digest = hashlib.sha256(b"".join(part.numpy().tobytes() for part in self._inputs)).hexdigest()
        self.identity += f" {digest}"

    def inputs(self, batch: Windows) -> tuple[Tensor, ...]:
        """Rows (B, T) of a batch; aims, no-trade zones and rates (B, T, A, E) there, and probabilities (B, T, K)."""
        rows = torch.from_numpy(batch.start[:, None] + np.arange(batch.counted.shape[1] + 1))
        ids = torch.from_numpy(batch.tasks.task_ids)
        return rows, *(part[ids] for part in self._inputs)


def _plans(expert: Any, inputs: Sequence[tuple[Tensor, ...]]) -> tuple[Tensor, Tensor, Tensor]:
    """Aim, no-trade zone and rate of one expert on all windows, each of shape (tasks, T, A)."""
    with torch.no_grad():
        found = [expert.eval()(*part) for part in inputs]
    aim = torch.cat([plan.aim for plan in found]).double()
    band = None if found[0].band is None else torch.cat([plan.band for plan in found]).double()
    rate = None if found[0].rate is None else torch.cat([plan.rate for plan in found]).double()
    return aim, torch.zeros_like(aim) if band is None else band, torch.ones_like(aim) if rate is None else rate
