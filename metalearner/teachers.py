"""Teachers: strategies that a policy copies before it learns by itself.

What is copied is each teacher's no-trade zone, from ``aim − band`` to ``aim + band``, and not the position that the zone leads
to. A position hangs on all trades before it; the zone is known at every bar, so that copying is plain regression, without the
account and its costs. Of several teachers the student copies the mean (policy distillation: Rusu et al., arXiv 1511.06295; from
several teachers: Teh et al., "Distral", NeurIPS 2017)::

    l, u = mean over teachers of (aim − band, aim + band)
    d    = ½ mean over bars and symbols of [(aim_θ − band_θ − l)² + (aim_θ + band_θ − u)²]

    progress < warm      minimise d
    after that           maximise  utility − weight · (1 − progress) / (1 − warm) · d

A zone that allows for costs is an answer to what costs do to learning: with full costs from the first step, training collapses
into never trading. So with teachers there is no cost curriculum (`CostCurriculum`); full costs are charged as soon as the utility
counts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor, nn

from markets import Bars, InputError, TaskSet
from markets.accounting.differentiable import TensorPlan
from markets.bars.time_spans import moment
from markets.common.ranges import Range
from metalearner.objective import Part, TaskSampler
from metalearner.objectives.across import Across, AcrossSampler
from metalearner.objectives.pathwise import WindowBatch, Windows, WindowSampler
from strategies import PolicySettings, Strategy
from strategies.networks import Parameters
from strategies.policy import TiltInputs
from strategies.strategy import latest, planned


@dataclass(frozen=True, eq=False, repr=False)
class Teachers:
    """Strategies to learn from, and for how long.

    In training a path may see only a few symbols (`Pathwise.symbols`), and its student knows nothing of the others. Teachers plan
    for all symbols at once; of that plan the few symbols' part is taken, scaled as the policy's base is scaled there. So what is
    learnt is the multiple of the base that a symbol deserves, in a book of whatever size.

    Attributes
    ----------
    strategies : tuple of Strategy
        Each as it is: one that adapts must have been adapted, to bars before those of validation. A trained model is a teacher by
        ``load_meta(folder).adapt(bars)``.
    warm : float
        Fraction of training in which the teachers are copied and the utility does not count.
    weight : float
        Weight of the distance to the teachers beside the utility when `warm` is over, in units of the utility. It falls linearly
        to zero at the end of training. 0 is none.

    Raises
    ------
    InputError
        When there are no teachers, one is no strategy, or a value is out of range.
    """

    strategies: tuple[Strategy, ...]
    warm: Annotated[float, Range(0.1, 0.6)] = 0.3
    weight: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "strategies", tuple(self.strategies))
        object.__setattr__(self, "_zones", {})  # the last answer of `zone`, by the hash of the bars
        if not self.strategies:
            raise InputError("teachers: there are none; give at least one strategy")
        for each in self.strategies:
            if not isinstance(each, Strategy):
                raise InputError(f"teachers: {each!r} is no Strategy; of a model pass load_meta(folder).adapt(bars)")
        if not 0 <= self.warm <= 1 or not self.weight >= 0:
            raise InputError(
                f"teachers: warm is {self.warm} and weight {self.weight}; warm is a fraction of training from 0 to 1, and weight "
                "at least 0"
            )

    def __repr__(self) -> str:
        """By the teachers' names, so that it is the same in every process."""
        return f"Teachers({', '.join(each.name for each in self.strategies)}; warm={self.warm}, weight={self.weight})"

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_zones": {}}  # planned again where it is needed, not sent to other processes

    @property
    def config(self) -> dict[str, Any]:
        """Names and settings, for JSON. What the teachers want is in the identity of `sampler`."""
        return {"names": [each.name for each in self.strategies], "warm": self.warm, "weight": self.weight}

    def refuse_seen(self, validation: TaskSet | Across) -> None:
        """Check that no teacher has learnt from the bars that the student is judged on.

        Raises
        ------
        InputError
            When a teacher has: what it knows of them would be in the student that they select and test.
        """
        for tasks in [each.tasks for each in validation.universes] if isinstance(validation, Across) else [validation]:
            first = min(task.bars.index[task.cut] for task in tasks)
            for each in self.strategies:
                seen = latest((getattr(each, "seen_until", None), getattr(each, "fitted_until", None)))
                if seen is not None and moment(f"{each.name}: seen_until", seen, first.tz) >= first:
                    raise InputError(
                        f"teacher {each.name} has learnt from bars up to {seen}, and validation begins at {first}: start "
                        "validation later, or use a teacher that ends before (if those were other bars, set its seen_until to "
                        "None)"
                    )

    def sampler(self, sampler: TaskSampler, settings: Any) -> TaskSampler:
        """`sampler`, with what its utility is in training under these teachers.

        Parameters
        ----------
        sampler : WindowSampler or AcrossSampler
        settings : PolicySettings
            Of the student.

        Raises
        ------
        InputError
            When the student does not trade by tilting a base, or what a teacher wants cannot be copied.
        """
        if isinstance(sampler, AcrossSampler):
            return sampler.map(lambda each: self.sampler(each, settings))
        if not isinstance(sampler, WindowSampler) or not isinstance(settings, PolicySettings):
            raise InputError(
                "teachers teach a policy with PolicySettings under the objective Pathwise; leave them out for others"
            )
        return TaughtSampler(self, sampler, settings)

    def zone(self, bars: Bars) -> MeanZone:
        """What the teachers want on average, planned once for all rows of `bars`; the last answer is kept."""
        kept: dict[str, MeanZone] = vars(self)["_zones"]
        if bars.hash not in kept:
            kept.clear()
            kept[bars.hash] = MeanZone.of(self.strategies, bars)
        return kept[bars.hash]


