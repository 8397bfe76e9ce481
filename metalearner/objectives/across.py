"""Training across several universes at once: one policy for stocks, futures and currencies.

Tasks are then universe × time. Each universe keeps its own symbols, costs and account, and each training step takes about as many
tasks from every one of them, however many bars it has. Since network weights are shared across symbols, what is learnt trades
any universe. Utilities are averaged over universes, so they should be in units that compare: of books of about the same
volatility, or in units of the market's (`Pathwise.unit`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, groupby
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from markets import Bars, Costs, Execution, InputError, Task, TaskSet, Uncertainty
from markets.accounting.differentiable import TensorPlan
from markets.synthetic.augment import stretch
from markets.synthetic.uncertainty import Perturbation
from metalearner.objective import Part, TaskBatch, TaskSampler
from metalearner.objectives.worst_case import GroupWeights, WorstCase
from strategies.networks import Parameters, stacked_names


@dataclass(frozen=True)
class Universe:
    """Tasks of one universe, and what trading costs there.

    Attributes
    ----------
    tasks : TaskSet
    costs : Costs or str, optional
        By default those of the objective.
    execution : Execution, optional
        By default that of the objective.
    market : Perturbation
        How it differs from what its bars and costs say; by default not.
    """

    tasks: TaskSet
    costs: Costs | str | None = None
    execution: Execution | None = None
    market: Perturbation = field(default_factory=Perturbation)


@dataclass(frozen=True)
class Across:
    """Tasks of several universes, for `MetaLearner.fit`.

    Attributes
    ----------
    universes : tuple of Universe
    copies : int
        How many universes in a row are one and the same market, perturbed; see `perturbed`. Each training step takes the same
        tasks in all copies of a market, so that what differs between them is the market and not luck.

    Raises
    ------
    InputError
        When there are none, one has no tasks, some of their bars have a time zone and others none, or `copies` are left over.
    """

    universes: tuple[Universe, ...]
    copies: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "universes", tuple(self.universes))
        if not self.universes or not all(len(universe.tasks) for universe in self.universes):
            raise InputError("training across universes needs at least one, and tasks in each of them")
        if self.copies < 1 or len(self.universes) % self.copies:
            raise InputError(
                f"{len(self.universes)} universes cannot be {self.copies} copies of each market; see Across.perturbed"
            )
        _check_zones([universe.tasks.bars for universe in self.universes])

    def __len__(self) -> int:
        return sum(len(universe.tasks) for universe in self.universes)

    def __iter__(self) -> Iterator[Task]:
        return (task for universe in self.universes for task in universe.tasks)

    def __getitem__(self, i: int) -> Task:
        return tuple(self)[i]

    @property
    def bars(self) -> Bars:
        """Bars of the first universe."""
        return self.universes[0].tasks.bars

    def map(self, change: Callable[[TaskSet], TaskSet]) -> Across:
        """The same universes with other tasks."""
        return replace(self, universes=tuple(replace(each, tasks=change(each.tasks)) for each in self.universes))

    @classmethod
    def perturbed(cls, tasks: TaskSet | Across, uncertainty: Uncertainty, copies: int = 4) -> Across:
        """Tasks in several markets within a stated distance of the one that was seen, for training.

        With a worst case as the objective (``Pathwise(worst_case=CVaR(0.25))``) training is adversarial; without, it is domain
        randomisation: the mean over the markets (Tobin et al., IROS 2017). Returns are stretched in the bars, so that a policy
        sees them so; costs and the drift against what it holds it does not see. Validation tasks stay as they are: copies of one
        span are no more evidence than the span.

        Parameters
        ----------
        tasks : TaskSet or Across
            Of one universe or of several, each of which is perturbed.
        uncertainty : Uncertainty
        copies : int
            Markets for each universe, the first as it was seen; see `Uncertainty.markets`. A training step takes
            `Training.batch` tasks in each of them.

        Returns
        -------
        Across
        """
        found, markets = [], uncertainty.markets(copies)
        for each in tasks.universes if isinstance(tasks, Across) else (Universe(tasks),):
            for market in markets:
                bars = stretch(each.tasks.bars, market.volatility) if market.volatility != 1 else each.tasks.bars
                there = replace(each.tasks, tasks=tuple(replace(task, bars=bars) for task in each.tasks))
                found.append(replace(each, tasks=there, market=market))
        return cls(tuple(found), copies)


@dataclass(frozen=True)
class KnownAcross:
    """What is known of several universes when a fold begins: a callable for ``walk_forward(..., tasks=...)``.

    Of each universe the bars up to the last one known are cut into tasks. One that has too few bars by then is left out.

    Attributes
    ----------
    cut : callable
        From bars to (training, validation) tasks, such as ``backtests.WindowTasks()``.
    universes : sequence of (Bars, Costs or str, Execution or None)
        All of them, with the one that is traded.

    Raises
    ------
    InputError
        When some of the bars have a time zone and others none.
    """

    cut: Callable[[Bars], tuple[TaskSet, TaskSet]]
    universes: Sequence[tuple[Bars, Costs | str | None, Execution | None]]

    def __post_init__(self) -> None:
        _check_zones([bars for bars, *_ in self.universes])

    def __call__(self, known: Bars) -> tuple[Across, Across]:
        """The (training, validation) tasks at the end of `known`.

        Raises
        ------
        InputError
            When no universe has enough bars.
        """
        pairs = []
        for bars, costs, execution in self.universes:
            try:
                sets = self.cut(bars.with_past().until(known.index[-1]))
            except InputError as error:
                short = error
            else:
                pairs.append([Universe(tasks, costs, execution) for tasks in sets])
        if not pairs:
            raise InputError(f"by {known.index[-1]} no universe has enough bars to train on: {short}")
        training, validation = zip(*pairs, strict=True)
        return Across(training), Across(validation)


@dataclass(frozen=True)
class AcrossBatch(TaskBatch):
    """A batch of tasks of several universes, in order of the universes.

    Attributes
    ----------
    parts : tuple of TaskBatch
        The tasks of each universe; some may have none.
    offsets : tuple of int
        Identifier of each universe's first task.
    """

    parts: tuple[TaskBatch, ...] = ()
    offsets: tuple[int, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, parts: Sequence[TaskBatch], offsets: Sequence[int], progress: float) -> AcrossBatch:
        ids = [part.task_ids + offset for part, offset in zip(parts, offsets, strict=True)]
        return cls(np.concatenate(ids), tuple(parts), tuple(offsets), progress=progress)

    def __getitem__(self, rows: Any) -> AcrossBatch:
        kept, parts = np.arange(len(self))[rows], []
        for part, span in zip(self.parts, spans(self.parts), strict=True):
            parts.append(part[kept[(kept >= span.start) & (kept < span.stop)] - span.start])
        return self.of(parts, self.offsets, self.progress)


@dataclass(frozen=True)
class Collected:
    """What `collect` found in each universe that has tasks in the batch; `places` says which these are."""

    weight: ClassVar[float] = 1.0
    tasks: AcrossBatch
    places: tuple[int, ...]
    parts: tuple[Any, ...]


class AcrossSampler(TaskSampler):
    """One sampler for several, with the same policy.

    Parameters
    ----------
    samplers : sequence of WindowSampler
        One of each universe.
    accounts : sequence of str
        What trading costs in each, which no objective of the whole tells.
    copies : int
        Of `Across`.
    worst_case : WorstCase, optional
        How the universes are weighed in the loss; by default alike.
    """

    def __init__(
        self,
        samplers: Sequence[Any],
        accounts: Sequence[str],
        copies: int = 1,
        worst_case: WorstCase | None = None,
    ):
        self.samplers, self._accounts, self.copies = tuple(samplers), tuple(accounts), copies
        self._worst_case = worst_case
        self._groups = None if worst_case is None else GroupWeights(worst_case, len(self.samplers))
        self.state = self._groups.state if self._groups else {}
        self._all = [sampler.all_tasks() for sampler in samplers]
        self._offsets = [span.start for span in spans(self._all)]
        self.identity = " ".join(f"{s.identity} {account}" for s, account in zip(samplers, accounts, strict=True))
        self.identity += f" {copies} copies" if copies > 1 else ""
        self.on_policy = any(sampler.on_policy for sampler in samplers)

    def map(self, change: Callable[[Any], TaskSampler]) -> AcrossSampler:
        """The same universes with other samplers."""
        return AcrossSampler([change(each) for each in self.samplers], self._accounts, self.copies, self._worst_case)

    def sample(self, rng: np.random.Generator, tasks: int, progress: float) -> AcrossBatch:
        """As many tasks of each universe, up to one: the remainder goes to some of them at random. Copies have the same."""
        first = self.samplers[:: self.copies]
        counts = np.full(len(first), tasks // len(first))
        counts[rng.permutation(len(counts))[: tasks % len(counts)]] += 1
        parts = [s.sample(rng, int(n), progress) for s, n in zip(first, counts, strict=True)]
        return AcrossBatch.of([part for part in parts for _ in range(self.copies)], self._offsets, progress)

    def weights(self, utility: Tensor, tasks: AcrossBatch) -> Tensor:
        """By the worst case over the universes."""
        if self._groups is None or not all(sampler.earns(tasks.progress) for sampler in self.samplers):
            return super().weights(utility, tasks)
        return self._groups.tasks(utility, np.repeat(np.arange(len(tasks.parts)), [len(part) for part in tasks.parts]))

    def all_tasks(self) -> AcrossBatch:
        return AcrossBatch.of(self._all, self._offsets, 1.0)

    def sequences(self, policy: nn.Module, batch: Collected) -> tuple[Tensor, Tensor]:
        raise InputError(
            "a belief is inferred from the symbols of one universe; train across universes with another learner, such as RL2"
        )

    def settled(self, progress: float) -> bool:
        return all(sampler.settled(progress) for sampler in self.samplers)

    def collect(
        self, policy: nn.Module, params: Parameters, tasks: AcrossBatch, part: Part, rng: np.random.Generator
    ) -> Collected:
        places = tuple(k for k, each in enumerate(tasks.parts) if len(each))
        found = (self.samplers[k].collect(policy, params, tasks.parts[k], part, rng) for k in places)
        return Collected(tasks, places, tuple(found))

    def utility(self, policy: nn.Module, params: Parameters, batch: Collected, *, twice: bool = False) -> Tensor:
        if self.copies > 1:
            return self._together(policy, params, batch, twice)
        return self._each(
            policy, params, batch, lambda sampler, at, part: sampler.utility(policy, at, part, twice=twice)
        )

    def _together(self, policy: nn.Module, params: Parameters, batch: Collected, twice: bool) -> Tensor:
        """The same, with one call of the policy for all copies of a market: a memory's time is in its steps, not its paths."""
        stacked, where, found = stacked_names(policy, params), spans(batch.tasks.parts), []
        for _, group in groupby(zip(batch.places, batch.parts, strict=True), lambda pair: pair[0] // self.copies):
            places, parts = zip(*group, strict=True)
            samplers = [self.samplers[k] for k in places]
            rows, *inputs = zip(*(s.inputs(part) for s, part in zip(samplers, parts, strict=True)), strict=True)
            at = {n: torch.cat([p[where[k]] for k in places]) if n in stacked else p for n, p in params.items()}
            plan = samplers[0].plan(policy, at, [torch.cat(each) for each in inputs])
            sizes = [len(each) for each in rows]
            plans = zip(*([None] * len(rows) if p is None else p.split(sizes) for p in plan), strict=True)
            found += [
                s.traded(TensorPlan(*each), row, part, twice=twice)
                for s, each, row, part in zip(samplers, plans, rows, parts, strict=True)
            ]
        return torch.cat(found)

    def score(self, policy: nn.Module, params: Parameters, batch: Collected) -> Tensor:
        return self._each(policy, params, batch, lambda sampler, at, part: sampler.score(policy, at, part))

    def _each(self, policy: nn.Module, params: Parameters, batch: Collected, value: Callable[..., Tensor]) -> Tensor:
        """Values of all tasks; parameters that hold one value per task are those of the universe's tasks."""
        stacked, where = stacked_names(policy, params), spans(batch.tasks.parts)
        found = []
        for k, part in zip(batch.places, batch.parts, strict=True):
            at = {name: p[where[k]] if name in stacked else p for name, p in params.items()}
            found.append(value(self.samplers[k], at, part))
        return torch.cat(found)


def _check_zones(universes: Sequence[Bars]) -> None:
    if len({bars.index.tz is None for bars in universes}) > 1:
        names = ", ".join(bars.name for bars in universes)
        raise InputError(f"of {names}, some have times with a time zone and others without: give all alike")


def spans(parts: Sequence[Any]) -> list[slice]:
    """The rows of each part when all are joined."""
    ends = list(accumulate(len(part) for part in parts))
    return [slice(end - len(part), end) for end, part in zip(ends, parts, strict=True)]
