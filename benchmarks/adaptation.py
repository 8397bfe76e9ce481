"""Learners on the synthetic families: fraction of the ceiling by bars seen and by gradient steps, and training time.

Every learner is trained by its recipe (`metalearner.evaluation.recipes`) with three seeds, and evaluated on episodes of other
seeds: 20,000 whole episodes, and 2,000 tasks for each number of bars seen in the new regime and of gradient steps. Scores are
fractions of the ceiling (`strategies.ladder`), with 95 % bootstrap intervals over tasks and training seeds. Models are kept in
the git-ignored folder ``benchmarks/results/models``, so that an interrupted run continues where it stopped; ``--fresh`` starts
over.
"""

from __future__ import annotations

import argparse
import shutil
import time

import numpy as np
import pandas as pd
import torch
from joblib import Parallel, delayed

from benchmarks.common import RESULTS, finish
from markets.synthetic import Family, GarleanuPedersen
from metalearner.evaluation.recipes import FAMILIES, STEPS, SUPPORT, Trained, names, trained
from metalearner.evaluation.scores import ceiling_scores, fraction_of_ceiling, task_scores
from metalearner.evaluation.study import QUERY, SEED, study
from strategies.networks import named_params

# Suffix of the JSON key by (family, learner); the keys of other learners end in their name.
KEYS = {(key, "no memory" if key == "garleanu_pedersen" else "RL2"): "" for key in FAMILIES} | {
    ("drift_momentum", "RL2"): "_rl2"
}


def learnt_rate_and_aim(meta, family: GarleanuPedersen) -> tuple[float, float]:
    """Mean trading rate, and aim per unit of signal (least squares), of a policy on new episodes."""
    episodes = family.sample(50, SEED + 1)
    sampler = meta.objective.sampler(episodes.tasks(1), meta.policy, 1)
    batch = sampler.collect(meta.policy, named_params(meta.policy), sampler.all_tasks(), "query")
    _, features, base = sampler.inputs(batch)
    with torch.no_grad():
        plan = meta.policy(features, base)
    signal, aim, rate = (x[:, :-1, 0].double().numpy() for x in (features[..., 1], plan.aim, plan.rate))
    return float(rate.mean()), float((aim * signal).sum() / (signal**2).sum())


def compared(
    done: dict[tuple[str, str], list[Trained]], key: str, family: Family, tasks: int
) -> dict[str, list[float]]:
    """Score of MAML minus those of fine-tuning and of training from scratch, with as many steps on the same bars."""
    episodes = family.with_length(2 * SUPPORT - 1).sample(tasks, [SEED, SUPPORT])
    ceiling, judged = ceiling_scores(episodes, SUPPORT), episodes.tasks(SUPPORT)
    found = {name: np.stack([task_scores(one.meta, judged) for one in done[key, name]])
             for name in ("MAML", "MAML, second order", "fine-tune", "scratch")}  # fmt: skip
    figures = {}
    for ours in ("MAML", "MAML, second order"):
        for other in ("fine-tune", "scratch"):
            gap = fraction_of_ceiling(found[ours] - found[other], ceiling)
            verdict = "beats" if gap.low > 0 else "loses to" if gap.high < 0 else "is no better or worse than"
            print(f"{ours} {verdict} {other} at {STEPS} steps on {SUPPORT} bars: {gap}")
            figures[f"{ours.replace(', ', '_').replace(' ', '_').lower()}_minus_{other.replace('-', '_')}"] = [
                gap.mean,
                gap.low,
                gap.high,
            ]
    return figures


def main() -> None:
    """Train, evaluate, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="run the same code on less work, within a minute")
    parser.add_argument("--seed", type=int, default=0, help="first training seed; the others follow it")
    parser.add_argument("--seeds", type=int, default=3, help="number of training seeds per learner")
    parser.add_argument("--jobs", type=int, default=2, help="number of trainings in parallel")
    parser.add_argument("--families", nargs="*", default=list(FAMILIES), choices=list(FAMILIES))
    parser.add_argument("--fresh", action="store_true", help="delete saved models and train again")
    chosen = parser.parse_args()
    seeds = [chosen.seed + i for i in range(1 if chosen.quick else chosen.seeds)]
    tasks, folder = (100 if chosen.quick else 2000), RESULTS / "models"
    if chosen.fresh or chosen.quick:
        for old in folder.glob("*-quick" if chosen.quick else "*"):
            shutil.rmtree(old)
    which = {key: FAMILIES[key] for key in (chosen.families[:1] if chosen.quick else chosen.families)}
    # first one seed of every learner, so that an interrupted run is complete for --seeds 1
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
    figures: dict[str, object] = {"tasks": tasks, "episodes": 10 * tasks, "seeds": len(seeds)}
    every: list[pd.DataFrame] = []
    for key, (family, skip) in which.items():
        found = study(
            {name: done[key, name] for name in names(family)}, family, skip=skip, tasks=tasks, episodes=10 * tasks
        )
        print(f"\n{family}: fraction of the ceiling, {len(seeds)} training seeds")
        print(
            f"{10 * tasks:,} whole episodes without their first {skip} bars; by bars seen, the next {QUERY} in {tasks:,} tasks"
        )
        print(found.summary.to_string())
        print(f"\nby bars seen\n{found.by_bars.to_string()}" if len(found.by_bars) else "")
        print("other rungs of the ladder: " + ", ".join(f"{name} {value:.3f}" for name, value in found.ladder.items()))
        figures |= {key + KEYS.get((key, name), f"_{name.lower()}"): value for name, value in found.whole.items()}
        if "joint filter" in found.ladder:
            figures[f"{key}_joint_filter"] = found.ladder["joint filter"]
        for name, table in [*found.bars.items(), *found.steps.items()]:
            every.append(
                table.assign(family=key, learner=name, against=table.index.name).rename_axis("at").reset_index()
            )
        if found.steps:
            print(f"\nby gradient steps on {SUPPORT} bars\n{found.by_steps.to_string()}")
            figures |= compared(done, key, family, tasks)
        if isinstance(family, GarleanuPedersen):
            learnt = [learnt_rate_and_aim(one.meta, family) for one in done[key, "no memory"]]
            rate, aim = np.mean(learnt, axis=0).tolist()
            figures |= {"garleanu_pedersen_rate": rate, "garleanu_pedersen_aim": aim}
            print(f"learnt rate {rate:.4f}, aim {aim:.4f}")
        if not chosen.quick:
            found.page(RESULTS / f"adaptation_{key}.html")
    if not chosen.quick:
        pd.concat(every).to_csv(RESULTS / "adaptation_curves.csv", index=False, float_format="%.4f")
    finish("adaptation", figures, chosen.quick)


if __name__ == "__main__":
    main()
