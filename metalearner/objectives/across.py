"""Training across several universes at once: one policy for stocks, futures and currencies.

Tasks are then universe × time. Each universe keeps its own symbols, costs and account, and each training step takes about as many
tasks from every one of them, however many bars it has. Since network weights are shared across symbols, what is learnt trades
any universe. Utilities are averaged over universes, so they should be in units that compare: of books of about the same
volatility, or in units of the market's (`Pathwise.unit`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from markets import Bars, Costs, Execution, InputError, Task, TaskSet
from metalearner.objective import Part, TaskBatch, TaskSampler
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
    """

    tasks: TaskSet
    costs: Costs | str | None = None
    execution: Execution | None = None


@dataclass(frozen=True)
class Across:
    """Tasks of several universes, for `MetaLearner.fit`.

    Attributes
    ----------
    universes : tuple of Universe

    Raises
    ------
    InputError
        When there are none, one has no tasks, or some of their bars have a time zone and others none.
    """

    universes: tuple[Universe, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "universes", tuple(self.universes))
        if not self.universes or not all(len(universe.tasks) for universe in self.universes):
            raise InputError("training across universes needs at least one, and tasks in each of them")
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
        return Across(tuple(replace(universe, tasks=change(universe.tasks)) for universe in self.universes))


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
    samplers : sequence of TaskSampler
        One of each universe.
    accounts : sequence of str
        What trading costs in each, which no objective of the whole tells.
    """

    def __init__(self, samplers: Sequence[TaskSampler], accounts: Sequence[str]):
        self.samplers, self._accounts = tuple(samplers), tuple(accounts)
        self._all = [sampler.all_tasks() for sampler in samplers]
        self._offsets = [span.start for span in spans(self._all)]
        self.identity = " ".join(f"{s.identity} {account}" for s, account in zip(samplers, accounts, strict=True))
        self.on_policy = any(sampler.on_policy for sampler in samplers)

    def map(self, change: Callable[[TaskSampler], TaskSampler]) -> AcrossSampler:
        """The same universes with other samplers."""
        return AcrossSampler([change(sampler) for sampler in self.samplers], self._accounts)

    def sample(self, rng: np.random.Generator, tasks: int, progress: float) -> AcrossBatch:
        """As many tasks of each universe, up to one: the remainder goes to some of them at random."""
        counts = np.full(len(self.samplers), tasks // len(self.samplers))
        counts[rng.permutation(len(counts))[: tasks % len(counts)]] += 1
        parts = [s.sample(rng, int(n), progress) for s, n in zip(self.samplers, counts, strict=True)]
        return AcrossBatch.of(parts, self._offsets, progress)

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
        return self._each(
            policy, params, batch, lambda sampler, at, part: sampler.utility(policy, at, part, twice=twice)
        )

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
