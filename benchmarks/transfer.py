"""What a policy trained on one universe earns on others: unadapted, transferred, and beside one that is trained there anew.

*Real prices.* Trained on 36 stocks of 1962 to 1974 (``nyse_o``), a policy is handed to four markets, all of later years and of
other symbols: 20 stocks, the same in weekly bars, futures, and currencies. Spans, costs and symbols left out are those of the
development part of ``benchmarks/real_market/protocol.json``; no test span is opened. What comes before the span is the past
that `MetaPolicy.transfer` is given, and that the policy trained anew is trained on. All are judged on the span, net of costs:

- *base*: what the policy is when nothing learnt is kept;
- *unadapted*: the policy as it was trained, with the windows and the factor on its tilt that it had at home;
- *adapted*: ``meta.transfer(past)``, which then adapts each quarter;
- *whole tilt*: the same with factor 1, whatever the test of its tilt said;
- *trained anew*: the same learner, trained on the past of the new market.

*Synthetic.* The same in markets whose optimum is known, as fractions of it: a memory (RL2) that goes from one hidden Markov
market to others of other means, durations and costs, and to one without any signal; and gradient steps (MAML) from one
drift–momentum family to others. The past of the new market is 40 episodes.

Without ``--quick`` it also draws docs/transfer.png.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from backtests import Backtest, walk_forward
from backtests.significance import CertaintyEquivalent as Certainty
from backtests.significance import Interval, paired
from benchmarks.common import RESULTS, finish, options
from benchmarks.real_market.protocol import Protocol
from benchmarks.real_market.task_cuts import LongTasks, RecentTasks
from benchmarks.real_market.universes import known_bars, of_protocol
from markets import Bars, Costs, Execution, Features, TaskSet
from markets.bars.frequency import DAILY_YEAR, bars_in_year
from markets.synthetic import DriftMomentum, Family, HiddenMarkov
from metalearner import (
    MAML,
    RL2,
    AdaptiveRisk,
    CertaintyEquivalent,
    CostCurriculum,
    Inner,
    LogVariance,
    MetaPolicy,
    Pathwise,
    Training,
)
from metalearner.evaluation import recipes
from metalearner.evaluation.scores import ceiling_scores, fraction_of_ceiling
from metalearner.learners import ByGradient
from strategies import PolicySettings, Pool, PortfolioSettings

PICTURE = Path(__file__).parents[1] / "docs" / "transfer.png"
HOME = "nyse_o"
AWAY = ("stocks", "stocks, weekly", "futures", "fx")


@dataclass(frozen=True)
class Market:
    """A market: its past, the bars that are traded, and what trading them costs.

    Attributes
    ----------
    name : str
    past, traded : Bars
    costs : Costs
    execution : Execution
    """

    name: str
    past: Bars
    traded: Bars
    costs: Costs
    execution: Execution

    @property
    def year(self) -> int:
        """Bars in a year."""
        return bars_in_year(self.past)

    def of_daily(self, bars: int) -> int:
        """The window that is `bars` on daily bars."""
        return round(bars * self.year / DAILY_YEAR)


def market(name: str, protocol: Protocol, quick: bool) -> Market:
    """A universe of the protocol in its development span, resampled if the name says so."""
    source, _, period = name.partition(", ")
    found = of_protocol(protocol.universes[source], protocol, "development", quick)
    bars, first = found.bars.with_past(), found.bars.index[0]
    bars = bars.resample("W-FRI") if period else bars
    cut = int(bars.index.searchsorted(first))
    return Market(name, bars[:cut], bars.rows(cut, len(bars)), found.costs, found.execution)


def home(protocol: Protocol) -> Market:
    """The market of training: all bars up to the end of its development span."""
    rules = protocol.universes[HOME]
    bars, _ = known_bars(rules, "development")
    return Market(HOME, bars, bars[-1:], rules.charged, rules.execution)


@dataclass(frozen=True)
class Kind:
    """A learner, and how it is judged.

    Attributes
    ----------
    name, base : str
    statistic : str
        Of `backtests.significance`.
    better : {-1, 1}
        Whether more of it is better, or less.
    learner : callable
        From a market, a seed and whether to be quick, to the learner.
    tasks : callable
        From a market to its (training, validation) tasks.
    """

    name: str
    base: str
    statistic: Any
    better: int
    learner: Callable[[Market, int, bool], Any]
    tasks: Callable[[Market], tuple[TaskSet, TaskSet]]


def _risk(market: Market, seed: int, quick: bool) -> AdaptiveRisk:
    objective = Pathwise(market.costs, market.execution, LogVariance(), CostCurriculum(0.0, 0.0), symbols=0)
    learner = AdaptiveRisk(PortfolioSettings(pool=Pool().restated(market.year / DAILY_YEAR)), objective)
    steps = 4 if quick else learner.training.steps
    return replace(learner, training=replace(learner.training, steps=steps, evaluate_every=min(steps, 50), seed=seed))


def _long_tasks(market: Market) -> tuple[TaskSet, TaskSet]:
    return LongTasks(*(market.of_daily(bars) for bars in (504, 63, 316)))(market.past)


def _windows(market: Market) -> tuple[TaskSet, TaskSet]:
    return RecentTasks(*(market.of_daily(bars) for bars in (126, 63, 316)))(market.past)


def _tilt(market: Market, memory: str) -> PolicySettings:
    window = max(market.of_daily(63), 12)
    return PolicySettings(memory=memory, features=Features.scaled(market.year), base_window=window, hidden=16)  # type: ignore[arg-type]


def _objective(market: Market) -> Pathwise:
    return Pathwise(market.costs, market.execution, CertaintyEquivalent(5.0), symbols=8)


def _training(seed: int, quick: bool, steps: int) -> Training:
    steps = 4 if quick else steps
    return Training(steps=steps, evaluate_every=min(steps, 20), weight_decay=0.1, seed=seed)


def _rl2(market: Market, seed: int, quick: bool) -> RL2:
    context = max(market.of_daily(60), 12)
    return RL2(_tilt(market, "gru"), _objective(market), _training(seed, quick, 160), context=context)


def _maml(market: Market, seed: int, quick: bool) -> MAML:
    inner = Inner(adapts="head", steps=3, step_size=0.1, support=max(market.of_daily(126), 24))
    return MAML(
        _tilt(market, "none"), _objective(market), _training(seed, quick, 160), inner=inner, learn_step_sizes=True
    )


KINDS = (
    Kind("adaptive risk", "the static pool", "log variance", -1, _risk, _long_tasks),
    Kind("RL2", "inverse volatility", Certainty(5.0), 1, _rl2, _windows),
    Kind("MAML", "inverse volatility", Certainty(5.0), 1, _maml, _windows),
)


def transferred(
    kind: Kind, meta: MetaPolicy, there: Market, seed: int, quick: bool
) -> tuple[dict[str, Backtest], float]:
    """Backtests of each row on one market, and the factor on the tilt that it earned there."""
    moved = meta.transfer(there.past, costs=there.costs, execution=there.execution)
    anew = kind.learner(there, seed, quick).fit(*kind.tasks(there), progress=False)
    rows: dict[str, Any] = {
        "base": moved.shrunk(0.0, "base"),
        "unadapted": meta.as_trained(),
        "adapted": moved,
        "whole tilt": moved.shrunk(1.0, "whole tilt"),
        "trained anew": anew,
    }
    if kind.name == "adaptive risk":
        rows["estimates frozen"] = moved.unadapted()
    if rows["unadapted"].warmup >= len(there.traded) + there.traded.past:
        del rows["unadapted"]  # a pool in bars that are longer now reads more of them than there are
    for name, each in rows.items():
        each.name = name
    result = walk_forward(
        list(rows.values()),
        there.traded,
        costs=there.costs,
        execution=there.execution,
        every=there.of_daily(63),
        check=False,
    )
    return {account.name: account for account in result}, float(moved.policy.shrink)


def _difference(kind: Kind, one: Backtest, other: Backtest) -> Interval:
    """How much better `one` is than `other`; certainty equivalents in percent per year, log variances in nats."""
    return paired(one, other, kind.statistic) * (kind.better if kind.statistic == "log variance" else 100 * kind.better)


def real(seed: int, quick: bool) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table of real prices, and figures by name."""
    protocol = Protocol.read()
    source, kinds = home(protocol), KINDS[:2] if quick else KINDS
    away = [market(name, protocol, quick) for name in (("fx",) if quick else AWAY)]
    table, figures = [], {}
    for kind in kinds:
        begun = time.perf_counter()
        meta = kind.learner(source, seed, quick).fit(*kind.tasks(source), progress=False)
        print(f"{kind.name}: trained on {HOME} in {time.perf_counter() - begun:.0f} s. {meta.remark}", flush=True)
        for there in away:
            accounts, share = transferred(kind, meta, there, seed, quick)
            base = accounts["base"]
            row: dict[str, Any] = {"learner": kind.name, "market": there.name, "factor": share}
            for name, account in accounts.items():
                if name != "base":
                    gain = _difference(kind, account, base)
                    row[name] = _text(gain)
                    figures[_key(kind.name, there.name, name)] = [gain.value, gain.low, gain.high]
            against = _difference(kind, accounts["adapted"], accounts["trained anew"])
            row["adapted − anew"] = _text(against)
            figures[_key(kind.name, there.name, "adapted minus anew")] = [against.value, against.low, against.high]
            figures[_key(kind.name, there.name, "factor")] = share
            table.append(row)
            print(row, flush=True)
    return pd.DataFrame(table).set_index(["learner", "market"]).fillna(""), figures


