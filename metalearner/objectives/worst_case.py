"""A soft worst case over groups of tasks: the mean utility of each group, weighed towards the lowest.

Of a single task, utility over a short window is mostly luck, so that the worst tasks of a batch are the unluckiest ones, and a
policy that is trained on them learns to avoid luck. So utilities are averaged within a group first; groups are markets (the
universes of `Across`, such as perturbed copies of one) or regimes. With m_g the mean utility of group g among G::

    CVaR       mean of the lowest share α of the groups       max over a:  a − mean_g (a − m_g)⁺ / α
    soft-min   −τ log mean_g exp(−m_g / τ)                    between the mean (τ → ∞) and the minimum (τ → 0)

(Rockafellar and Uryasev, "Optimization of conditional value-at-risk", Journal of Risk 2000; soft-min is the entropic risk
measure.) Both are the lowest mean over all weights of the groups within a distance of equal ones. The gradient of either is that
of the weighted mean ``Σ_g w_g m_g`` at constant weights, as in group distributionally robust optimisation (Sagawa et al., ICLR
2020).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from markets import InputError
from markets.common.kinds import find, register
from metalearner.distributed import summed


class WorstCase(ABC):
    """Base class: weights of groups, given the mean utility of each."""

    kinds: ClassVar[dict[str, type[WorstCase]]] = {}

    def __init_subclass__(cls) -> None:
        register(WorstCase.kinds, cls.__name__, cls, "worst cases")

    @abstractmethod
    def weights(self, means: Tensor) -> Tensor:
        """Weight of each group in the worst case.

        Parameters
        ----------
        means : Tensor of shape (G,)
            Mean utility of each group.

        Returns
        -------
        Tensor of shape (G,)
            At least 0, with sum 1.
        """

    def to_dict(self) -> dict[str, Any]:
        """Settings, for JSON."""
        return {"kind": type(self).__name__, **asdict(self)}  # type: ignore[call-overload]  # every kind is a dataclass

    @classmethod
    def from_dict(cls, config: dict[str, Any]) -> WorstCase:
        """Rebuild from the result of `to_dict`."""
        return find(WorstCase.kinds, config["kind"], "worst case")(**{k: v for k, v in config.items() if k != "kind"})

    @classmethod
    def parse(cls, text: str) -> WorstCase:
        """Read ``cvar:0.2`` (share of the groups) or ``softmin:0.01`` (temperature, in the unit of the utility).

        Raises
        ------
        InputError
            When it cannot be read.
        """
        name, _, value = text.partition(":")
        kinds = {kind.lower(): found for kind, found in WorstCase.kinds.items()}
        try:
            kind, number = kinds[name.strip().lower()], float(value)
        except (KeyError, ValueError):
            raise InputError(f"{text!r}: write cvar:0.2 or softmin:0.01, with your number") from None
        return kind(number)  # type: ignore[call-arg]


@dataclass(frozen=True)
class CVaR(WorstCase):
    """Conditional value at risk: the mean of the lowest `level` of the groups. Of five groups, 0.2 is the worst one.

    Attributes
    ----------
    level : float
        In (0, 1]; 1 is the mean of all groups.

    Raises
    ------
    InputError
        When `level` is not in (0, 1].
    """

    level: float = 0.2

    def __post_init__(self) -> None:
        if not 0 < self.level <= 1:
            raise InputError(f"worst case: level is {self.level}; it must be a share of the groups, such as 0.2")

    def weights(self, means):
        count = self.level * len(means)  # the last of the lowest may count in part
        rank = torch.empty_like(means).scatter(0, means.argsort(stable=True), torch.arange(len(means)).to(means))
        return (count - rank).clamp(0, 1) / count


@dataclass(frozen=True)
class SoftMin(WorstCase):
    """Soft minimum: weights ``∝ exp(−m_g / temperature)``.

    Attributes
    ----------
    temperature : float
        Above 0, in the unit of the utility per bar. Large is the mean, small the minimum.

    Raises
    ------
    InputError
        When `temperature` is not above 0 and finite.
    """

    temperature: float = 0.01

    def __post_init__(self) -> None:
        if not 0 < self.temperature < float("inf"):
            raise InputError(f"worst case: temperature is {self.temperature}; it must be above 0 and finite")

    def weights(self, means):
        return torch.softmax(-means / self.temperature, 0)


_KEPT = 0.95  # of the running means after one update: they are over about the last 20


class GroupWeights:
    """Weights of tasks in the loss by a worst case over their groups, from running means of what each group earned.

    In one batch, a group's mean is luck for the most part: worst is then whoever was unlucky, and training for it is training
    against variance. So means run over the last updates, as do the weights of Sagawa et al. They are part of a checkpoint.

    Parameters
    ----------
    worst_case : WorstCase
    groups : int

    Attributes
    ----------
    state : dict of Tensor
        ``utility`` and ``tasks`` of each group, sums over all updates so far that fade out.

    Raises
    ------
    InputError
        By `tasks`, when there is one group only, of which the worst is the mean.
    """

    def __init__(self, worst_case: WorstCase, groups: int):
        self.worst_case, self.groups = worst_case, groups
        self.state = {name: torch.zeros(groups, dtype=torch.float64) for name in ("utility", "tasks")}

    def tasks(self, utility: Tensor, group: np.ndarray) -> Tensor:
        """Weight of each task of this update; the mean over the tasks of all processes is 1 if all groups are among them.

        Under ``torchrun`` the means are over all processes, so that weights and gradient are as in one.

        Parameters
        ----------
        utility : Tensor of shape (tasks,)
        group : ndarray of int, shape (tasks,)
            From 0 to ``groups - 1``. Groups that no update has met yet have no weight.

        Returns
        -------
        Tensor of shape (tasks,)
        """
        if self.groups < 2:
            raise InputError(
                "worst_case: all tasks are of one market and one regime, so there is no worst one; train on perturbed copies "
                "(--uncertainty, Across.perturbed), on several universes or on several regimes, or leave worst_case out"
            )
        at, value = torch.from_numpy(group), utility.detach().cpu().double()
        here = torch.zeros(2, self.groups, dtype=torch.float64)
        sums, sizes = summed(here.index_add(1, at, torch.stack([value, torch.ones_like(value)])))
        for name, more in (("utility", sums), ("tasks", sizes)):
            self.state[name].mul_(_KEPT).add_(more)
        met = self.state["tasks"] > 0
        weights = torch.zeros_like(sums)
        weights[met] = self.worst_case.weights((self.state["utility"] / self.state["tasks"])[met])
        return (weights / sizes * sizes.sum())[at].to(utility)