@dataclass(frozen=True)
class MeanZone:
    """The mean of teachers' plans on T bars of A symbols.

    Attributes
    ----------
    low, high : Tensor of float32, shape (T, A)
        Edges of the no-trade zone.
    rate : Tensor of float32, shape (T, A), or None
        Share of the way to go per bar; None where every teacher goes all the way.
    """

    low: Tensor
    high: Tensor
    rate: Tensor | None = None

    @classmethod
    def of(cls, teachers: tuple[Strategy, ...], bars: Bars) -> MeanZone:
        """Plan with each teacher in turn. No more than one plan is held in float64.

        Raises
        ------
        InputError
            When a plan has stops, or a no-trade zone without end.
        """
        low, high, rate = (np.zeros(bars.shape, dtype=np.float32) for _ in range(3))
        whole = True
        for teacher in teachers:
            plan = planned(teacher, bars)
            if plan.stops:
                raise InputError(f"teacher {teacher.name} has stops, which a policy has not; use it without them")
            band = 0.0 if plan.band is None else plan.band
            if not np.isfinite(band).all():
                raise InputError(
                    f"teacher {teacher.name} leaves its positions alone on some bars (a no-trade zone without end), which says "
                    f"nothing of what to hold; wrap it, as in Rebalanced({teacher.name})"
                )
            low += (plan.aim - band) / len(teachers)
            high += (plan.aim + band) / len(teachers)
            whole &= plan.rate is None
            rate += (1.0 if plan.rate is None else plan.rate) / len(teachers)
        return cls(torch.from_numpy(low), torch.from_numpy(high), None if whole else torch.from_numpy(rate))

    @property
    def identity(self) -> str:
        """SHA-256 of what is wanted."""
        digest = hashlib.sha256()
        for part in (self.low, self.high, self.rate):
            digest.update(b"" if part is None else part.numpy().data)
        return digest.hexdigest()


