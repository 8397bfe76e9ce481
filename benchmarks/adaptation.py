"""How near the best possible do the learners come, how fast, and after how many bars and steps?

Every learner is trained by its recipe (`metalearner.recipes`) with three seeds and judged on at least 1,000 episodes of other
seeds: over whole episodes, against bars seen in the new regime, and against gradient steps. Scores are shares of the ceiling
(`strategies.ladder`) with bootstrap 95 % intervals over tasks and training seeds. Models are kept in the git-ignored folder
``benchmarks/results/models``: a run that was interrupted goes on where it stopped, and ``--fresh`` starts over.
"""

from __future__ import annotations

import argparse
import shutil
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from joblib import Parallel, delayed

from benchmarks.common import RESULTS, finish
from markets.synthetic import DriftMomentum, Family, GarleanuPedersen, HiddenMarkov, HiddenMarkovFamily
from metalearner.evaluation import by_bars, by_steps, ceiling_scores, rung_scores, share, task_scores
from metalearner.inner import ByGradient
from metalearner.recipes import CONTEXT, STEPS, SUPPORT, Trained, names, trained
from strategies.ladder import rungs
from strategies.networks import own

# Key of the figure, the family, and the bars left out at the start of each episode, for ceiling and learner alike.
FAMILIES: dict[str, tuple[Family, int]] = {
    "drift_momentum": (DriftMomentum(), 0),
    "hidden_markov_a": (HiddenMarkov(), 100),
    "hidden_markov_b": (HiddenMarkov(mean=0.2), 100),
    "hidden_markov_c": (HiddenMarkov(stay=0.995, cost=0.5), 200),
    "hidden_markov_family": (HiddenMarkovFamily(), 100),
    "garleanu_pedersen": (GarleanuPedersen(), 50),
}
# What the key of a family alone stands for; other learners' keys end in their name.
KEYS = {(key, "no memory" if key == "garleanu_pedersen" else "RL2"): "" for key in FAMILIES} | {
    ("drift_momentum", "RL2"): "_rl2"
}
TEST_SEED = 20_000
QUERY = 60


def whole_episodes(metas, family: Family, skip: int, tasks: int) -> tuple[str, float, dict[str, float]]:
    """Share of the ceiling over whole episodes, as text and figure, and the shares of the ladder's other rungs."""
    drawn = family.sample(tasks, TEST_SEED)
    ceiling, judged = ceiling_scores(drawn, 1 + skip), drawn.tasks(1 + skip)
    found = share(np.stack([task_scores(meta, judged) for meta in metas]), ceiling)
    rest = {
        name: float(rung_scores(weights(drawn), drawn, 1 + skip).mean() / ceiling.mean())
        for name, is_ceiling, weights in rungs(family)
        if not is_ceiling and name != "hindsight"
    }
    return str(found), found.mean, rest


def learnt_rate_and_aim(meta, family: GarleanuPedersen) -> tuple[float, float]:
    """Trading rate, and aim per unit of signal (least squares), that a policy chose on fresh episodes."""
    drawn = family.sample(50, TEST_SEED + 1)
    worlds = meta.objective.on(drawn.tasks(1), meta.policy, 1)
    batch = worlds.collect(meta.policy, own(meta.policy), worlds.everything(), "query")
    _, features, base = worlds._seen(batch)
    with torch.no_grad():
        plan = meta.policy(features, base)
    signal, aim, rate = (x[:, :-1, 0].double().numpy() for x in (features[..., 1], plan.aim, plan.rate))
    return float(rate.mean()), float((aim * signal).sum() / (signal**2).sum())


def compared(
    done: dict[tuple[str, str], list[Trained]], key: str, family: Family, tasks: int
) -> dict[str, list[float]]:
    """MAML less fine-tuning and less training from scratch, at the same number of steps on the same bars, with intervals."""
    drawn = replace(family, length=2 * SUPPORT - 1).sample(tasks, [TEST_SEED, SUPPORT])  # type: ignore[type-var]
    ceiling, judged = ceiling_scores(drawn, SUPPORT), drawn.tasks(SUPPORT)
    found = {name: np.stack([task_scores(one.meta, judged) for one in done[key, name]])
             for name in ("MAML", "MAML, second order", "fine-tune", "scratch")}  # fmt: skip
    figures = {}
    for ours in ("MAML", "MAML, second order"):
        for other in ("fine-tune", "scratch"):
            gap = share(found[ours] - found[other], ceiling)
            verdict = "beats" if gap.low > 0 else "loses to" if gap.high < 0 else "is no better or worse than"
            print(f"{ours} {verdict} {other} at {STEPS} steps on {SUPPORT} bars: {gap}")
            figures[f"{ours.replace(', ', '_').replace(' ', '_').lower()}_minus_{other.replace('-', '_')}"] = [
                gap.mean,
                gap.low,
                gap.high,
            ]
    return figures


def adapting_seconds(meta, family: Family) -> float:
    """Seconds to adapt to one task: gradient steps on its support, or reading it."""
    judged = replace(family, length=2 * SUPPORT).sample(1, TEST_SEED + 2).tasks(SUPPORT)  # type: ignore[type-var]
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        task_scores(meta, judged)
        times.append(time.perf_counter() - begun)
    return min(times)


