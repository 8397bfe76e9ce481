"""How much sooner a policy with teachers gets there: RL2 on the hidden Markov family that is hardest to learn.

The family has means of ±.1 standard deviations a bar, regimes of 200 bars on average, and a cost of .5 for a change of weight by
1, which only few changes of side repay. RL2 is trained by its recipe (`metalearner.evaluation.recipes`), which raises the costs
slowly, over all and over half of its steps; and over half of them with four teachers, which allow full costs at once. The
teachers are filters that believe in means of half and of twice the true ones, and in regimes half as long and half as long again:
each plans its no-trade zone by its wrong belief, and none gets to .95. All runs of a seed learn from the same 65,536 episodes,
begin with the same weights, and are scored on the same 1,000 other episodes, of which the first 200 bars are left out.

``teacher_speedup`` divides what the recipe needs until .95 of the ceiling, at two scores in a row, by what it takes with
teachers: the smallest ratio over the seeds, of CPU seconds; ``teacher_speedup_steps`` of training steps.
``teacher_speedup_fastest`` divides what the faster of the two schedules needs. CPU seconds are of the processor, from the call of
``fit`` on, with what preparing the episodes and planning by the teachers take, and without scoring. Final scores are on 10,000
further episodes, with 95 % bootstrap intervals over episodes and seeds. The steps with teachers were chosen with seed 0;
the other seeds are the check.

*Stocks*: two rules, momentum and trend following, teach RL2 on the regimes of 20 US stocks before 2005, and the utility is that
on the regimes from 2005 to 2007, which are validation and no test: with its whole tilt, beside RL2 without teachers.

Runs are kept in the git-ignored folder ``benchmarks/results/models``, so that an interrupted benchmark continues; ``--fresh``
starts over. Without ``--quick`` it also draws docs/teachers.png.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.common import RESULTS, finish
from markets import HiddenMarkovRegimes, TaskSet, load
from markets.synthetic import HiddenMarkov
from metalearner import RL2, Teachers, Training
from metalearner.evaluation import recipes
from metalearner.evaluation.scores import CeilingFraction, ceiling_scores, fraction_of_ceiling, rung_scores
from metalearner.learners.base import query_scores
from metalearner.learners.rl2 import QueryUtility
from metalearner.teachers import MeanZone
from strategies import Momentum, TrendFollowing
from strategies.networks import named_params
from strategies.optimal import HiddenMarkovZone

FAMILY: HiddenMarkov
FAMILY, SKIP = recipes.FAMILIES["hidden_markov_c"]  # type: ignore[assignment]
JUDGED, FINAL = 30_000, 30_001  # seeds of the episodes that score the curves, and of those that score the results
ENOUGH = 0.95
SHARES = (1, 1 / 2)  # of the recipe's steps, without teachers; with a quarter of them, seed 0 learnt nothing
STEPS, WARM = 4000, 0.05  # with teachers
PICTURE = Path(__file__).parents[1] / "docs" / "teachers.png"


class Scored(QueryUtility):
    """Scores whole episodes: the memory runs through the bars that are left out. What that takes is not counted."""

    uncounted = 0.0

    def scores(self, rng: np.random.Generator) -> Tensor:
        begun = time.process_time()
        found = torch.from_numpy(query_scores(self.sampler, self.policy, named_params(self.policy), rng))
        Scored.uncounted += time.process_time() - begun
        return found


@dataclass(frozen=True)
class Student(RL2):
    """RL2 whose validation tasks are whole episodes."""

    def algorithm(self, policy: Any, sampler: Any) -> Scored:
        return Scored(policy, sampler)

    def sampler(self, policy: Any, tasks: Any) -> Any:
        return self.objective.sampler(tasks, policy, tasks[0].cut - tasks[0].start)


@dataclass(frozen=True)
class Run:
    """A training, with its curve.

    Attributes
    ----------
    steps, seconds, scores : list
        At each validation: training steps, CPU seconds and the fraction of the ceiling.
    final : list of float
        Utility per bar on each of the episodes that score the results.
    """

    steps: list[int]
    seconds: list[float]
    scores: list[float]
    final: list[float]


def student(seed: int, steps: int, every: int, teachers: Teachers | None = None) -> Student:
    """The learner of the recipe, with another number of steps, and perhaps teachers."""
    recipe = recipes.learner("RL2", FAMILY, seed)
    training = replace(recipe.training, steps=steps, evaluate_every=every)
    return Student(recipe.policy, recipe.objective, training, context=1, deployed=FAMILY.length, teachers=teachers)


def run(learner: Student, episodes: int, judged: int, final: int) -> Run:
    """Train, and score every so many steps; or read what an earlier call has found."""
    about = learner.policy, learner.objective, learner.training, learner.teachers, episodes, judged, final
    slug = hashlib.sha256(repr(about).encode()).hexdigest()[:12]
    place = RESULTS / "models" / f"teachers-{slug}.json"
    if place.exists():
        return Run(**json.loads(place.read_text()))
    budget = recipes.episode_budget(FAMILY, "RL2")
    train = FAMILY.with_length(budget.length).sample(episodes, [learner.training.seed, 1]).tasks(budget.support)
    episodes_judged = FAMILY.sample(judged, JUDGED)
    ceiling = ceiling_scores(episodes_judged, 1 + SKIP).mean()
    found = Run([], [], [], [])
    begun = time.process_time()
    Scored.uncounted = 0.0

    def note(metrics: dict[str, float], step: int) -> None:
        found.steps.append(step)
        found.seconds.append(time.process_time() - begun - Scored.uncounted)
        found.scores.append(metrics["validation"] / ceiling)
        print(f"{step} {found.seconds[-1]:.1f} s {found.scores[-1]:.3f}", flush=True)

    meta = learner.fit(train, episodes_judged.tasks(1 + SKIP), progress=False, log=note)
    found.final.extend(meta.evaluate(FAMILY.sample(final, FINAL).tasks(1 + SKIP)).tolist())
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(vars(found)))
    return found


def filters(length: int) -> tuple[HiddenMarkovZone, ...]:
    """The teachers, for episodes of so many bars: none knows the true mean or stay probability."""
    found = []
    for mean in (FAMILY.mean / 2, 2 * FAMILY.mean):
        for bars in (100, 300):
            one = HiddenMarkovZone(HiddenMarkov(mean, 1 - 1 / bars, FAMILY.cost, length))
            one.name = f"filter (m {mean:g}, {bars} bars)"
            found.append(one)
    return tuple(found)


def followed(zone: MeanZone, episodes: int, length: int) -> np.ndarray:
    """Weights (n, T) that a zone leads to from a flat start: those of the nearest edge."""
    low, high = (edge[1:, 0].reshape(episodes, length).numpy() for edge in (zone.low, zone.high))
    weights, held = np.zeros((episodes, length)), np.zeros(episodes)
    for t in range(length):
        weights[:, t] = held = np.clip(held, low[:, t], high[:, t])
    return weights


def alone(episodes: int) -> dict[str, float]:
    """What each teacher, and the mean of their zones, earns as a fraction of the ceiling."""
    sampled, length = FAMILY.sample(episodes, FINAL), FAMILY.length + 1
    ceiling, bars, teachers = ceiling_scores(sampled, 1 + SKIP).mean(), sampled.bars(), filters(FAMILY.length)
    weights = {one.name: one.follow(sampled) for one in teachers}
    weights["mean of their zones"] = followed(MeanZone.of(teachers, bars), episodes, length)
    return {name: float(rung_scores(w, sampled, 1 + SKIP).mean() / ceiling) for name, w in weights.items()}


def reached(found: Run) -> int | None:
    """The validation of the first of two scores in a row that are enough."""
    enough = np.array(found.scores) >= ENOUGH
    both = np.flatnonzero(enough[:-1] & enough[1:])
    return int(both[0]) if len(both) else None


def needed(found: Run, what: str) -> float:
    """Steps or CPU seconds until there; all that it took for a training that never is."""
    at = reached(found)
    return float(getattr(found, what)[-1 if at is None else at])


def ratios(slow: Sequence[Run], quick: Sequence[Run], what: str) -> list[float]:
    """How many times as much the slow ones need, seed by seed."""
    return [needed(one, what) / needed(other, what) for one, other in zip(slow, quick, strict=True)]


def stocks(seeds: list[int], steps: int) -> CeilingFraction:
    """Utility per bar on validation tasks with rules as teachers less that without, and its interval over tasks and seeds."""
    bars = load("stocks")[:"2007"]
    regimes = HiddenMarkovRegimes(3).fit(bars[:"2004"])
    tasks, validation = TaskSet.from_regimes(bars, regimes).split("2005")
    rules = Teachers((Momentum(252), TrendFollowing()))
    gains = []
    for seed in seeds:
        training = Training(steps=steps, seed=seed, keep="last", evidence=None)
        with_rules, without = (
            RL2(training=training, teachers=teachers).fit(tasks, validation, progress=False).evaluate(validation)
            for teachers in (rules, None)
        )
        gains.append(with_rules - without)
    return fraction_of_ceiling(np.stack(gains), np.ones(len(validation)))


def picture(runs: dict[str, list[Run]]) -> None:
    """Scores against CPU seconds and against steps, a line for each seed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    colours = dict(zip(runs, ("#b35900", "#009e73", "#868e96", "#7b5ea7"), strict=False)) | {"with teachers": "#0072b2"}
    plots = zip(
        figure.subplots(1, 2, sharey=True), (("seconds", "CPU seconds"), ("steps", "training steps")), strict=True
    )
    for axes, (what, label) in plots:
        for name, found in runs.items():
            for k, one in enumerate(found):
                line = {"color": colours[name], "linewidth": 1.4, "alpha": 0.85}
                axes.plot(getattr(one, what), one.scores, label=None if k else name, **line)
        axes.axhline(ENOUGH, color="#495057", linewidth=1, linestyle=":")
        axes.set(xlabel=label, xlim=(0, None), ylim=(-0.3, 1.05))
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("fraction of the ceiling")
    figure.axes[1].legend(frameon=False, loc="lower right")
    figure.savefig(PICTURE, dpi=110, metadata={"Software": None})
    print(f"wrote {PICTURE}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="run the same code on less work, within a minute")
    parser.add_argument("--seed", type=int, default=0, help="first training seed; the others follow it")
    parser.add_argument("--seeds", type=int, default=3, help="number of training seeds")
    parser.add_argument("--fresh", action="store_true", help="delete the runs that are kept, and train again")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    if chosen.fresh:
        for old in (RESULTS / "models").glob("teachers-*.json"):
            old.unlink()
    less, seeds = (100 if chosen.quick else 1), range(chosen.seed, chosen.seed + (1 if chosen.quick else chosen.seeds))
    work = (256, 32, 64) if chosen.quick else (65_536, 1_000, 10_000)
    solo = alone(work[2])
    print("teachers alone: " + ", ".join(f"{name} {value:.3f}" for name, value in solo.items()))
    recipe = recipes.learner("RL2", FAMILY).training.steps
    names = {share: f"without, {round(recipe * share):,} steps" for share in SHARES}
    runs: dict[str, list[Run]] = {"with teachers": [], **{name: [] for name in names.values()}}
    teachers = Teachers(filters(recipes.episode_budget(FAMILY, "RL2").length), warm=WARM)
    for seed in seeds:
        runs["with teachers"].append(run(student(seed, STEPS // less, max(100 // less, 1), teachers), *work))
        for share, name in names.items():
            steps = round(recipe * share) // less
            runs[name].append(run(student(seed, steps, max(steps // 40, 1)), *work))
    ceiling = ceiling_scores(FAMILY.sample(work[2], FINAL), 1 + SKIP)
    finals = {name: np.array([one.final for one in found]) for name, found in runs.items()}
    taught = runs["with teachers"]
    for name, found in runs.items():
        times = ", ".join(
            "never" if reached(one) is None else f"{needed(one, 'seconds'):.0f} s ({needed(one, 'steps'):,.0f} steps)"
            for one in found
        )
        print(f"{name}: {ENOUGH} of the ceiling after {times}; in the end {fraction_of_ceiling(finals[name], ceiling)}")
    recipes_of = runs[names[1]]
    fastest = [
        min(each, key=lambda one: needed(one, "seconds"))
        for each in zip(*(runs[n] for n in names.values()), strict=True)
    ]
    speedups = {
        "": ratios(recipes_of, taught, "seconds"),
        "_steps": ratios(recipes_of, taught, "steps"),
        "_fastest": ratios(fastest, taught, "seconds"),
    }
    for name, found in speedups.items():
        print(f"teacher_speedup{name}: {', '.join(f'{ratio:.1f}' for ratio in found)}")
    gain = fraction_of_ceiling(finals["with teachers"] - finals[names[1]], ceiling)
    print(f"in the end, with teachers less without: {gain}")
    rules = stocks(list(seeds), 300 // less)
    print(f"stocks, utility per bar on validation with rules as teachers less without: {rules}")
    if not chosen.quick:
        picture(runs)
    figures = {
        **{f"teacher_speedup{name}": min(found) for name, found in speedups.items()},
        "teacher_final": finals["with teachers"].mean() / ceiling.mean(),
        "scratch_final": finals[names[1]].mean() / ceiling.mean(),
        "final_gain": gain.mean, "final_gain_low": gain.low, "final_gain_high": gain.high,
        "best_teacher": max(solo.values()), "mean_of_zones": solo["mean of their zones"],
        "stocks_gain": rules.mean, "stocks_gain_low": rules.low, "stocks_gain_high": rules.high, "seeds": len(seeds),
    }  # fmt: skip
    finish("teachers", {name: float(f"{value:.4g}") for name, value in figures.items()}, chosen.quick)


if __name__ == "__main__":
    main()
