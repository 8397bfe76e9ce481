"""Handing a trained policy to another market: other symbols, another asset class, bars of another length.

Network weights are shared across symbols, and features, states and gates are in units of a market's own volatility. So a policy
can be asked of any universe. Three things do not come along:

- *Time.* What a network has learnt is about bars: its features, its memory and its steps keep their numbers of bars. An estimate
  of risk is about time, since how fast risk changes does not depend on how often one looks: half-lives and windows of volatility
  are restated. A taste for risk in units of a bar's volatility, of which the Sharpe ratio of a bar grows with the root of its
  length, is restated too (`Utility.restated`). What is per year is so by itself.
- *Evidence.* That a tilt paid in one market says nothing of another. It is tested anew, on bars that training has not seen.
- *Ignorance.* The bars given are the past of the new market. What comes up to their end is in sample from now on, and so is what
  comes up to the end of the training before, since markets move together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from markets import Bars, Costs, Execution, InputError, TaskSet
from markets.bars.time_spans import duration, median_spacing, same_spacing
from markets.common.statistics import bars_per_year
from metalearner.learners.tilt import TiltTest, select_shrinkage
from metalearner.objective import Objective
from metalearner.objectives.pathwise import Pathwise
from strategies.learned import kind_of
from strategies.strategy import latest

_QUERY, _SHORTEST, _TASKS = 60, 10, 8  # bars of a query: the usual, the fewest, and how many queries there should be
_SUPPORT = 120  # bars to adapt to where the policy takes all that there are
_DAY = 86_400.0


@dataclass(frozen=True)
class TrainingBars:
    """What the bars of training were like; bars to adapt to must be alike.

    Attributes
    ----------
    spacing : float
        Median time between bars, in seconds.
    aware : bool
        Whether their times have a time zone.
    per_year : float or None
        Bars per year; None within a single day, and of models of earlier versions.
    symbols : tuple of str
        Of all universes that were trained on; empty for models of earlier versions.
    name : str
        Of the bars.
    """

    spacing: float
    aware: bool
    per_year: float | None = None
    symbols: tuple[str, ...] = ()
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "symbols", tuple(self.symbols))  # JSON holds lists

    @classmethod
    def of(cls, bars: Bars, *others: Bars) -> TrainingBars:
        """What `bars` are like; `others` of other universes add their symbols."""
        index = bars.with_past().index
        per_year = bars_per_year(index)
        symbols = tuple(dict.fromkeys(symbol for each in (bars, *others) for symbol in each.symbols))
        known = float(per_year) if np.isfinite(per_year) else None
        return cls(median_spacing(index), index.tz is not None, known, symbols, bars.name)

    def check(self, bars: Bars, name: str) -> None:
        """Raise `InputError` if `bars` are of another length, or their times have a zone and those of training had none."""
        given = TrainingBars.of(bars)
        if not same_spacing(given.spacing, self.spacing):
            raise InputError(
                f"the bars of {bars.name} are {duration(given.spacing)} apart; {name} was trained on bars "
                f"{duration(self.spacing)} apart: train it on such bars, resample them (--resample), or hand it over to them "
                "(regimeshift transfer)"
            )
        if given.aware != self.aware:
            times = ("have no time zone", "are in a time zone")
            raise InputError(
                f"the times of {bars.name} {times[given.aware]}, and those of the bars that {name} was trained on "
                f"{times[self.aware]}: give both alike"
            )

    def bars_for_each(self, other: TrainingBars) -> float:
        """How many bars like `other` cover the trading time of one bar like these; 1 if they are of the same length."""
        if same_spacing(self.spacing, other.spacing):
            return 1.0
        if self.per_year and other.per_year:
            return other.per_year / self.per_year
        return self.spacing / other.spacing


@dataclass(frozen=True)
class Origin:
    """Where a transferred policy comes from.

    Attributes
    ----------
    fingerprint : str
        SHA-256 of the policy before.
    trained_on : TrainingBars
        What it was trained on.
    seen_until : str or None
        Last bar that its training had used.
    before : Origin or None
        Where that policy came from, if it was transferred itself.
    """

    fingerprint: str
    trained_on: TrainingBars
    seen_until: str | None = None
    before: Origin | None = None

    @classmethod
    def from_dict(cls, config: dict[str, Any]) -> Origin:
        """Rebuild from ``dataclasses.asdict`` after a round trip through JSON."""
        before = config["before"]
        trained_on = TrainingBars(**config["trained_on"])
        return cls(**config | {"trained_on": trained_on, "before": None if before is None else cls.from_dict(before)})

    @property
    def chain(self) -> Iterator[Origin]:
        """Itself, and those before it."""
        yield self
        if self.before is not None:
            yield from self.before.chain

    def __str__(self) -> str:
        spacing, until = duration(self.trained_on.spacing), self.seen_until
        last = "" if until is None else f" up to {until.removesuffix(' 00:00:00')}"
        return f"transferred from {self.trained_on.name}, bars {spacing} apart{last}"


@dataclass(frozen=True)
class NewMarket:
    """The market that a policy is handed to, and how its tilt is to be earned there.

    Attributes
    ----------
    bars : Bars
        Its past.
    origin : Origin
    costs : Costs, str or None
    execution : Execution or None
        None is what the policy was trained with.
    validation : TaskSet or None
        Tasks that test the tilt; None cuts them from `bars`.
    evidence : float or None
        See `MetaPolicy.transfer`.
    """

    bars: Bars
    origin: Origin
    costs: Costs | str | None = None
    execution: Execution | None = None
    validation: TaskSet | None = None
    evidence: float | None = 1.0

    def __post_init__(self) -> None:
        if self.validation is None:
            return
        if not len(self.validation):
            raise InputError("validation has no tasks; leave it out, and they are cut from the bars")
        if (last := max(task.times[2] for task in self.validation)) > self.bars.index[-1]:
            raise InputError(
                f"validation ends at {last}, after the bars of {self.bars.name} ({self.bars.index[-1]}); give tasks of their past"
            )

    @property
    def like(self) -> TrainingBars:
        """What its bars are like, without empty rows, which tasks leave out, too."""
        return TrainingBars.of(self.bars.without_empty())

    @property
    def bars_for_each(self) -> float:
        """Bars of this market in the time of one bar of training."""
        return self.origin.trained_on.bars_for_each(self.like)

    def objective(self, before: Pathwise) -> Pathwise:
        """The objective with the costs and the account of this market, and the same taste for risk."""
        costs = before.costs if self.costs is None else Costs.parse(self.costs)
        root = float(np.sqrt(1 / self.bars_for_each))
        utility = before.utility.restated(root) if before.unit is None else before.utility
        return replace(before, costs=costs, execution=self.execution or before.execution, utility=utility)

    def policy(self, before: Any) -> Any:
        """The policy with its windows restated, and all of its weights."""
        settings = before.settings.restated(self.bars_for_each)
        other = kind_of(settings).build(settings)
        other.load_state_dict(before.state_dict())
        return other.eval()

    def tasks(self, settings: Any, support: int) -> TaskSet | None:
        """Tasks on which nothing was trained; None if there are too few bars for any.

        Windows of which the queries do not overlap: of 60 bars, or fewer where there are not eight such.
        """
        if self.validation is not None:
            return self.validation
        bars, seen, support = self.bars.without_empty(), self._seen(), support or _SUPPORT
        held = bars.with_past()
        known = kind_of(settings).inputs(settings, held).known.any(axis=1)
        # a base that goes by volatility holds equal weights until its window is full
        first = max(int(known.argmax()), bars.past, held.warm_from(getattr(settings, "base_window", 0) + 1))
        if seen is not None:
            first = max(first, int(held.index.searchsorted(seen, side="right")) - support)
        after = len(held) - first - support
        if not known.any() or after < _SHORTEST:
            return None
        query = max(min(_QUERY, after // _TASKS), _SHORTEST)
        return TaskSet.from_windows(held.rows(first, len(held)), support=support, query=query, warmup=0)

    def _seen(self) -> pd.Timestamp | None:
        """The last time of which a training, or a transfer before, has seen any of these symbols."""
        found = []
        for origin in self.origin.chain:
            if origin.seen_until is not None and {*origin.trained_on.symbols} & {*self.bars.symbols}:
                found.append(known_until(pd.Timestamp(origin.seen_until), origin.trained_on, self.bars))
        return latest(found)

    def earned(self, policy: Any, scores: Callable[[TaskSet], np.ndarray], support: int) -> TiltTest | None:
        """Set the factor on the tilt of `policy` to what this market supports; None if that is not asked for.

        Parameters
        ----------
        policy : Module
            Its buffer ``shrink`` is set in place.
        scores : callable
            Utility of the policy on the query of each task, as it will be deployed.
        support : int
            Bars before each query that it reads or adapts to; 0 is all that there are.
        """
        if self.evidence is None:
            return None
        tasks = self.tasks(policy.settings, support)
        where = f"the bars of {self.bars.name}"
        if tasks is None or len(tasks) < 2:
            policy.shrink.fill_(0.0)
            return TiltTest(0.0, 0.0, self.evidence, 0 if tasks is None else 1, where)
        return replace(select_shrinkage(policy, _Deployed(scores, tasks), self.evidence), where=where)


@dataclass(frozen=True)
class _Deployed:
    """Scores of a policy as it will be deployed."""

    utilities: Callable[[TaskSet], np.ndarray]
    tasks: TaskSet

    def scores(self, rng: np.random.Generator) -> Tensor:
        return torch.from_numpy(self.utilities(self.tasks))


def check_transferable(meta: Any, bars: Any) -> None:
    """Raise `InputError` unless the policy trades, says what it was trained on, and can read `bars`."""
    objective: Objective = meta.objective
    if not isinstance(objective, Pathwise):
        raise InputError(
            f"{meta.name} acts in environments ({type(objective).__name__}), of which each is another task already: adapt it to "
            "a new one, by adapt(maker); only what trades bars is transferred"
        )
    if not isinstance(bars, Bars):
        raise InputError(f"transferring needs the Bars of the new market, not {type(bars).__name__}")
    if meta.trained_on is None or not meta.trained_on.symbols:
        raise InputError(
            f"{meta.name} does not say what it was trained on, since an earlier version saved it; train it again"
        )
    for part in kind_of(meta.policy.settings).of(meta.policy, meta.context, meta.name, None).features:
        lacking = [name for name in part.needs if getattr(bars, name) is None]
        if lacking:
            raise InputError(
                f"{meta.name} reads the {lacking[0]} (feature {part.names[0]}), but {bars.name} has none: give bars with it, or "
                "train a model without that feature"
            )


def known_until(seen: pd.Timestamp, trained_on: TrainingBars | None, bars: Bars) -> pd.Timestamp:
    """The last time that training has seen, as a time of `bars`: of a daily bar the end of its day, if `bars` are shorter."""
    daily = trained_on is not None and trained_on.spacing >= _DAY > TrainingBars.of(bars).spacing
    whole_day = daily and seen == seen.normalize()
    return in_zone(seen + pd.Timedelta(days=int(whole_day)), bars.index.tz)


def in_zone(time: pd.Timestamp, zone: Any) -> pd.Timestamp:
    """`time` as a time of bars in `zone`; one without a time zone is read as UTC, as `strategies.strategy.latest` reads it."""
    utc = time.tz_localize("UTC") if time.tz is None else time
    return utc.tz_convert("UTC").tz_localize(None) if zone is None else utc.tz_convert(zone)