def plot(curves: dict[str, pd.DataFrame], steps: dict[str, pd.DataFrame], title: str, path) -> None:
    """Both curves beside each other."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(12, 4.5), sharey=True)
    for axis, tables, label in ((axes[0], curves, "bars seen in the new regime"), (axes[1], steps, "gradient steps")):
        for name, table in tables.items():
            at = np.maximum(table.index.to_numpy(dtype=float), 0.5)
            axis.plot(at, table["mean"], marker="o", ms=3, label=name)
            axis.fill_between(at, table["low"], table["high"], alpha=0.15)
        axis.axhline(1, color="black", lw=0.8, ls=":")
        axis.axhline(0, color="black", lw=0.8)
        axis.set(xscale="log", xlabel=label, ylim=(-0.5, 1.05))
    axes[0].set_ylabel("share of the ceiling")
    axes[0].legend(fontsize=7)
    figure.suptitle(title)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    """Train, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the same code on less work, within a minute")
    parser.add_argument("--seed", type=int, default=0, help="of the first training; the others follow")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each learner")
    parser.add_argument("--jobs", type=int, default=2, help="trainings beside each other")
    parser.add_argument("--families", nargs="*", default=list(FAMILIES), choices=list(FAMILIES))
    parser.add_argument("--fresh", action="store_true", help="train again what is there")
    chosen = parser.parse_args()
    seeds = [chosen.seed + i for i in range(1 if chosen.quick else chosen.seeds)]
    tasks, folder = (100 if chosen.quick else 2000), RESULTS / "models"
    if chosen.fresh or chosen.quick:
        for old in folder.glob("*-quick" if chosen.quick else "*"):
            shutil.rmtree(old)
    which = {key: FAMILIES[key] for key in (chosen.families[:1] if chosen.quick else chosen.families)}
    # every learner once before any a second time: what is interrupted has something to say with --seeds 1
    jobs = [(key, name, seed) for seed in seeds for key, (family, _) in which.items() for name in names(family)]
    print(f"{len(jobs)} trainings, {chosen.jobs} at a time", flush=True)
    work = (delayed(trained)(name, which[key][0], seed, chosen.quick, folder) for key, name, seed in jobs)
    done: dict[tuple[str, str], list[Trained]] = {}
    begun = time.perf_counter()
    for i, ((key, name, seed), one) in enumerate(
        zip(jobs, Parallel(n_jobs=chosen.jobs, return_as="generator")(work), strict=True)
    ):
        done.setdefault((key, name), []).append(one)
        print(f"{i + 1}/{len(jobs)} {key}: {name}, seed {seed}: {one.seconds:.0f} s "
              f"({time.perf_counter() - begun:.0f} s so far)", flush=True)  # fmt: skip
    torch.set_num_threads(1)
    figures: dict[str, object] = {"tasks": tasks, "seeds": len(seeds)}
    every: list[pd.DataFrame] = []
    for key, (family, skip) in which.items():
        curves, steps, rows, ladder = {}, {}, {}, {}
        for name in names(family):
            metas = [one.meta for one in done[key, name]]
            row: dict[str, str] = {}
            if name in (*CONTEXT, "no memory"):
                row["whole episode"], mean, rest = whole_episodes(metas, family, skip, tasks)
                figures[key + KEYS.get((key, name), f"_{name.lower()}")], ladder = mean, rest
            if name != "no memory":
                curves[name] = by_bars(metas, family, tasks=tasks, query=QUERY, seed=TEST_SEED)
                row |= {f"{bars} bars": f"{one['mean']:.3f} ± {(one['high'] - one['low']) / 2:.3f}"
                        for bars, one in curves[name].iterrows()}  # fmt: skip
                row["unadapted"] = f"{curves[name]['unadapted'].mean():.3f}"
            gradient = [meta for meta in metas if isinstance(meta, ByGradient)]
            if gradient:
                steps[name] = by_steps(gradient, family, tasks=tasks, support=SUPPORT, seed=TEST_SEED)
            row["training s"] = f"{np.median([one.seconds for one in done[key, name]]):.0f}"
            row["adapting ms"] = f"{1e3 * adapting_seconds(metas[0], family):.1f}"
            rows[name] = row
        print(
            f"\n{family}: share of the ceiling; the first {skip} bars of whole episodes are left out, {QUERY} bars after"
        )
        print(
            f"those seen judge the rest; {tasks} tasks, {len(seeds)} training seeds\n{pd.DataFrame(rows).T.to_string()}"
        )
        print("others on the ladder: " + ", ".join(f"{k} {v:.3f}" for k, v in ladder.items()))
        if steps:
            text = {name: {k: f"{r['mean']:.3f} ± {(r['high'] - r['low']) / 2:.3f}" for k, r in table.iterrows()}
                    for name, table in steps.items()}  # fmt: skip
            print(f"\nagainst gradient steps on {SUPPORT} bars\n{pd.DataFrame(text).T.to_string()}")
        if "joint filter" in ladder:
            figures[f"{key}_joint_filter"] = ladder["joint filter"]
        every += [
            table.assign(family=key, learner=name).reset_index() for d in (curves, steps) for name, table in d.items()
        ]
        if isinstance(family, DriftMomentum):
            figures |= compared(done, key, family, tasks)
        if isinstance(family, GarleanuPedersen):
            found = [learnt_rate_and_aim(one.meta, family) for one in done[key, "no memory"]]
            figures["garleanu_pedersen_rate"], figures["garleanu_pedersen_aim"] = (
                float(x) for x in np.mean(found, axis=0)
            )
            print(f"learnt rate {figures['garleanu_pedersen_rate']:.4f}, aim {figures['garleanu_pedersen_aim']:.4f}")
        if not chosen.quick and curves:
            plot(curves, steps, str(family), RESULTS / f"adaptation_{key}.png")
    if not chosen.quick:
        pd.concat(every).to_csv(RESULTS / "adaptation_curves.csv", index=False, float_format="%.4f")
    finish("adaptation", figures, chosen.quick)


if __name__ == "__main__":
    main()
