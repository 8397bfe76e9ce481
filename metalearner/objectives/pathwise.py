"""The exact gradient: utility of the account, through the account.

A trader who does not move the market observes the profit of every position, so the gradient of utility in the policy
is exact: it runs through `markets.accounting.differentiable.equity_paths` (path-wise or "direct" policy
gradient; Moody and Saffell, "Learning to trade via direct reinforcement", IEEE Transactions on Neural Networks 2001).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from markets import Bars, Costs, Execution, InputError, Task, TaskSet
from markets.accounting.differentiable import TensorPlan, equity_paths, equity_paths_reference
from markets.accounting.market import make_market, make_rules, resolve_fill
from markets.regimes.base import market_returns
from metalearner.objective import Objective, Part, TaskBatch, TaskSampler
from metalearner.objectives.utilities import KINDS, MeanVariance, Utility
from strategies import Policy, PolicySettings, PolicyStrategy
from strategies.networks import Parameters, call, stacked_names
from strategies.policy import base_weights


@dataclass(frozen=True)
class CostCurriculum:
    """No cost at first, then raised to its full size, then full.

    With costs from the start, training falls at once into never trading: a small tilt earns less than it costs, and a
    policy that does not trade has no gradient to learn from.

    Attributes
    ----------
    free, ramp : float
        Shares of training without cost, and of raising it.

    Raises
    ------
    InputError
        When one is below 0, or they are more than 1 together.
    """

    free: float = 0.4
    ramp: float = 0.4

    def __post_init__(self) -> None:
        if min(self.free, self.ramp) < 0 or self.free + self.ramp > 1:
            raise InputError(
                f"curriculum: free is {self.free} and ramp {self.ramp}; they are shares of training, at most 1 together, "
                "or it would end without ever being charged in full"
            )

    def __call__(self, progress: float) -> float:
        """Share of the cost that is charged at `progress` in [0, 1]."""
        if progress <= self.free:
            return 0.0
        return min((progress - self.free) / self.ramp, 1.0) if self.ramp > 0 else 1.0


@dataclass(frozen=True)
class Pathwise(Objective):
    """Utility of the account on windows of bars, with its exact gradient.

    Attributes
    ----------
    costs : Costs
        Or what `Costs.parse` reads, as "10bp".
    execution : Execution
    utility : Utility
    curriculum : CostCurriculum
    unit : float or None
        Log return a bar that returns are measured in; by default each task's own volatility, as it was known before the bars
        judged.
    symbols : int
        Each path trades this many symbols, drawn anew; 0 is all. Many small universes instead of one: with all symbols there
        is one market path to remember, and that is what is learnt.
    truncate : int
        Bars over which the gradient runs back through the memory; 0 is all.

    Raises
    ------
    InputError
        When one is of another type or out of range.
    """

    costs: Costs = field(default_factory=lambda: Costs.parse("10bp"))
    execution: Execution = field(default_factory=Execution)
    utility: Utility = field(default_factory=MeanVariance)
    curriculum: CostCurriculum = field(default_factory=CostCurriculum)
    unit: float | None = None
    symbols: int = 2
    truncate: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "costs", Costs.parse(self.costs))
        if not isinstance(self.utility, Utility):
            raise InputError(
                f"objective: utility is {self.utility!r}; it wants one of {', '.join(KINDS)}, as MeanVariance()"
            )
        if self.unit is not None and not self.unit > 0:
            raise InputError(f"objective: unit is {self.unit}; it must be above 0")
        if self.symbols < 0 or self.truncate < 0:
            raise InputError("objective: symbols and truncate must be at least 0")

    def sampler(self, tasks: TaskSet, policy: Any, context: int, support: int = 0) -> WindowSampler:
        """Windows of `tasks`: see `Objective.sampler`."""
        if not isinstance(tasks, TaskSet) or not len(tasks):
            what = "no tasks" if isinstance(tasks, TaskSet) else f"{type(tasks).__name__}"
            raise InputError(
                f"an objective on markets wants a TaskSet with tasks in it, not {what}; see TaskSet.from_regimes"
            )
        return WindowSampler(self, tasks, policy.settings, context, support)

    def recent(self, bars: Bars, policy: Any, support: int) -> WindowSampler:
        """One task, whose support are the last `support` bars.

        Raises
        ------
        InputError
            When `bars` are no `Bars`, or too few.
        """
        if not isinstance(bars, Bars):
            raise InputError(f"adapting wants Bars, not {type(bars).__name__}; of a task they are `task.support`")
        settings = policy.settings
        held = bars.with_past()
        support = support or max(len(held) - settings.features.lookback - 1, 1)  # 0 is all that there is
        settings.features.require(held, more=support)
        held = bars.without_past(keep=settings.features.lookback + 2 * support).with_past()
        rows = len(held)
        return WindowSampler(self, TaskSet((Task(held, rows - support, rows, rows, "now"),)), settings, 1, support)

    def deploy(self, policy: Any, context: int, name: str, seen_until: pd.Timestamp | None) -> PolicyStrategy:
        """The policy as a strategy."""
        return PolicyStrategy(policy, context, name, seen_until)

    def load(self, folder: Path) -> PolicyStrategy:
        return PolicyStrategy.load(folder)

    def policy(self, settings: PolicySettings, tasks: TaskSet) -> Policy:
        """A new policy.

        Raises
        ------
        InputError
            When `settings` are not those of a policy that trades.
        """
        if not isinstance(settings, PolicySettings):
            raise InputError(f"a policy that trades is described by PolicySettings, not {type(settings).__name__}")
        if self.truncate and settings.memory == "transformer":
            raise InputError(
                "objective: truncate is for memories that go step by step, and a transformer reads all bars anew"
            )
        return Policy(settings)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"utility": {"kind": type(self.utility).__name__, **vars(self.utility)}}

    @classmethod
    def from_dict(cls, config: dict[str, Any]) -> Pathwise:
        """From what `to_dict` and JSON made of it."""
        utility = dict(config["utility"])
        kinds = {"costs": Costs, "execution": Execution, "curriculum": CostCurriculum}
        known = {f.name for f in fields(cls)}
        settings = {k: kinds[k](**v) if k in kinds else v for k, v in config.items() if k in known}
        return cls(**settings | {"utility": KINDS[utility.pop("kind")](**utility)})


_PATHS = 256  # judged in one forward pass


@dataclass(frozen=True)
class WindowBatch(TaskBatch):
    """Tasks by their numbers, the symbols that each may see and trade, and the share of the costs that is charged.

    Attributes
    ----------
    universe : ndarray of int, shape (B, few), or None for all symbols
    cost_share : float
    """

    universe: np.ndarray | None = None
    cost_share: float = 1.0

    def __getitem__(self, rows: Any) -> WindowBatch:
        universe = None if self.universe is None else self.universe[rows]
        return replace(self, task_ids=self.task_ids[rows], universe=universe)


@dataclass(frozen=True)
class Windows:
    """One part of some tasks: first rows, and which of the bars that follow are judged.

    Attributes
    ----------
    tasks : WindowBatch
    start : ndarray of int, shape (B,)
    counted : Tensor of bool, shape (B, T)
    unit : Tensor of shape (B, 1)
    """

    weight: ClassVar[float] = 1.0
    tasks: WindowBatch
    start: np.ndarray
    counted: Tensor
    unit: Tensor

    def __getitem__(self, rows: Any) -> Windows:
        return Windows(self.tasks[rows], self.start[rows], self.counted[rows], self.unit[rows])


class WindowSampler(TaskSampler):
    """Windows of one panel of bars.

    Each window is a path: the memory starts empty `context` bars before the first judged bar, and the account starts in
    cash. Support and query are judged by themselves.

    Parameters
    ----------
    objective : Pathwise
    tasks : TaskSet
    settings : PolicySettings
    context : int
        Bars of memory before the first judged one.
    support : int
        Bars of a task's support at most, its last ones; 0 is all.
    """

    def __init__(self, objective: Pathwise, tasks: TaskSet, settings: PolicySettings, context: int, support: int):
        held = tasks.bars.with_past()
        self.objective, self.tasks, self.bars = objective, tasks, held
        self.fill = resolve_fill(held, objective.execution)
        self.market, rules = make_market(held, objective.costs, objective.execution)
        self.delistings = rules.delistings
        self.features = torch.from_numpy(settings.features.compute(held)).float()
        self.base = torch.from_numpy(base_weights(settings, held))
        starts, cuts, stops = (np.array([getattr(t, what) for t in tasks]) for what in ("start", "cut", "stop"))
        begin = np.maximum(starts, cuts - support) if support else starts
        self._parts = {
            "support": _spans(begin, cuts, context, len(held)),
            "query": _spans(cuts, stops, context, len(held)),
        }
        known = _volatility(held, cuts, context) if objective.unit is None else np.full(len(cuts), objective.unit)
        self.unit = torch.from_numpy(known)
        self.identity = f"{held.hash} {starts.tolist()} {cuts.tolist()} {stops.tolist()} {context} {support}"

    def __len__(self) -> int:
        return len(self.unit)

    def sample(self, rng: np.random.Generator, tasks: int, progress: float) -> WindowBatch:
        which = rng.choice(len(self), size=min(tasks, len(self)), replace=False)
        universe = _universes(rng, len(which), self.base.shape[1], self.objective.symbols)
        return WindowBatch(which, universe, self.objective.curriculum(progress), progress=progress)

    def all_tasks(self) -> WindowBatch:
        return WindowBatch(np.arange(len(self)))

    def settled(self, progress: float) -> bool:
        curriculum = self.objective.curriculum
        return progress >= curriculum.free + curriculum.ramp - 1e-9

    def collect(
        self,
        policy: nn.Module,
        params: Parameters,
        tasks: WindowBatch,
        part: Part,
        rng: np.random.Generator | None = None,
    ) -> Windows:
        """The rows of one part; nothing depends on the policy, since the market does not."""
        start, counted = self._parts[part]
        ids = tasks.task_ids
        return Windows(tasks, start[ids], counted[torch.from_numpy(ids)], self.unit[ids, None])

    def utility(self, policy: nn.Module, params: Parameters, batch: Windows, *, twice: bool = False) -> Tensor:
        objective, tasks = self.objective, batch.tasks
        rows, features, base = self.inputs(batch)
        device = next(iter(params.values())).device
        plan: TensorPlan = call(policy, params, features.to(device), base.to(device), truncate=objective.truncate)
        plan = plan if tasks.universe is None else self._widened(plan, tasks.universe)
        costs = objective.costs.scaled(tasks.cost_share)
        rules = make_rules(costs, objective.execution, self.fill, self.delistings)
        market = self.market._replace(impact=self.market.impact * tasks.cost_share)
        money = objective.execution.cash  # of the backtest: fixed fees and impact are no shares
        simulate, weights = (equity_paths_reference if twice else equity_paths), None
        equity, shares = simulate(market, rules, batch.start, plan, money=money)
        if objective.utility.reads_weights:
            filled = torch.tensor(self.market.fill)[rows[:, :-1]]
            weights = shares[:, 1:].cpu() * filled / equity[:, :-1, None].cpu()
        growth = (equity / money).clamp(min=1e-9).log().diff(dim=1).cpu()
        self._check(growth, batch)
        return objective.utility(growth, batch.counted, batch.unit, weights)

    def inputs(self, batch: Windows) -> tuple[Tensor, Tensor, Tensor]:
        """Rows (B, T), features (B, T, A, F) and base (B, T, A) of a batch, A the symbols that each may see."""
        rows = torch.from_numpy(batch.start[:, None] + np.arange(batch.counted.shape[1] + 1))
        if batch.tasks.universe is None:
            return rows, self.features[rows], self.base[rows]
        # A market of its own: what a policy decides goes by the number of symbols that there are.
        few = rows[:, :, None], torch.from_numpy(batch.tasks.universe)[:, None]
        base = self.base[few]
        return rows, self.features[few], base / base.sum(-1, keepdim=True).clamp(min=1e-12)

    def _widened(self, plan: TensorPlan, universe: np.ndarray) -> TensorPlan:
        """The plan for the symbols of `universe`, with nothing for all others."""
        at = torch.from_numpy(universe).to(plan.aim.device)[:, None].expand(plan.aim.shape)
        wide = (*plan.aim.shape[:2], self.base.shape[1])
        return TensorPlan(*(None if p is None else p.new_zeros(wide).scatter(2, at, p) for p in plan))  # type: ignore[arg-type]

    def sequences(self, policy: nn.Module, batch: Windows) -> tuple[Tensor, Tensor]:
        seen, _ = policy.sequences(self.inputs(batch)[1].to(next(policy.parameters()).device))  # type: ignore[operator]
        seen = seen.unflatten(0, (len(batch.start), -1))
        return seen, torch.full(seen.shape[:2], seen.shape[2])

    def score(self, policy: nn.Module, params: Parameters, batch: Windows) -> Tensor:
        """Utility at full costs, some hundred paths at a time: memory stays small whatever is judged."""
        parts = -(-len(batch.start) // _PATHS)
        stacked = stacked_names(policy, params)
        found = torch.empty(len(batch.start), dtype=torch.float64)
        for part in range(parts):
            rows = slice(part, None, parts)
            at = {name: p[rows] if name in stacked else p for name, p in params.items()}
            found[rows] = self.utility(policy, at, batch[rows])
        return found

    def _check(self, growth: Tensor, batch: Windows) -> None:
        wrong = ~torch.isfinite(growth / batch.unit) & batch.counted
        if wrong.any():
            path, bar = (int(i) for i in wrong.nonzero()[0])
            number = int(batch.tasks.task_ids[path])
            time = self.bars.index[int(batch.start[path]) + bar + 1]
            raise FloatingPointError(
                f"the growth of task {number} ({self.tasks[number].regime}) over the bar of {time} is not finite; "
                f"look at the prices of {self.bars.name} there (regimeshift data check)"
            )


def _spans(first: np.ndarray, stop: np.ndarray, context: int, bars: int) -> tuple[np.ndarray, Tensor]:
    """First rows of paths of one length that end at `stop`, and which growths of them are judged.

    Along the longest the memory grows from `context` bars to as many more as are judged; a shorter one, which starts earlier,
    has a memory in that range too.
    """
    length = context + int((stop - first).max())
    if length > bars:
        raise InputError(
            f"a context of {context} and {length - context} judged bars are more than the {bars} bars there are; use a shorter "
            "context or more bars"
        )
    start = np.maximum(stop - length, 0)
    rows = start[:, None] + np.arange(length)
    counted = (rows >= first[:, None]) & (rows < stop[:, None])
    return start, torch.from_numpy(counted[:, 1:])


def _volatility(bars: Bars, cuts: np.ndarray, context: int) -> np.ndarray:
    """Volatility of the market over the bars before each cut, as it was known there."""
    returns = np.nan_to_num(market_returns(bars))
    window = max(context, 20)
    return np.array([max(returns[max(cut - window, 1) : cut].std(), 1e-5) for cut in cuts])


def _universes(rng: np.random.Generator, paths: int, symbols: int, few: int) -> np.ndarray | None:
    """A random `few` of the symbols for each path, shape (paths, few)."""
    if few <= 0 or few >= symbols:
        return None
    return np.sort(rng.random((paths, symbols)).argsort(axis=1)[:, :few], axis=1)
