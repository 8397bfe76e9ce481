"""Does a policy over specialists, behind a gate that reads the regime filter, do better than one adaptive policy?

*Synthetic*: a market of two hidden regimes, of which a calm one trends and a wild one reverts, so that each calls for the
opposite of the other (`benchmarks.hierarchy_market`). The optimum is exact. Everyone learns from the same rolling windows of one
path, of 5,000 or of 100,000 bars, and is judged on a fresh path by the fraction of the optimum's utility. 95 % intervals are
over windows and training seeds. *Perfect specialists* are the optimum of each regime, mixed by the exact filter: what is lost
then is lost by the gate.

*Real prices*, development spans alone: 20 US stocks traded 1998 to 2007 and 49 futures traded 1985 to 1999, each policy trained
once, on what was known before, and held as the mean of its seeds. Settings are the library's defaults, but for the
utility, which is the certainty equivalent at a risk aversion of 5, the costs of the universe, and windows that overlap. Twice:
with tilts and gates kept as far as they earn it on validation, and the same ones in full. Differences are in certainty
equivalent per year, with paired 95 % intervals.

Without ``--quick`` it also draws docs/hierarchy.png. Scores are kept in the git-ignored folder ``benchmarks/results/models``, so
that an interrupted run goes on where it stopped; remove ``hierarchy`` there to start over.
"""

from __future__ import annotations

import os