class TaughtSampler(TaskSampler):
    """A sampler in whose training the utility is, at first, how near the student is to its teachers.

    Scores on tasks are those of the sampler without teachers.

    Parameters
    ----------
    teachers : Teachers
    sampler : WindowSampler
    settings : PolicySettings
    """

    def __init__(self, teachers: Teachers, sampler: WindowSampler, settings: PolicySettings):
        assert isinstance(sampler.reads, TiltInputs)
        self.teachers, self.taught, self.settings, self.reads = teachers, sampler, settings, sampler.reads
        self.zone, self.tradable = teachers.zone(sampler.bars), torch.tensor(sampler.bars.tradable)
        self.identity, self.state = f"{sampler.identity} {self.zone.identity}", sampler.state

    def sample(self, rng: np.random.Generator, tasks: int, progress: float) -> WindowBatch:
        return replace(self.taught.sample(rng, tasks, progress), cost_share=1.0)

    def all_tasks(self) -> WindowBatch:
        return self.taught.all_tasks()

    def settled(self, progress: float) -> bool:
        return progress >= self.teachers.warm - 1e-9

    def collect(
        self, policy: nn.Module, params: Parameters, tasks: Any, part: Part, rng: np.random.Generator | None = None
    ) -> Windows:
        return self.taught.collect(policy, params, tasks, part, rng)

    def minibatches(self, batches: list[Any], rng: np.random.Generator) -> Iterator[list[Any]]:
        return self.taught.minibatches(batches, rng)

    def sequences(self, policy: nn.Module, batch: Windows) -> tuple[Tensor, Tensor]:
        return self.taught.sequences(policy, batch)

    def score(self, policy: nn.Module, params: Parameters, batch: Windows) -> Tensor:
        return self.taught.score(policy, params, batch)

    def inputs(self, batch: Windows) -> tuple[Tensor, ...]:
        return self.taught.inputs(batch)

    def plan(self, policy: nn.Module, params: Parameters, inputs: Sequence[Tensor]) -> TensorPlan:
        return self.taught.plan(policy, params, inputs)

    def earns(self, progress: float) -> bool:
        return progress >= self.teachers.warm

    def weights(self, utility: Tensor, tasks: WindowBatch) -> Tensor:
        return self.taught.weights(utility, tasks) if self.earns(tasks.progress) else super().weights(utility, tasks)

    def utility(self, policy: nn.Module, params: Parameters, batch: Windows, *, twice: bool = False) -> Tensor:
        rows, *inputs = self.inputs(batch)
        return self.traded(self.plan(policy, params, inputs), rows, batch, twice=twice)

    def traded(self, plan: TensorPlan, rows: Tensor, batch: Windows, *, twice: bool = False) -> Tensor:
        """How near a plan is to the teachers' at first, and later the utility of trading it, shape (tasks,)."""
        progress, warm = batch.tasks.progress, self.teachers.warm
        if progress < warm:
            return -self.distance(plan, rows, batch)
        utility = self.taught.traded(plan, rows, batch, twice=twice)
        weight = self.teachers.weight * (1 - progress) / (1 - warm) if warm < 1 else 0.0
        return utility - weight * self.distance(plan, rows, batch) if weight else utility

    def distance(self, plan: TensorPlan, rows: Tensor, batch: Windows) -> Tensor:
        """Mean squared distance of a plan's edges to the teachers', where it counts and may trade, in equal weights, shape (B,).

        Of a policy that trades at a rate, the squared distance of the rates is added.
        """
        rows, universe = rows[:, :-1], batch.tasks.universe
        at: Any = rows if universe is None else (rows[..., None], torch.from_numpy(universe)[:, None])
        aim, band, rate = (None if part is None else part[:, :-1].cpu() for part in plan)
        assert aim is not None
        low, high = (aim, aim) if band is None else (aim - band, aim + band)
        zone, scale, unit = self.zone, self.reads.scale(rows, universe), aim.shape[-1] / self.settings.limit
        apart = 0.5 * unit**2 * ((low - scale * zone.low[at]) ** 2 + (high - scale * zone.high[at]) ** 2)
        if rate is not None:
            apart = apart + (rate - (1.0 if zone.rate is None else zone.rate[at])) ** 2
        counted = batch.counted[..., None] & self.tradable[at]
        return torch.where(counted, apart, 0.0).sum((1, 2)) / counted.sum((1, 2)).clamp(min=1)