def _text(gain: Interval) -> str:
    return f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"


def _key(*words: str) -> str:
    return "transfer_" + "_".join(words).lower().replace(",", "").replace(" ", "_")


PAST = 40  # episodes of the new market that are known


@dataclass(frozen=True)
class Journey:
    """From one family to others.

    Attributes
    ----------
    learner : str
        Of `metalearner.evaluation.recipes`.
    start : Family
    away : dict of Family
        By name.
    skip : int
        Bars of an episode that are left out, or are the support of gradient steps.
    """

    learner: str
    start: Family
    away: dict[str, Family]
    skip: int


JOURNEYS = (
    Journey(
        "RL2",
        HiddenMarkov(mean=0.2),
        {
            "the same": HiddenMarkov(mean=0.2),
            "mean .15": HiddenMarkov(mean=0.15),
            "stay .97": HiddenMarkov(mean=0.2, stay=0.97),
            "cost .3": HiddenMarkov(mean=0.2, cost=0.3),
            "mean .15, stay .995, cost .3": HiddenMarkov(mean=0.15, stay=0.995, cost=0.3),
            "no signal": HiddenMarkov(mean=1e-6),
        },
        100,
    ),
    Journey(
        "MAML",
        DriftMomentum(),
        {
            "the same": DriftMomentum(),
            "drift .2": DriftMomentum(drift=0.2),
            "drift .05, momentum .2": DriftMomentum(0.05, 0.2),
            "drift .03, momentum .05": DriftMomentum(0.03, 0.05),
        },
        recipes.SUPPORT,
    ),
)


