"""Whether training for the worst case saves a policy in regimes a little outside its experience, and at what price.

RL² on hidden Markov regimes (`HiddenMarkovFamily`: mean .05 to .25, stay probability .97 to .998, cost .1), trained in four ways
on the same episodes, with as many gradient steps and as many paths in each:

=================  ============================================================================================
plain              the mean over the tasks of the family
randomised         the mean over perturbed copies (drift of .02 against the position, returns to 1.25 times, costs to 5 times)
worst case alone   a soft minimum over nine groups of the family's tasks, by mean and by persistence
adversarial        a soft minimum over the perturbed copies
=================  ============================================================================================

*Judged* in regimes of a wider box: means from .02, stay probabilities from .95, a constant drift within ±.05, returns to 1.5
times as large or small, costs to 5 times; all uniform, factors in their logarithm. The policy sees prices, never which regime it
is in nor its costs. What a position earned is taken at its expectation given the hidden state, so that a regime's figure is the
regime and not the luck of its returns. *Worst decile*: the tenth of the regimes in which that policy earns least, ranked by one
half of the episodes and judged by the other, both ways round, so that no regime is there for its luck. *Price*: what is lost on
regimes of the family as it is. Intervals are over regimes and training seeds (bootstrap, both resampled together, paired between
the ways).

``adversarial_worst_decile`` and ``adversarial_mean_cost`` are [mean, low, high] of the difference to plain, per bar in units of
volatility. Settings were chosen on other seeds and other regimes. Without ``--quick`` it also draws docs/adversarial.png.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from rich.progress import track
from torch import Tensor

from benchmarks.common import RESULTS, finish, options
from markets import TaskSet, Uncertainty
from markets.common.progress import visible
from markets.synthetic import Episodes, HiddenMarkov, HiddenMarkovFamily
from metalearner import Across, MetaPolicy, SoftMin, load_meta
from metalearner.evaluation import recipes
from metalearner.objectives import Utility
from strategies.networks import named_params

FAMILY = HiddenMarkovFamily(length=200)
TRAINED, WORST = Uncertainty(shift=0.02, volatility=1.25, costs=5.0), SoftMin(0.02)
# the wider box: drifts are constant, up and down; factors from one over the largest for volatility, from 1 for costs
MEANS, STAYS, DRIFT, VOLATILITY, COSTS = (0.02, 0.25), (0.95, 0.998), 0.05, 1.5, 5.0
COPIES, BATCH, HIDDEN, LENGTH = 8, 256, 16, 400
WAYS = ("plain", "randomised", "worst case alone", "adversarial")
COLOURS = {"plain": "#868e96", "randomised": "#b35900", "worst case alone": "#009e73", "adversarial": "#0072b2"}
PICTURE = Path(__file__).parents[1] / "docs" / "adversarial.png"
RESAMPLES = 2000


@dataclass(frozen=True)
class Regime:
    """A regime to be judged in; `shift` is in volatilities per bar, `volatility` and `costs` are factors."""

    mean: float
    stay: float
    shift: float = 0.0
    volatility: float = 1.0
    costs: float = 1.0

    def sample(self, episodes: int, seed: Sequence[int]) -> tuple[Episodes, Tensor]:
        """Episodes, and of each return after the first the part that no one could expect."""
        found = HiddenMarkov(self.mean, self.stay, FAMILY.cost, LENGTH).sample(episodes, seed)
        noise = self.volatility * (found.returns[..., 0] - self.mean * found.hidden["state"])
        moved = replace(found, returns=self.volatility * (found.returns + self.shift))
        return moved, torch.from_numpy(noise[:, 1:])


def wide(regimes: int, seed: int) -> list[Regime]:
    """Regimes of the wider box."""
    unit = np.random.default_rng([seed, 10]).random((regimes, 5))
    return [
        Regime(
            MEANS[0] + u[0] * (MEANS[1] - MEANS[0]),
            STAYS[0] + u[1] * (STAYS[1] - STAYS[0]),
            DRIFT * (2 * u[2] - 1),
            VOLATILITY ** (2 * u[3] - 1),
            COSTS ** u[4],
        )
        for u in unit
    ]


def usual(regimes: int, seed: int) -> list[Regime]:
    """Regimes of the family."""
    rng = np.random.default_rng([seed, 11])
    means, stays = rng.uniform(*FAMILY.means, regimes), rng.uniform(*FAMILY.stays, regimes)
    return [Regime(m, q) for m, q in zip(means.tolist(), stays.tolist(), strict=True)]


def kept(way: str, seed: int, steps: int, episodes: int) -> MetaPolicy:
    """`trained`, or what it left in benchmarks/results/models, so that an interrupted run goes on."""
    name = f"adversarial-{way}-{seed}-{steps}-{episodes}-{WORST}-{TRAINED}-{COPIES}".replace(" ", "-")
    place = RESULTS / "models" / name
    if (place / "meta.json").exists():
        return load_meta(place)
    meta = trained(way, seed, steps, episodes)
    meta.save(place)
    return meta


def trained(way: str, seed: int, steps: int, episodes: int) -> MetaPolicy:
    """The policy of one way."""
    found = FAMILY.sample(episodes, [seed, 1])
    tasks: TaskSet | Across = found.tasks(1)
    if way == "worst case alone":
        cells = [np.digitize(x, np.quantile(x, [1 / 3, 2 / 3])) for x in (found.hidden["mean"], found.hidden["stay"])]
        names = (f"{m}, {q}" for m, q in zip(*cells, strict=True))
        tasks = TaskSet(tuple(replace(task, regime=each) for task, each in zip(tasks, names, strict=True)))
    copied = way in ("randomised", "adversarial")
    if copied:
        tasks = Across.perturbed(found.tasks(1), TRAINED, COPIES)
    base = recipes.learner("RL2", FAMILY, seed)
    batch = BATCH // COPIES if copied else BATCH  # as many paths
    learner = replace(
        base,
        policy=replace(base.policy, hidden=HIDDEN),
        objective=replace(base.objective, worst_case=WORST if way in ("worst case alone", "adversarial") else None),
        training=replace(base.training, steps=steps, batch=batch, evaluate_every=steps),
        deployed=FAMILY.length,
        name=way,
    )
    return learner.fit(tasks, FAMILY.sample(16, [seed, 2]).tasks(1), progress=False)


@dataclass(frozen=True)
class Expected(Utility):
    """Log wealth per bar without the luck of returns: less what the position earned by their noise."""

    noise: Tensor
    reads_weights: ClassVar[bool] = True

    def __call__(self, growth, counted, unit, weights=None):
        value = growth / unit - weights[..., 0] * self.noise
        return torch.where(counted, value, 0.0).sum(1) / counted.sum(1)


def judged(metas: Sequence[MetaPolicy], regimes: Sequence[Regime], episodes: int, seed: int) -> np.ndarray:
    """Expected utility per bar, shape (policies, regimes, 2): by either half of the episodes."""
    found = np.empty((len(metas), len(regimes), 2))
    objective = metas[0].objective
    for k, regime in enumerate(track(regimes, "judging", disable=not visible(), transient=True)):
        episode_set, noise = regime.sample(episodes, [seed, k])
        dearer = replace(
            objective, costs=objective.costs.scaled(regime.costs), utility=Expected(noise), worst_case=None
        )
        sampler = dearer.sampler(episode_set.tasks(1), metas[0].policy, 1)
        for i, meta in enumerate(metas):
            params = named_params(meta.policy)
            with torch.no_grad():
                batch = sampler.collect(meta.policy, params, sampler.all_tasks(), "query")
                utility = sampler.utility(meta.policy, params, batch).numpy()
            found[i, k] = utility[0::2].mean(), utility[1::2].mean()
    return found


def worst_decile(utility: np.ndarray, by: np.ndarray | None = None) -> float:
    """Mean of the regimes that are the lowest tenth by the other half of the episodes; `by` ranks instead, if given."""
    by, lowest = utility if by is None else by, max(len(utility) // 10, 1)
    return float(np.mean([utility[np.argsort(by[:, half])[:lowest], 1 - half].mean() for half in (0, 1)]))


def main() -> None:
    chosen = options(__doc__ or "")
    torch.set_num_threads(1)
    seeds, steps, episodes, regimes, each = (1, 10, 256, 20, 8) if chosen.quick else (3, 300, 8192, 200, 32)
    names = [(way, chosen.seed + k) for way in WAYS for k in range(seeds)]
    metas = [
        (trained if chosen.quick else kept)(*name, steps, episodes)
        for name in track(names, "training", disable=not visible(), transient=True)
    ]
    shape = (len(WAYS), seeds)
    outside = judged(metas, wide(regimes, chosen.seed), each, chosen.seed + 1000).reshape(*shape, regimes, 2)
    inside = judged(metas, usual(regimes // 3, chosen.seed), each, chosen.seed + 2000).reshape(*shape, regimes // 3, 2)
    rng = np.random.default_rng(chosen.seed)

    def summary(who: np.ndarray, far: np.ndarray, near: np.ndarray) -> np.ndarray:
        """Of each way: worst decile, the same regimes that are plain's worst, mean outside, mean inside; shape (ways, 4)."""
        out = np.empty((len(WAYS), 4))
        for i in range(len(WAYS)):
            lowest = [worst_decile(outside[i, s][far]) for s in who]
            plain = [worst_decile(outside[i, s][far], outside[0, s][far]) for s in who]
            out[i] = np.mean(lowest), np.mean(plain), outside[i][who][:, far].mean(), inside[i][who][:, near].mean()
        return out

    every = np.arange(seeds), np.arange(regimes), np.arange(regimes // 3)
    found = summary(*every)
    again = np.stack(
        [
            summary(*(rng.integers(0, len(x), len(x)) for x in every))
            for _ in range(RESAMPLES // (20 if chosen.quick else 1))
        ]
    )

    def difference(way: str, column: int, other: str = "plain") -> list[float]:
        i, j = WAYS.index(way), WAYS.index(other)
        low, high = np.quantile(again[:, i, column] - again[:, j, column], [0.025, 0.975])
        return [float(found[i, column] - found[j, column]), float(low), float(high)]

    print(f"{regimes} regimes outside, {regimes // 3} inside, {each} episodes of {LENGTH} bars each; {seeds} training seeds of "
          f"{steps} steps; per bar × 1000")  # fmt: skip
    print(
        f"{'':17} {'worst decile':>13} {'minus plain':>22} {'in plain’s worst':>17} {'mean outside':>13} {'mean inside':>12}"
    )
    for i, way in enumerate(WAYS):
        gain, low, high = (1000 * x for x in difference(way, 0))
        print(f"{way:17} {1000 * found[i, 0]:13.2f} {f'{gain:+.2f} [{low:+.2f}, {high:+.2f}]':>22} {1000 * found[i, 1]:17.2f} "
              f"{1000 * found[i, 2]:13.2f} {1000 * found[i, 3]:12.2f}")  # fmt: skip
    if not chosen.quick:
        picture(outside.mean(axis=(1, 3)))
    figures: dict[str, object] = {"regimes": regimes, "seeds": seeds, "steps": steps}
    for way in WAYS[1:]:
        key = way.replace(" ", "_")
        figures[f"{key}_worst_decile"] = difference(way, 0)
        figures[f"{key}_in_plains_worst_decile"] = difference(way, 1)
        figures[f"{key}_mean_outside"] = difference(way, 2)
        cost = difference(way, 3)
        figures[f"{key}_mean_cost"] = [-cost[0], -cost[2], -cost[1]]
    figures["adversarial_minus_randomised_worst_decile"] = difference("adversarial", 0, "randomised")
    figures |= {f"{way.replace(' ', '_')}_mean": float(found[i, 3]) for i, way in enumerate(WAYS)}
    figures |= {f"{way.replace(' ', '_')}_lowest": float(found[i, 0]) for i, way in enumerate(WAYS)}
    rounded = {
        k: [float(f"{x:.4g}") for x in v] if isinstance(v, list) else float(f"{v:.4g}") for k, v in figures.items()
    }
    finish("adversarial", rounded, chosen.quick)


def picture(outside: np.ndarray) -> None:
    """Utility by regime, each way's sorted from its worst; and its lowest fifth, larger."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    regimes = outside.shape[1]
    for axes, shown in zip(figure.subplots(1, 2), (regimes, regimes // 5), strict=True):
        for utility, way in zip(outside, WAYS, strict=True):
            at = 100 * (np.arange(shown) + 0.5) / regimes
            axes.plot(at, np.sort(utility)[:shown], color=COLOURS[way], linewidth=1.6, label=way)
        axes.axhline(0, color="#ced4da", linewidth=1, zorder=0)
        axes.axvspan(0, 10, color="#f1f3f5", zorder=-1)
        axes.set(
            xlabel="% of the regimes, from the worst of each",
            ylabel="utility per bar, in volatilities",
            xlim=(0, at[-1]),
        )
        axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(PICTURE, dpi=110, metadata={"Software": None})
    print(f"wrote {PICTURE}")


if __name__ == "__main__":
    main()
