"""`Pathwise`: utility of the simulated account, with its exact gradient.

If trades do not move the market, the profit of every possible position is observed, so the utility can be differentiated with
respect to the policy exactly, through `markets.accounting.differentiable.equity_paths` (pathwise or "direct" policy gradient;
Moody and Saffell, "Learning to trade via direct reinforcement", IEEE Transactions on Neural Networks 2001).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from markets import Bars, Costs, Execution, InputError, Task, TaskSet
from markets.accounting.differentiable import TensorPlan, equity_paths, equity_paths_reference
from markets.accounting.market import make_market, make_rules, resolve_fill
from markets.common.kinds import find
from markets.common.statistics import bars_per_year
from markets.regimes.base import market_returns
from markets.synthetic.uncertainty import trailing_volatility
from metalearner.objective import Objective, Part, TaskBatch, TaskSampler
from metalearner.objectives.across import Across, AcrossSampler, Universe
from metalearner.objectives.utilities import MeanVariance, Utility
from metalearner.objectives.worst_case import GroupWeights, WorstCase
from strategies.learned import Inputs, LearnedStrategy, kind_of, load_learned
from strategies.networks import Parameters, call, stacked_names


@dataclass(frozen=True)
class CostCurriculum:
    """Trading costs as a function of training progress: none at first, then rising linearly to their full size.

    With full costs from the start, training gets stuck in never trading: a small tilt earns less than it costs, and a policy
    that does not trade has no gradient.

    Attributes
    ----------
    free, ramp : float
        Fraction of training without costs, and fraction over which they rise.

    Raises
    ------
    InputError
        When one is below 0, or their sum is above 1.
    """

    free: float = 0.4
    ramp: float = 0.4

    def __post_init__(self) -> None:
        if min(self.free, self.ramp) < 0 or self.free + self.ramp > 1:
            raise InputError(
                f"curriculum: free is {self.free} and ramp {self.ramp}; they are fractions of training, at least 0 and at most "
                "1 together, so that training ends at full costs"
            )

    def __call__(self, progress: float) -> float:
        """Fraction of the costs that is charged at `progress` in [0, 1]."""
        if progress < self.free:
            return 0.0
        return min((progress - self.free) / self.ramp, 1.0) if self.ramp > 0 else 1.0


@dataclass(frozen=True)
class Pathwise(Objective):
    """Utility of the simulated account on windows of bars, with its exact gradient.

    Attributes
    ----------
    costs : Costs or str
        A string such as "10bp" is read by `Costs.parse`.
    execution : Execution
    utility : Utility
    curriculum : CostCurriculum
    unit : float or None
        Volatility per bar by which a `scaled` utility divides log returns. None is, for each task, the market's before its
        query: all tasks then weigh alike, and what pays is to know the direction. It does harm where regimes differ in
        volatility and exposure is to be learnt, since it divides out the very thing that changes: nothing is gained by
        holding less in a crisis. A number is the same for all tasks, and divides nothing out. Other utilities
        (`CertaintyEquivalent` and the rest of `metalearner.objectives.risk`) measure returns as they are and per year, and
        take none.
    symbols : int
        Number of symbols in each training path, drawn at random for each; 0 uses all. Many small universes reduce overfitting:
        with all symbols there is a single market path, which the policy can memorise.
    truncate : int
        Length in bars of truncated backpropagation through the memory; 0 is no truncation.
    worst_case : WorstCase or None
        How groups of tasks are weighed in training: towards those with the lowest mean utility (`CVaR`, `SoftMin`). Groups are
        the universes of `Across`, such as perturbed copies; of one universe, the regimes of its tasks. None is the mean over
        tasks. Validation is by the mean in any case: of few tasks, the worst are the unluckiest.

    Raises
    ------
    InputError
        When a setting has the wrong type or is out of range.
    """

    costs: Costs = field(default_factory=lambda: Costs.parse("10bp"))
    execution: Execution = field(default_factory=Execution)
    utility: Utility = field(default_factory=MeanVariance)
    curriculum: CostCurriculum = field(default_factory=CostCurriculum)
    unit: float | None = None
    symbols: int = 2
    truncate: int = 0
    worst_case: WorstCase | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "costs", Costs.parse(self.costs))
        if not isinstance(self.worst_case, WorstCase | None):
            raise InputError(
                f"objective: worst_case is {self.worst_case!r}; it must be one of {', '.join(WorstCase.kinds)}, such as CVaR(0.2)"
            )
        if not isinstance(self.utility, Utility):
            raise InputError(
                f"objective: utility is {self.utility!r}; it must be one of {', '.join(Utility.kinds)}, such as MeanVariance()"
            )
        if self.unit is not None and not self.unit > 0:
            raise InputError(f"objective: unit is {self.unit}; it must be above 0")
        if self.unit is not None and not self.utility.scaled:
            raise InputError(
                f"objective: unit is {self.unit}, and {type(self.utility).__name__} measures returns as they are; leave unit out"
            )
        if self.symbols < 0 or self.truncate < 0:
            raise InputError("objective: symbols and truncate must be at least 0")

    def sampler(
        self, tasks: TaskSet | Across, policy: Any, context: int, support: int = 0
    ) -> WindowSampler | AcrossSampler:
        """A `WindowSampler` on `tasks`, or one for each universe; parameters as for `Objective.sampler`.

        Raises
        ------
        InputError
            When `tasks` is neither a `TaskSet` nor `Across` universes, or is empty, or has too few bars.
        """
        if isinstance(tasks, Across):
            pairs = [(self._of(each), each) for each in tasks.universes]
            return AcrossSampler(
                [one._windows(each.tasks, policy, context, support, each.market.shift) for one, each in pairs],
                [f"{one.costs} {one.execution}" + f" {each.market}" * (tasks.copies > 1) for one, each in pairs],
                tasks.copies,
                self.worst_case,
            )
        return self._windows(tasks, policy, context, support)

    def _of(self, universe: Universe) -> Pathwise:
        """The objective with the costs and the account of a universe."""
        costs = self.costs if universe.costs is None else Costs.parse(universe.costs)
        costs = costs if universe.market.costs == 1 else costs.scaled(universe.market.costs)
        return replace(self, costs=costs, execution=universe.execution or self.execution)

    def _windows(self, tasks: TaskSet, policy: Any, context: int, support: int, adverse: float = 0.0) -> WindowSampler:
        if not isinstance(tasks, TaskSet) or not len(tasks):
            what = "no tasks" if isinstance(tasks, TaskSet) else f"{type(tasks).__name__}"
            raise InputError(f"Pathwise needs a TaskSet with at least one task, not {what}; see TaskSet.from_regimes")
        return WindowSampler(self, tasks, policy.settings, context, support, adverse)

    def recent(self, bars: Bars, policy: Any, support: int) -> WindowSampler:
        """A sampler with a single task, whose support is the last `support` bars (0 uses all).

        Raises
        ------
        InputError
            When `bars` is not a `Bars`, or has too few rows.
        """
        if not isinstance(bars, Bars):
            raise InputError(f"adapting needs Bars, not {type(bars).__name__}; for a Task, pass `task.support`")
        settings, bars = policy.settings, bars.without_empty()  # as `TaskSet` and `PolicyStrategy` leave such rows out
        held = bars.with_past()
        support = support or max(len(held) - held.warm_from(settings.fewest + 1), 1)  # 0 is all that there is
        settings.require(held, more=support)
        held = bars.without_past(keep=settings.lookback + 2 * support).with_past()
        rows = len(held)
        return WindowSampler(self, TaskSet((Task(held, rows - support, rows, rows, "now"),)), settings, 1, support)

    def deploy(self, policy: Any, context: int, name: str, seen_until: pd.Timestamp | None) -> LearnedStrategy:
        """The policy as a strategy of its kind."""
        return kind_of(policy.settings).of(policy, context, name, seen_until)

    def load(self, folder: Path) -> LearnedStrategy:
        return load_learned(folder)

    def policy(self, settings: Any, tasks: TaskSet) -> nn.Module:
        """A new policy.

        Parameters
        ----------
        settings : PolicySettings or PortfolioSettings
        tasks : TaskSet

        Raises
        ------
        InputError
            When `settings` are of another kind, or its memory does not support `truncate`.
        """
        kind = kind_of(settings)
        if self.truncate and settings.memory == "transformer":
            raise InputError(
                "objective: truncate is for recurrent memories; a transformer reads all bars at each step, so set it to 0"
            )
        return kind.build(settings)

    def to_dict(self) -> dict[str, Any]:
        config = asdict(self) | {"utility": {"kind": type(self.utility).__name__, **vars(self.utility)}}
        del config["worst_case"]  # without one as in earlier versions, whose checkpoints can still be resumed
        return config if self.worst_case is None else config | {"worst_case": self.worst_case.to_dict()}

    @classmethod
    def from_dict(cls, config: dict[str, Any]) -> Pathwise:
        """Rebuild from the result of `to_dict`, after a round trip through JSON."""
        utility = dict(config["utility"])
        kinds = {"costs": Costs, "execution": Execution, "curriculum": CostCurriculum}
        settings = {k: kinds[k](**v) if k in kinds else v for k, v in config.items()}
        worst_case = config.get("worst_case")  # models of earlier versions have none
        settings["worst_case"] = worst_case and WorstCase.from_dict(worst_case)
        return cls(**settings | {"utility": find(Utility.kinds, utility.pop("kind"), "utility")(**utility)})


_PATHS = 256  # largest number of paths evaluated in one forward pass


@dataclass(frozen=True)
class WindowBatch(TaskBatch):
    """A batch of market tasks, identified by their index in the `TaskSet`.

    Attributes
    ----------
    universe : ndarray of int, shape (B, few), or None
        Symbols that each task may see and trade; None is all.
    cost_share : float
        Fraction of the costs that is charged.
    """

    universe: np.ndarray | None = None
    cost_share: float = 1.0

    def __getitem__(self, rows: Any) -> WindowBatch:
        universe = None if self.universe is None else self.universe[rows]
        return replace(self, task_ids=self.task_ids[rows], universe=universe)


@dataclass(frozen=True)
class Windows:
    """Windows of bars: one part (support or query) of a batch of tasks.

    Attributes
    ----------
    tasks : WindowBatch
    start : ndarray of int, shape (B,)
        First row of each window.
    counted : Tensor of bool, shape (B, T)
        Which returns of the window count towards the utility; the others only fill the memory.
    unit : Tensor of shape (B, 1)
        Return per bar that counts as 1.
    cut : ndarray of int, shape (B,)
        First row that counts.
    """

    weight: ClassVar[float] = 1.0
    tasks: WindowBatch
    start: np.ndarray
    counted: Tensor
    unit: Tensor
    cut: np.ndarray

    def __getitem__(self, rows: Any) -> Windows:
        return Windows(self.tasks[rows], self.start[rows], self.counted[rows], self.unit[rows], self.cut[rows])


class WindowSampler(TaskSampler):
    """Samples windows of one panel of bars.

    Each window is a separate path. Its memory starts empty, `context` bars before the first evaluated bar, and its account
    starts in cash. Support and query are separate windows.

    Parameters
    ----------
    objective : Pathwise
    tasks : TaskSet
    settings : PolicySettings or PortfolioSettings
    context : int
        Bars of memory before the first evaluated bar.
    support : int
        Largest number of support bars, the last ones; 0 uses all.
    adverse : float
        Drift against whatever is held, in volatilities per bar; see `markets.Uncertainty`. Like costs, it follows the curriculum.
    """

    def __init__(
        self, objective: Pathwise, tasks: TaskSet, settings: Any, context: int, support: int, adverse: float = 0.0
    ):
        held = tasks.bars.with_past()
        self.objective, self.tasks, self.bars = objective, tasks, held
        self.fill = resolve_fill(held, objective.execution)
        self.market, rules = make_market(held, objective.costs, objective.execution)
        self.delistings, self.adverse = rules.delistings, adverse
        self.volatility = trailing_volatility(held) if adverse else None
        self.reads = kind_of(settings).inputs(settings, held)
        _check_known(self.reads, tasks)
        starts, cuts, stops = (np.array([getattr(t, what) for t in tasks]) for what in ("start", "cut", "stop"))
        begin = np.maximum(starts, cuts - support) if support else starts
        self._parts = {
            "support": _spans(begin, cuts, context, len(held)),
            "query": _spans(cuts, stops, context, len(held)),
        }
        self.unit = torch.from_numpy(_units(objective, held, cuts, context))
        self._cuts = {"support": begin, "query": cuts}
        self.known = self.reads.known[np.minimum(cuts, len(held) - 1)]
        regimes, self._regime = np.unique([task.regime for task in tasks], return_inverse=True)
        self._groups = None if objective.worst_case is None else GroupWeights(objective.worst_case, len(regimes))
        self.state = self._groups.state if self._groups else {}
        self.identity = f"{held.hash} {starts.tolist()} {cuts.tolist()} {stops.tolist()} {context} {support}"

    def __len__(self) -> int:
        return len(self.unit)

    def sample(self, rng: np.random.Generator, tasks: int, progress: float) -> WindowBatch:
        which = rng.choice(len(self), size=min(tasks, len(self)), replace=False)
        universe = _universes(rng, self.known[which], self.objective.symbols)
        return WindowBatch(which, universe, self.objective.curriculum(progress), progress=progress)

    def all_tasks(self) -> WindowBatch:
        return WindowBatch(np.arange(len(self)))

    def weights(self, utility: Tensor, tasks: WindowBatch) -> Tensor:
        """By the worst case over regimes."""
        if self._groups is None:
            return super().weights(utility, tasks)
        return self._groups.tasks(utility, self._regime[tasks.task_ids])

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
        """The windows of one part. They do not depend on the policy, since trades do not move the market."""
        start, counted = self._parts[part]
        ids = tasks.task_ids
        return Windows(tasks, start[ids], counted[torch.from_numpy(ids)], self.unit[ids, None], self._cuts[part][ids])

    def utility(self, policy: nn.Module, params: Parameters, batch: Windows, *, twice: bool = False) -> Tensor:
        rows, *inputs = self.inputs(batch)
        return self.traded(self.plan(policy, params, inputs), rows, batch, twice=twice)

    def plan(self, policy: nn.Module, params: Parameters, inputs: Sequence[Tensor]) -> TensorPlan:
        """What the policy plans, of the symbols that each task may see."""
        device, options = next(iter(params.values())).device, self.reads.options
        options |= {"truncate": self.objective.truncate} if self.objective.truncate else {}
        return call(policy, params, *(part.to(device) for part in inputs), **options)

    def traded(self, plan: TensorPlan, rows: Tensor, batch: Windows, *, twice: bool = False) -> Tensor:
        """Utility per bar of the accounts that trade a plan, shape (tasks,)."""
        objective, tasks = self.objective, batch.tasks
        plan = plan if tasks.universe is None else self._widened(plan, tasks.universe)
        costs = objective.costs.scaled(tasks.cost_share)
        rules = make_rules(costs, objective.execution, self.fill, self.delistings)
        market = self.market.scaled(tasks.cost_share)
        money = objective.execution.cash  # the backtest's cash, because fixed fees and impact do not scale with equity
        simulate, weights = (equity_paths_reference if twice else equity_paths), None
        equity, shares = simulate(market, rules, batch.start, plan, money=money)
        growth = (equity / money).clamp(min=1e-9).log().diff(dim=1).cpu()
        if objective.utility.reads_weights or self.volatility is not None:
            filled = torch.from_numpy(self.market.fill[rows[:, :-1].numpy()])
            weights = shares[:, 1:].cpu() * filled / equity[:, :-1, None].cpu().clamp(min=1e-9 * money)
            if self.volatility is not None:
                held = (weights.abs() * torch.from_numpy(self.volatility[rows[:, :-1].numpy()])).sum(-1)
                growth = (growth.exp() - self.adverse * tasks.cost_share * held).clamp(min=1e-9).log()
        self._check(growth, batch)
        return objective.utility(growth, batch.counted, batch.unit, weights)

    def inputs(self, batch: Windows) -> tuple[Tensor, ...]:
        """Rows (B, T) of a batch, and what the policy reads at them, of the symbols that each task may see."""
        rows = torch.from_numpy(batch.start[:, None] + np.arange(batch.counted.shape[1] + 1))
        return rows, *self.reads.along(rows, batch.cut, batch.tasks.universe)

    def _widened(self, plan: TensorPlan, universe: np.ndarray) -> TensorPlan:
        """The plan for all symbols, given the plan for those of `universe`; zero for the others."""
        at = torch.from_numpy(universe).to(plan.aim.device)[:, None].expand(plan.aim.shape)
        wide = (*plan.aim.shape[:2], self.reads.symbols)
        return TensorPlan(*(None if p is None else p.new_zeros(wide).scatter(2, at, p) for p in plan))  # type: ignore[arg-type]

    def sequences(self, policy: nn.Module, batch: Windows) -> tuple[Tensor, Tensor]:
        seen, _ = policy.sequences(self.inputs(batch)[1].to(next(policy.parameters()).device))  # type: ignore[operator]
        seen = seen.unflatten(0, (len(batch.start), -1))
        return seen, torch.full(seen.shape[:2], seen.shape[2])

    def score(self, policy: nn.Module, params: Parameters, batch: Windows) -> Tensor:
        """Utility per task, evaluated in chunks of at most 256 paths to bound memory use."""
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
                f"check the prices of {self.bars.name} there (regimeshift data check)"
            )


def _spans(first: np.ndarray, stop: np.ndarray, context: int, bars: int) -> tuple[np.ndarray, Tensor]:
    """First row of each path, and which of its returns are evaluated; all paths have the same length and end at `stop`.

    The longest task has `context` bars of memory before its first evaluated bar. A shorter task starts earlier relative to its
    first evaluated bar, and so has more memory there, but never more than the longest task has at its end.
    """
    length = context + int((stop - first).max())
    if length > bars:
        raise InputError(
            f"a context of {context} and {length - context} evaluated bars are more than the {bars} bars available; use a "
            "shorter context or more bars"
        )
    start = np.maximum(stop - length, 0)
    rows = start[:, None] + np.arange(length)
    counted = (rows >= first[:, None]) & (rows < stop[:, None])
    return start, torch.from_numpy(counted[:, 1:])


def _units(objective: Pathwise, bars: Bars, cuts: np.ndarray, context: int) -> np.ndarray:
    """Return per bar that counts as 1, for the utility of each task, shape (tasks,)."""
    if objective.utility.scaled and objective.unit is None:
        return _volatility(bars, cuts, context)
    per_year = bars_per_year(bars.index)
    if not objective.utility.scaled and not np.isfinite(per_year):
        raise InputError(
            f"{bars.name} lies within a single day, so returns per year are not known; use more bars, or a utility in units "
            "of volatility, such as MeanVariance()"
        )
    return np.full(len(cuts), objective.unit or 1 / per_year)


def _volatility(bars: Bars, cuts: np.ndarray, context: int) -> np.ndarray:
    """Volatility of the market's return over the sessions (`Bars.sessions`) before each cut, shape (tasks,)."""
    returns = market_returns(bars)
    at = np.flatnonzero(np.isfinite(returns))
    window = max(context, 20)
    before = np.searchsorted(at, cuts)
    recent = (returns[at[max(count - window, 0) : count]] for count in before.tolist())
    return np.array([max(moves.std(), 1e-5) if len(moves) else 1e-5 for moves in recent])


def _check_known(reads: Inputs, tasks: TaskSet) -> None:
    """Refuse a task in whose support or query nothing is known: it would be trained on as if something were."""
    some = np.asarray(reads.known.any(axis=1))
    for number, task in enumerate(tasks):
        for part, first, last in (("support", task.start, task.cut), ("query", task.cut, task.stop)):
            if last > first and not some[first:last].any():
                raise InputError(f"task {number}, from {task.times[0]}: {reads.missing.format(part=part)}")


def _universes(rng: np.random.Generator, known: np.ndarray, few: int) -> np.ndarray | None:
    """A random `few` of the symbols for each path, shape (paths, few); others than the known ones only if these are too few."""
    if few <= 0 or few >= known.shape[1]:
        return None
    return np.sort((rng.random(known.shape) + ~known).argsort(axis=1)[:, :few], axis=1)
