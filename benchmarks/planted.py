"""A learner can learn: what share of a known signal do learners find in real returns, net of cost?

A signal of known strength is planted into the returns of `stocks` and of `futures` (`markets.synthetic.Planted`): an advice that
is right in one hidden regime and wrong in the other. So the most that can be earned is known: by one who knows the regime, and
by one who knows all parameters and infers the regime (`strategies.ladder`). A learner's share is what it earns, net of cost, of
what that filter earns on the same bars; whoever does not adapt earns nothing.

Learners are trained on one stretch of time, with a signal of an annual Sharpe ratio of 2, and judged on a later one, with new
signals of all strengths. All stretches are development spans. Settings were chosen on the stretch in between. *Planted once*
is the same learner on training data of which there is no more than one history would give. stable-baselines3's `PPO` (which sees
the last 63 bars) and sb3-contrib's `RecurrentPPO` learn in our environment, on the same episodes and for at least as much
processor time. They are left out of ``--quick``, and where they are not installed (``[peers]``).

What is found is kept in the git-ignored folder ``benchmarks/results/models``, so that an interrupted run continues where it
stopped; ``--fresh`` starts over.
"""

from __future__ import annotations

import os

# Once numba's kernels have run in a second thread, torch's small operations become several times slower on few cores.
os.environ["NUMBA_NUM_THREADS"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import hashlib
import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from joblib import Parallel, delayed

from benchmarks.common import RESULTS, finish
from benchmarks.planted_peers import peer
from markets import InputError, load
from markets.synthetic import Episodes, Planted
from markets.synthetic.planted import cost_in_units
from metalearner import MAML, RL2, CostCurriculum, FineTune, Inner, LogWealth, Pathwise, Training
from metalearner.evaluation.scores import ceiling_scores, fraction_of_ceiling, rung_scores, task_scores
from strategies import PolicySettings
from strategies.ladder import rungs

# Training, choosing and judging: development spans only.
SPANS = {
    "stocks": (("1990", "1999"), ("2000", "2003"), ("2004", "2007")),
    "futures": (("1970", "1989"), ("1990", "1994"), ("1995", "1999")),
}
STRENGTHS, TRAINED_ON = (0.0, 0.5, 1.0, 2.0, 4.0), 2.0
SEEN, QUERY = 252, 504  # bars before those that count, and those that count
AGAIN = 63  # bars between the adaptations of learners that take gradient steps
EPISODES, BARS = 4096, 252  # of training
ONCE = "planted once"
OURS = ("RL2", "MAML", f"RL2, {ONCE}", f"MAML, {ONCE}", "fine-tune", "no memory")
PEERS = ("RecurrentPPO", "PPO")
FILTER, KNOWN = "filter", "sign known"
YEAR = np.sqrt(252.0)


@dataclass(frozen=True)
class Stretches:
    """The signal planted into three stretches of one universe, one after another."""

    train: Planted
    choose: Planted
    judge: Planted

    @classmethod
    def of(cls, universe: str) -> Stretches:
        spans = SPANS[universe]
        bars = load(universe)[: spans[2][1]]
        before = bars[spans[0][0] : spans[0][1]]
        cost = round(cost_in_units(before, float(bars.source.costs.removesuffix("bp")) / 1e4), 3)
        return cls(*(Planted(bars[first:last], (TRAINED_ON,), cost=cost) for first, last in spans))


def learner(name: str, family: Planted, seed: int, quick: bool) -> Any:
    """One of our learners, with settings chosen on the stretches between training and judging."""
    memory = name.startswith("RL2")
    # the gradient learners need no more steps; all have the costs come late, without which they end in never trading
    steps = (400 if memory else 200) // (100 if quick else 1)
    objective = Pathwise(
        family.costs,
        family.execution,
        LogWealth(),
        CostCurriculum(0.5, 0.3) if memory else CostCurriculum(0.3, 0.3),
        family.scale,
        symbols=0,
    )
    # the aim is a share of 1 / A, and the advice is a second symbol, which is not traded
    policy = PolicySettings(
        memory="gru" if memory else "none", hidden=16, head="hyper" if memory else "plain", base="flat", limit=2.0,
        features=family.features,
    )  # fmt: skip
    training = Training(
        steps=steps, batch=128 if memory else 64, learning_rate=1e-2, weight_decay=0.0, schedule="cosine",
        evaluate_every=steps, evidence=None, keep="last", seed=seed, device="cpu",
    )  # fmt: skip
    shared: dict[str, Any] = {"policy": policy, "objective": objective, "training": training, "name": name}
    inner = Inner(steps=1 if quick else 3, step_size=0.3, support=SEEN)
    if name.startswith("MAML"):
        return MAML(inner=inner, learn_step_sizes=True, **shared)
    if name == "fine-tune":
        return FineTune(inner=inner, **shared)
    return RL2(context=1, deployed=SEEN, **shared)


Score = Callable[[Episodes, int], np.ndarray]


def trained(name: str, family: Planted, seed: int, quick: bool, budget: float) -> Score:
    """Train one, and return a function from episodes and their bars of support to its reward per bar on each."""
    family = replace(family, once=ONCE in name, length=SEEN + AGAIN - 1 if steps_by_gradient(name) else BARS)
    episodes = family.sample(256 if quick else EPISODES, [seed, 1])
    if name in PEERS:
        weights = peer(name, episodes, seed, budget)
        return lambda fresh, support: rung_scores(weights(fresh), fresh, support)
    support = SEEN if steps_by_gradient(name) else 1
    few = family.sample(64, [seed, 2])
    meta = learner(name, family, seed, quick).fit(episodes.tasks(support), few.tasks(support), progress=False)
    return lambda fresh, support: task_scores(meta, fresh.tasks(support))


def steps_by_gradient(name: str) -> bool:
    """Whether a learner adapts by gradient steps; then it keeps its parameters for `AGAIN` bars, and is judged on those."""
    return name.startswith(("MAML", "fine-tune"))


def judged_on(family: Planted, name: str, sharpe: float, count: int, seed: int) -> Episodes:
    """New episodes of one strength for a learner; the same for all that are judged on as many bars."""
    query = AGAIN if steps_by_gradient(name) else QUERY
    count *= min(QUERY // query, 4)  # as many bars
    return replace(family, sharpes=(sharpe,), length=SEEN + query - 1).sample(count, [seed, 3])


def job(universe: str, name: str, seed: int, quick: bool, budget: float) -> dict[Any, Any]:
    """Train one learner on one universe, and judge it; or read what an earlier run found."""
    torch.set_num_threads(1)
    stretches, count = Stretches.of(universe), 100 if quick else 1000
    setting = name if name in PEERS else learner(name, stretches.train, seed, quick)
    identity = repr(
        (stretches, setting, seed, budget if name in PEERS else 0, count, EPISODES, BARS, SEEN, QUERY, AGAIN)
    )
    place = RESULTS / "models" / f"planted-{hashlib.sha256(identity.encode()).hexdigest()[:16]}.npz"
    found: dict[Any, Any] = {"universe": universe, "learner": name}
    keys = [("choose", TRAINED_ON), *(("judge", sharpe) for sharpe in STRENGTHS)]
    if place.exists() and not quick:
        with np.load(place, allow_pickle=False) as kept:
            return found | {key: kept[f"{key[0]} {key[1]}"] for key in keys} | {"seconds": float(kept["seconds"])}
    begun = time.process_time()
    score = trained(name, stretches.train, seed, quick, budget)
    found["seconds"] = time.process_time() - begun
    for stretch, sharpe in keys:
        fresh = judged_on(getattr(stretches, stretch), name, sharpe, count, seed)
        found[stretch, sharpe] = np.stack([score(fresh, SEEN), ceiling_scores(fresh, SEEN)])
    if not quick:
        place.parent.mkdir(parents=True, exist_ok=True)
        arrays = {f"{key[0]} {key[1]}": found[key] for key in keys}
        np.savez(place, seconds=found["seconds"], **arrays)
    return found


def known(universe: str, quick: bool, seed: int) -> pd.DataFrame:
    """Annual reward of those who know something, by strength."""
    family, count, rows = Stretches.of(universe).judge, 100 if quick else 1000, {}
    for sharpe in STRENGTHS:
        fresh = judged_on(family, "RL2", sharpe, count, seed)
        ladder = rungs(fresh.family)
        rows[sharpe] = {name: rung_scores(weights(fresh), fresh, SEEN).mean() * YEAR for name, _, weights in ladder}
    return pd.DataFrame(rows).T.rename_axis("strength").drop(columns="hindsight")


def pooled(found: list[dict[Any, Any]], name: str, stretch: str, sharpe: float) -> tuple[np.ndarray, np.ndarray]:
    """Rewards of a learner and of the filter, over all universes."""
    both = np.concatenate([one[stretch, sharpe] for one in found if one["learner"] == name], axis=1)
    return both[0], both[1]


def main() -> None:
    """Train, judge, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="run the same code on less work, within a minute")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="number of trainings in parallel")
    parser.add_argument("--budget", type=float, default=60.0, help="processor time of each peer, in seconds")
    parser.add_argument("--learners", nargs="*", default=[*OURS, *PEERS], help="some of the rows; by default all")
    parser.add_argument("--fresh", action="store_true", help="delete what was found before, and train again")
    chosen = parser.parse_args()
    if chosen.fresh:
        for old in (RESULTS / "models").glob("planted-*.npz"):
            old.unlink()
    universes = available(chosen.quick)
    without = PEERS if chosen.quick or importlib.util.find_spec("sb3_contrib") is None else ()
    names = [name for name in chosen.learners if name not in without]
    jobs = [(u, name) for name in names for u in universes]
    work = (delayed(job)(u, name, chosen.seed, chosen.quick, chosen.budget) for u, name in jobs)
    found: list[dict[Any, Any]] = []
    for one in Parallel(n_jobs=chosen.jobs, return_as="generator_unordered")(work):
        mine, best = one["judge", TRAINED_ON] * YEAR
        print(f"{len(found) + 1}/{len(jobs)} {one['universe']}, {one['learner']}: {one['seconds']:.0f} s of processor time, "
              f"{mine.mean():.2f} of {best.mean():.2f} at {TRAINED_ON:g}", flush=True)  # fmt: skip
        found.append(one)
    figures = summary(found, names, {u: known(u, chosen.quick, chosen.seed) for u in universes})
    if not chosen.quick:
        picture(figures, list(universes))
    finish("planted", figures, chosen.quick)


def available(quick: bool) -> list[str]:
    """Universes to run on. `stocks` comes with the installation; `futures` must have been fetched."""
    if quick:
        return ["stocks"]
    try:
        load("futures")
    except InputError as error:
        print(f"without futures: {error}")
        return ["stocks"]
    return list(SPANS)


def summary(found: list[dict[Any, Any]], names: list[str], ladders: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """Print the tables, and collect the figures."""
    for universe, ladder in ladders.items():
        print(f"\n{universe}: reward per year at full exposure, in units of volatility, net of cost\n{ladder.round(2)}")
    curves: dict[str, dict[str, list[float]]] = {}
    rows: dict[str, dict[str, str]] = {}
    for name in names:
        curves[name], rows[name] = {}, {}
        for sharpe in STRENGTHS:
            mine, best = pooled(found, name, "judge", sharpe)
            if sharpe:
                share = fraction_of_ceiling(mine[None], best)
                curves[name][f"{sharpe:g}"] = [round(x, 4) for x in (share.mean, share.low, share.high)]
                rows[name][f"{sharpe:g}"] = str(share)
            else:
                error = mine.std() / np.sqrt(len(mine)) * YEAR
                curves[name]["0"] = [round(float(mine.mean() * YEAR), 4), round(float(error), 4)]
                rows[name]["0: reward"] = f"{mine.mean() * YEAR:.3f} ± {error:.3f}"
    print(f"\nshare of the filter's reward, net of cost, by annual Sharpe ratio of the signal; pooled, 95 % intervals\n"
          f"{pd.DataFrame(rows).T.to_string()}")  # fmt: skip
    chosen_on = {
        name: float(np.divide(*(x.mean() for x in pooled(found, name, "choose", TRAINED_ON)))) for name in names
    }
    best_name = max((name for name in names if name not in PEERS and ONCE not in name), key=chosen_on.__getitem__)
    print(f"\nbest on the stretch between training and judging: {best_name}")
    at = f"{TRAINED_ON:g}"
    beyond = {}
    for name in names:
        (mine, best), (nothing, _) = (pooled(found, name, "judge", sharpe) for sharpe in (TRAINED_ON, 0.0))
        beyond[name] = round(float((mine.mean() - nothing.mean()) / best.mean()), 4)
    print(f"share at {at}, without what each earns where nothing is planted: {beyond}")
    by_universe: dict[str, dict[str, float]] = {universe: {} for universe in ladders}
    for one in found:
        mine, best = one["judge", TRAINED_ON]
        by_universe[one["universe"]][one["learner"]] = round(float(mine.mean() / best.mean()), 4)
    return {
        "planted_share": curves[best_name][at][0],
        "planted_share_low": curves[best_name][at][1],
        "planted_share_once": max((curves[name][at][0] for name in names if ONCE in name), default=None),
        "planted_share_peers": max((curves[name][at][0] for name in names if name in PEERS), default=None),
        "best": best_name,
        "beyond_nothing_planted": beyond,
        "chosen_on": {name: round(share, 4) for name, share in chosen_on.items()},
        "by_strength": curves,
        "by_universe": by_universe,
        "known": {u: ladder.round(4).to_dict() for u, ladder in ladders.items()},
        "seconds": {
            name: round(float(np.mean([o["seconds"] for o in found if o["learner"] == name])), 1) for name in curves
        },
    }


def picture(figures: dict[str, Any], universes: list[str]) -> None:
    """Plot the share over the strength, and what there is to be earned."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    for k, (name, curve) in enumerate(figures["by_strength"].items()):
        points = {float(s): x for s, x in curve.items() if float(s) >= 1}
        at, (mean, low, high) = list(points), zip(*points.values(), strict=True)
        left.plot(at, mean, "s--" if name in PEERS else "o-", ms=4, lw=1.2, color=f"C{k}", label=name)
        left.fill_between(at, low, high, color=f"C{k}", alpha=0.12, lw=0)
    left.axhline(1, color="#888", lw=0.8)
    left.axhline(0, color="#888", lw=0.8)
    left.set(xscale="log", xticks=[1, 2, 4], xticklabels=["1", "2", "4"], xlabel="annual Sharpe ratio of the planted signal",
             title="Share of what the best filter earns, net of cost", ylim=(-0.6, 1.1))  # fmt: skip
    left.minorticks_off()
    left.legend(fontsize=8)
    for k, universe in enumerate(universes):
        for name, style in ((KNOWN, ":"), (FILTER, "-")):
            known_by = figures["known"][universe][name]
            right.plot([float(s) for s in known_by], list(known_by.values()), style, color=f"C{k}", marker="o", ms=3,
                       label=f"{universe}: {name}")  # fmt: skip
    right.set(xlabel="annual Sharpe ratio of the planted signal", title="What there is to be earned, per year and net")
    right.legend(fontsize=8)
    FigureCanvasAgg(figure)
    RESULTS.mkdir(exist_ok=True)
    figure.savefig(RESULTS / "planted.png", dpi=110)


if __name__ == "__main__":
    main()