# Once numba's kernels have run in a second thread, torch's small operations become several times slower on few cores.
os.environ["NUMBA_NUM_THREADS"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from backtests import WalkForward, walk_forward
from backtests.engine.task_cuts import WindowTasks
from backtests.significance import paired
from benchmarks.common import RESULTS, finish, options
from benchmarks.hierarchy_market import ExactFilter, TrendAndReversal
from markets import TaskSet, load
from markets.common.progress import visible
from metalearner import RL2, CertaintyEquivalent, CostCurriculum, Experts, MeanVariance, Pathwise, Training
from metalearner.evaluation import fraction_of_ceiling
from strategies import Blend, Gate, PolicySettings, RegimeGated

FAMILY = TrendAndReversal()
SUPPORT = QUERY = 60
SIZES = {"few": 5_000, "many": 100_000}
PLAIN, ADAPTIVE = "one policy without memory", "one adaptive policy (RL2)"
SINGLE, CONSTANT = "best single specialist", "specialists, filter ignored"
IDENTITY, LEARNT = "specialists by probability", "specialists, learnt gate"
EXACT, RECURRENT = "specialists, learnt gate, exact filter", "specialists with memory, learnt gate"
# Universe: last bar that may be seen, first that is traded, costs.
SPANS = {"stocks": ("2007", "1998", "10bp"), "futures": ("1999", "1985", "2bp")}
FULL = ", in full"  # at the end of the name of what is not shrunk
IDENTITY_GATE = Gate.identity(2)
KEPT = RESULTS / "models" / "hierarchy"
PICTURE = Path(__file__).parents[1] / "docs" / "hierarchy.png"


# ---------------------------------------------------------------------- synthetic


def market(bars: int, seed: Any) -> tuple[TaskSet, np.ndarray]:
    """Rolling windows of one path, and the optimum's utility per bar on the query of each."""
    path = FAMILY.with_length(bars).sample(1, seed)
    returns = path.returns[0, :, 0]
    profit = np.append(0.0, FAMILY.optimum(returns)[:-1] * returns[1:])
    utility = np.append(0.0, profit - 0.5 * profit**2)  # the bars begin with one row of prices
    tasks = TaskSet.from_windows(path.bars(), support=SUPPORT, query=QUERY, warmup=0)
    return tasks, np.array([utility[task.cut + 1 : task.stop].mean() for task in tasks])


def settings(memory: str, seed: int, quick: bool) -> dict[str, Any]:
    """What all learners share."""
    policy = PolicySettings(memory=memory, hidden=32, base="flat", trades="at_once", features=FAMILY.features)
    objective = Pathwise(
        FAMILY.costs, FAMILY.execution, MeanVariance(1.0), CostCurriculum(0, 0), FAMILY.scale, symbols=0
    )
    training = Training(
        steps=40 if quick else 400, batch=64, learning_rate=1e-2, weight_decay=0.0, schedule="cosine",
        evaluate_every=20, seed=seed, device="cpu",
    )  # fmt: skip
    return {"policy": policy, "objective": objective, "training": training, "context": SUPPORT}


def sets(bars: int, seed: int) -> tuple[TaskSet, TaskSet]:
    """Training and validation tasks of one path."""
    every, _ = market(bars, [seed, 0])
    cut = int(0.75 * len(every))
    return TaskSet(every.tasks[:cut]), TaskSet(
        every.tasks[cut + 1 :]
    )  # without one between, since supports overlap queries


def scores(bars: int, seed: int, test: TaskSet, quick: bool) -> dict[str, np.ndarray]:
    """Utility of every contender on each test window."""
    path = KEPT / f"{bars}-{seed}-{len(test)}.npz"
    if path.exists() and not quick:
        return dict(np.load(path))
    tasks, validation = sets(bars, seed)
    still, memory = settings("none", seed, quick), settings("gru", seed, quick)
    experts = Experts(**still).fit(tasks, validation, progress=False)
    best = max(experts.experts, key=lambda expert: float(expert.evaluate(validation).mean()))
    exact = Experts(**still, detector=ExactFilter(FAMILY)).fit(tasks, validation, progress=False)
    found = {
        PLAIN: RL2(**still).fit(tasks, validation, progress=False).evaluate(test),
        ADAPTIVE: RL2(**memory).fit(tasks, validation, progress=False).evaluate(test),
        SINGLE: best.evaluate(test),
        CONSTANT: experts.evaluate_unadapted(test),
        IDENTITY: experts.gated(IDENTITY_GATE, IDENTITY).evaluate(test),
        LEARNT: experts.evaluate(test),
        EXACT: exact.evaluate(test),
        RECURRENT: Experts(**memory).fit(tasks, validation, progress=False).evaluate(test),
    }
    if not quick:
        KEPT.mkdir(parents=True, exist_ok=True)
        np.savez(path, **found)
    return found


def perfect(bars: int = 1_000_000) -> dict[str, float]:
    """Fraction of the optimum of perfect specialists behind the exact filter, by how they are mixed."""
    returns = FAMILY.with_length(bars).sample(1, 5).returns[0, :, 0]
    p, square = FAMILY.filter(returns), np.square(FAMILY.volatility)
    mean = np.array(FAMILY.momentum) * returns[:, None]
    best = mean / (square + mean**2)

    def utility(weights: np.ndarray) -> float:
        profit = weights[:-1] * returns[1:]
        return float((profit - 0.5 * profit**2).mean())

    gates = {"probability": p, "variance": p * square, "likeliest": p == p.max(axis=1, keepdims=True)}
    most = utility(FAMILY.optimum(returns))
    return {name: utility((g * best).sum(axis=1) / g.sum(axis=1)) / most for name, g in gates.items()}


def synthetic(seeds: range, quick: bool) -> dict[str, dict[str, Any]]:
    """Fractions of the ceiling by size of the training data."""
    test, ceiling = market(3_000 if quick else 60_000, [seeds.start, 99])
    found: dict[str, dict[str, Any]] = {}
    work = [(size, seed) for size in SIZES for seed in seeds]
    by_size: dict[str, list[dict[str, np.ndarray]]] = {size: [] for size in SIZES}
    for size, seed in track(work, "synthetic", disable=not visible(), transient=True):
        by_size[size].append(scores(SIZES[size] // (10 if quick and size == "many" else 1), seed, test, quick))
    for size, each in by_size.items():
        stacked = {name: np.stack([one[name] for one in each]) for name in each[0]}
        found[size] = {name: fraction_of_ceiling(values, ceiling) for name, values in stacked.items()}
        for name, other in ((LEARNT, ADAPTIVE), (LEARNT, IDENTITY), (RECURRENT, ADAPTIVE)):
            found[size][f"{name} − {other}"] = fraction_of_ceiling(stacked[name] - stacked[other], ceiling)
    return found


# ---------------------------------------------------------------------- real prices


@dataclass(frozen=True)
class Contenders:
    """All contenders as one learner: the learnt gate trades, and the others are its controls.

    Each is the mean of the plans of its seeds.
    """

    costs: str
    seeds: range
    quick: bool
    name: str = LEARNT

    def fit(self, tasks: TaskSet, validation: TaskSet, *, progress: bool) -> Fitted:
        objective = Pathwise(costs=self.costs, utility=CertaintyEquivalent(5.0))
        training = Training(steps=10 if self.quick else 300, evaluate_every=10 if self.quick else 20, device="cpu")
        still = PolicySettings(memory="none", head="plain")
        members: dict[str, list[Any]] = {}
        for seed in self.seeds:
            shared: dict[str, Any] = {"objective": objective, "training": replace(training, seed=seed)}
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # of regimes with few tasks, as the remark says
                experts = Experts(policy=still, **shared).fit(tasks, validation, progress=False)
                adaptive = RL2(**shared).fit(tasks, validation, progress=False)
                plain = RL2(policy=still, **shared).fit(tasks, validation, progress=False)
            best = max(experts.experts, key=lambda expert: float(expert.evaluate(validation).mean()))
            found = {
                LEARNT: experts, IDENTITY: experts.gated(IDENTITY_GATE, IDENTITY),
                CONSTANT: experts.gated(experts.constant, CONSTANT), SINGLE: best, ADAPTIVE: adaptive, PLAIN: plain,
            }  # fmt: skip
            whole = {name + FULL: member.shrunk(1.0, name) for name, member in found.items()}
            whole[LEARNT + FULL] = whole[LEARNT + FULL].gated(replace(experts.gate, share=1.0), LEARNT)
            for name, member in (found | whole).items():
                members.setdefault(name, []).append(member)
            print(f"  {tasks.bars.index[-1]:%Y-%m-%d} seed {seed}: {experts.remark}", flush=True)
        return Fitted(members)


@dataclass(frozen=True)
class Fitted:
    """What `Contenders` has trained."""

    members: dict[str, list[Any]]
    name: str = LEARNT

    def adapt(self, bars: Any) -> Blend:
        return Blend([member.adapt(bars) for member in self.members[LEARNT]], LEARNT)

    def controls(self) -> dict[str, Blend]:
        """The others; none of them changes at an adaptation, since all adapt by what they read."""
        others = {name: members for name, members in self.members.items() if name != LEARNT}
        return {name: Blend([_strategy(member) for member in members], name) for name, members in others.items()}


def _strategy(member: Any) -> Any:
    if hasattr(member, "experts"):
        parts = [_strategy(expert) for expert in member.experts]
        return RegimeGated(member.detector, parts, refit=False, warmup=1, gate=member.gate)
    return member._deploy(member.policy, member.name)


def real(universe: str, seeds: range, quick: bool) -> WalkForward:
    """All contenders on the development span of one universe."""
    last, first, costs = SPANS[universe]
    bars = load(universe)[:last]
    if quick:
        bars = bars.select(bars.symbols[:4])
    cut = WindowTasks(step=20)
    return walk_forward(
        [Contenders(costs, seeds, quick)], bars[first:], costs=costs, tasks=cut, controls=True, retrain_every=None,
        every=5040, check=False, progress=False, cache=None if quick else KEPT,
    )  # fmt: skip


def compared(result: WalkForward) -> dict[str, Any]:
    """Certainty equivalents, and those of the learnt gate less those of each other, as paired intervals."""
    accounts = {b.name.removeprefix(f"{LEARNT}, "): b for b in result.backtests}
    accounts[LEARNT + FULL] = next(b for b in result.backtests if b.name == f"{LEARNT}, {LEARNT}{FULL}")
    rows = {}
    for name, account in accounts.items():
        hierarchy = accounts[LEARNT + (FULL if name.endswith(FULL) else "")]
        difference = None if account is hierarchy else paired(hierarchy, account, "certainty equivalent")
        rows[name] = account.metrics["certainty equivalent"], difference
    return rows


# ---------------------------------------------------------------------- what is shown


def picture(found: dict[str, dict[str, Any]], seed: int) -> None:
    """The filter and the gate on a stretch of a fresh path, and the fractions of the ceiling."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subfigures(1, 2, width_ratios=(5, 6))
    above, below = left.subplots(2, 1, sharex=True)
    experts = Experts(**settings("none", seed, False)).fit(*sets(SIZES["many"], seed), progress=False)
    bars = market(5_000, [seed, 99])[0].bars.with_past()
    shown = slice(2_000, 3_200)
    p = experts.detector.filter(bars).probabilities
    above.plot(p[shown, 1], color="#b4bcc4", linewidth=1)
    above.set(ylabel="P(wild), filtered", ylim=(-0.03, 1.03))
    below.plot(experts.gate.weights(p)[shown, 1], color="#b35900", linewidth=1)
    below.set(ylabel="weight of its specialist", xlabel="bars", ylim=(-0.03, 1.03))
    axes = right.subplots()
    names = [name for name in found["many"] if "−" not in name]
    for k, (size, colour) in enumerate((("few", "#b4bcc4"), ("many", "#0072b2"))):
        at = np.arange(len(names)) + 0.36 * (k - 0.5)
        values = np.array([[f.mean, f.mean - f.low, f.high - f.mean] for f in (found[size][name] for name in names)]).T
        label = f"{SIZES[size]:,} bars to learn from"
        axes.barh(at, values[0], height=0.34, color=colour, xerr=values[1:], error_kw={"lw": 1}, label=label)
    axes.set(yticks=range(len(names)), yticklabels=names, xlabel="fraction of the exact optimum", xlim=(-0.6, 1.05))
    axes.axvline(1.0, color="#868e96", linewidth=1)
    axes.invert_yaxis()
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.4, 1.1), ncols=2, fontsize=8)
    for each in (above, below, axes):
        each.spines[["top", "right"]].set_visible(False)
    figure.savefig(PICTURE, dpi=110, metadata={"Software": None})
    print(f"wrote {PICTURE}")


KEYS = {
    PLAIN: "plain", ADAPTIVE: "adaptive", SINGLE: "single", CONSTANT: "constant", IDENTITY: "identity", LEARNT: "learnt",
    EXACT: "exact_filter", RECURRENT: "recurrent",
}  # fmt: skip


def key(name: str) -> str:
    """A contender, or a difference of two, in a word."""
    return "_minus_".join(KEYS[part] for part in name.split(" − "))


def main() -> None:
    chosen = options(__doc__ or "")
    count = 1 if chosen.quick else 3
    seeds = range(100 * chosen.seed, 100 * chosen.seed + count)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        found = synthetic(seeds, chosen.quick)
    figures: dict[str, Any] = {f"perfect_{name}": value for name, value in perfect().items()}
    print("perfect specialists mixed by the exact filter, fraction of the optimum: by "
          + ", ".join(f"{name.removeprefix('perfect_')} {value:.4f}" for name, value in figures.items()))  # fmt: skip
    for size, rows in found.items():
        print(f"\n{SIZES[size]:,} bars to learn from, {count} seeds: fraction of the optimum")
        for name, fraction in rows.items():
            print(f"  {name:60s} {fraction}")
            figures |= {f"{size}_{key(name)}": fraction.mean, f"{size}_{key(name)}_low": fraction.low}
            figures[f"{size}_{key(name)}_high"] = fraction.high
    if not chosen.quick:
        picture(found, seeds.start)
    for universe in list(SPANS)[: 1 if chosen.quick else 2]:
        print(f"\n{universe}: certainty equivalent per year, and the learnt gate's less the other's")
        for name, (value, difference) in compared(real(universe, seeds, chosen.quick)).items():
            place = f"{universe}_{key(name.removesuffix(FULL))}{'_full' if name.endswith(FULL) else ''}"
            figures[place] = value
            shown = ""
            if difference is not None:
                shown = f"{difference.value:+.2%} [{difference.low:+.2%}, {difference.high:+.2%}]"
                figures |= {f"{place}_difference": difference.value, f"{place}_difference_low": difference.low}
                figures[f"{place}_difference_high"] = difference.high
            print(f"  {name:40s} {value:7.2%}   {shown}", flush=True)
    finish("hierarchy", {name: float(f"{value:.4g}") for name, value in figures.items()}, chosen.quick)


if __name__ == "__main__":
    main()