def trained(journey: Journey, family: Family, seed: int, quick: bool) -> MetaPolicy:
    """The learner trained on a family by its recipe, in a quarter of its steps and on 4,096 episodes."""
    learner = recipes.learner(journey.learner, family, seed, quick)
    budget = recipes.episode_budget(family, journey.learner, quick)
    if not quick:
        steps = learner.training.steps // 4
        learner = replace(learner, training=replace(learner.training, steps=steps, evaluate_every=steps))
    shorter, support = family.with_length(budget.length), budget.support
    train = shorter.sample(min(budget.train, 4096), [seed, 1])
    validate = shorter.sample(min(budget.validate, 128), [seed, 2])
    return learner.fit(train.tasks(support), validate.tasks(support), progress=False)


def home_ceiling(journey: Journey) -> float:
    """Utility per bar of the optimum in the market of training."""
    return float(ceiling_scores(journey.start.sample(500, 5), journey.skip + 1).mean())


def synthetic(seed: int, quick: bool) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table of fractions of the ceiling, and figures by name."""
    table, figures = [], {}
    for journey in JOURNEYS:
        begun = time.perf_counter()
        meta = trained(journey, journey.start, seed, quick)
        print(f"{journey.learner}: trained on {journey.start} in {time.perf_counter() - begun:.0f} s", flush=True)
        for name, family in list(journey.away.items())[: 1 if quick else None]:
            past = family.with_length(400).sample(PAST, [seed, 3])
            known = past.tasks(journey.skip)
            moved = meta.transfer(
                known.bars, costs=family.costs, execution=family.execution, validation=known, evidence=1.0
            )
            still = copy.copy(meta)  # the same weights and factor; only the market is another
            still.objective = recipes.objective(family)
            judged_on = family.sample(100 if quick else 600, [seed, 4])
            support = journey.skip + 1 if journey.learner == "RL2" else journey.skip
            judged, ceiling = judged_on.tasks(support), ceiling_scores(judged_on, support)
            rows = {"unadapted": still, "adapted": moved}
            signal = ceiling.mean() > 1e-4
            if signal and name != "the same":
                rows["trained anew"] = trained(journey, family, seed, quick)
            row: dict[str, Any] = {"learner": journey.learner, "to": name, "factor": float(moved.policy.shrink)}
            if not signal:  # in units of the ceiling at home, since there is none here
                ceiling = np.full_like(ceiling, home_ceiling(journey))
            for label, each in rows.items():
                steps_back = label == "unadapted" and isinstance(each, ByGradient)
                scores = each.evaluate_unadapted(judged) if steps_back else each.evaluate(judged)
                found = fraction_of_ceiling(scores[None], ceiling)
                row[label] = str(found)
                figures[_key(journey.learner, "to", name, label)] = [found.mean, found.low, found.high]
            figures[_key(journey.learner, "to", name, "factor")] = row["factor"]
            table.append(row)
            print(row, flush=True)
    return pd.DataFrame(table).set_index(["learner", "to"]).fillna(""), figures


ROWS = {"unadapted": "#868e96", "adapted": "#0072b2", "whole tilt": "#e69f00", "trained anew": "#b35900"}


def draw(figures: dict[str, Any]) -> None:
    """Both parts as points with their intervals, in docs/transfer.png."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 8), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(2, 3)
    parts = [(j.learner, tuple(j.away), "fraction of the ceiling") for j in JOURNEYS]
    for kind in KINDS:
        nats = kind.statistic == "log variance"
        parts.append(
            (
                kind.name,
                AWAY,
                "less log variance than the base" if nats else "certainty equivalent over the base, % a year",
            )
        )
    for axes, (learner, names, unit) in zip(grid.flat, parts, strict=False):
        for k, (row, colour) in enumerate(ROWS.items()):
            for place, name in enumerate(names):
                words = (learner, "to", name, row) if "ceiling" in unit else (learner, name, row)
                if (found := figures.get(_key(*words))) is not None:
                    value, low, high = found
                    axes.errorbar(
                        [value], [place + 0.18 * (k - 1.5)], xerr=[[value - low], [high - value]], fmt="o", ms=4, color=colour
                    )  # fmt: skip
        axes.set_yticks(range(len(names)), names, fontsize=8)
        axes.invert_yaxis()
        axes.axvline(1.0 if "ceiling" in unit else 0.0, color="#333333", lw=0.8, ls=":")
        axes.set_title(f"{learner}, {'synthetic' if 'ceiling' in unit else 'real prices'}", fontsize=10)
        axes.set_xlabel(unit, fontsize=8)
        axes.tick_params(axis="x", labelsize=8)
    handles = [axes.plot([], [], "o", color=colour, label=row)[0] for row, colour in ROWS.items()]
    grid.flat[-1].axis("off")
    grid.flat[-1].legend(handles=handles, loc="center")
    figure.savefig(PICTURE, dpi=100, metadata={"Software": None})
    print(f"wrote {PICTURE}")


def before() -> dict[str, Any]:
    """The figures of the last full run; none if there was none."""
    path = RESULTS / "transfer.json"
    return json.loads(path.read_text())["figures"] if path.exists() else {}


def main() -> None:
    """Train, hand over, trade, print."""
    chosen = options(__doc__.splitlines()[0], "real, synthetic, or both (the default); figures of the other are kept")
    figures = {} if chosen.quick or not chosen.sources else before()
    if not chosen.sources or "synthetic" in chosen.sources:
        table, found = synthetic(chosen.seed, chosen.quick)
        print(f"\nFraction of the ceiling, with 95 % intervals over episodes\n{table.to_string()}\n")
        figures |= found
    if not chosen.sources or "real" in chosen.sources:
        table, found = real(chosen.seed, chosen.quick)
        print(
            "\nGain over the base, with paired 95 % intervals: adaptive risk in nats of variance (0.1 is 5 % less volatility), "
            f"the others\nin percent of certainty equivalent per year (risk aversion 5)\n{table.to_string()}\n"
        )
        figures |= found
    if not chosen.quick:
        draw(figures)
    finish("transfer", figures, chosen.quick)


if __name__ == "__main__":
    main()
