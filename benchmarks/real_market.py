"""Adaptation on real prices: a walk-forward of all learners and baselines on 20 US stocks, net of 10 bp per side.

Each learner is meta-trained again every three years on the data available then, and adapts every 21 bars in between. Besides
the table of metrics, the benchmark prints differences of annualised Sharpe ratios, with 95 % intervals from the stationary
bootstrap: to the same policy without adaptation, to the base strategy that policies tilt, and to the best baseline. The best
baseline is chosen with hindsight, by its Sharpe ratio on the test span, which puts the learners at a disadvantage.

All choices were made on 1998 to 2007 (``--development`` runs that span instead), and 2008 to 2022 was run afterwards.
docs/real_market.md lists what was tried.
"""

from __future__ import annotations

import argparse
import warnings
from dataclasses import replace
from typing import Any

import pandas as pd

from backtests import walk_forward
from backtests.engine.task_cuts import WindowTasks
from backtests.engine.walk_forward import WalkForward
from backtests.metrics import formatted
from backtests.significance import Interval, sharpe_gap
from benchmarks.common import RESULTS, finish
from benchmarks.sleeves import Sleeves
from markets import Bars, load
from metalearner import MAML, RL2, Ensemble, FineTune, Inner, Latent, Reptile, RollingRetrain, Scratch, Training
from strategies import BuyAndHold, EqualWeight, InverseVolatility, Momentum, PolicySettings, Strategy
from strategies.rules.long_short import ResidualMomentum, Reversal

COSTS = "10bp"
CHOSEN = "3 × MAML"  # learner reported under the short JSON keys: the one selected on the development span
DEVELOPMENT, TEST = (1998, 2007), (2008, 2022)
YEARS = 3  # between meta-trainings
VALIDATION = 3  # the last years of the known data, used for validation
SUPPORT, QUERY, WARMUP = 250, 63, 316  # bars; WARMUP is the warm-up of the features plus a quarter in reserve
EVERY = 21  # bars between adaptations
BASE = InverseVolatility().name
SURVIVORS = (
    "Survivorship bias: the 20 stocks were chosen among those that were large and still listed at the end of 2022. This biases "
    "all figures upwards, most of all for long-only strategies; differences between strategies on the same stocks less so."
)


def learners(quick: bool, seed: int) -> list[Any]:
    """All learners."""
    gated = Training(steps=20 if quick else 80, evaluate_every=20, evidence=2.0, seed=seed)
    # With this evidence threshold and few validation months no gradient learner leaves its base, so these use half their tilt.
    free, half = replace(gated, evidence=None), PolicySettings(memory="none", shrink=0.5)
    longer = replace(free, steps=20 if quick else 300)
    # On the development span half this step size earned less, and 0.1 earned nothing.
    steps = Inner(support=SUPPORT, step_size=10.0)
    alone = Inner(steps=50, step_size=0.01, support=SUPPORT, optimizer="adam")
    maml = MAML(half, inner=steps, learn_step_sizes=True, training=free)
    return [
        Sleeves(),
        RL2(training=gated),
        Latent(training=gated),
        maml,
        Ensemble(maml),
        MAML.anil(policy=half, inner=steps, learn_step_sizes=True, training=free),
        MAML.cavia(policy=half, inner=steps, learn_step_sizes=True, training=free),
        Reptile(half, inner=steps, training=free),
        FineTune(half, inner=replace(steps, step_size=5.0), step_sizes=(), training=longer, name="fine-tune"),
        Scratch(half, inner=alone, training=free),
        RollingRetrain(half, inner=replace(alone, step_size=0.03, support=1008), training=free),
    ]


def baselines() -> list[Strategy]:
    """Fixed rules: long-only strategies, and the two long–short rules that `Sleeves` combines with its base."""
    return [InverseVolatility(), EqualWeight(), BuyAndHold(), Momentum(252), Reversal(), ResidualMomentum()]


def run(bars: Bars, first: int, last: int, quick: bool, seed: int) -> tuple[WalkForward, dict[str, tuple[str, str]]]:
    """The walk-forward, and for each learner the names of its adapted and unadapted backtests."""
    built = learners(quick, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = walk_forward(
            [*built, *baselines()], bars[str(first) : str(last)], costs=COSTS, every=EVERY, retrain_every=f"{YEARS}Y",
            tasks=WindowTasks(SUPPORT, QUERY, WARMUP, validation=f"{VALIDATION}Y"), controls=True,
        )  # fmt: skip
    return result, {one.name: (one.name, f"{one.name}, unadapted") for one in built}


def gaps(
    result: WalkForward, pairs: dict[str, tuple[str, str]], resamples: int, seed: int
) -> dict[str, dict[str, Interval]]:
    """Differences of each learner's Sharpe ratio to those of its control, the base and the best baseline."""
    sharpe = result.table()["Sharpe"]
    best = str(sharpe[[rule.name for rule in baselines()]].idxmax())
    return {
        name: {
            f"to {kind}": sharpe_gap(result[adapted], result[other], resamples=resamples, seed=seed)
            for kind, other in (("unadapted", control), ("base", BASE), (f"best baseline ({best})", best))
        }
        for name, (adapted, control) in pairs.items()
    }


def main() -> None:
    """Train, run the walk-forward, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="run the same code on less work, within a minute")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--development", action="store_true", help="run on the span used for all choices; results are not saved"
    )
    chosen = parser.parse_args()
    first, last = DEVELOPMENT if chosen.development else TEST
    first = last - 2 if chosen.quick else first
    bars = load("stocks")[: str(last)]
    result, pairs = run(bars, first, last, chosen.quick, chosen.seed)
    table = result.table()
    short = ["Sharpe", "volatility", "max drawdown", "turnover", "costs"]
    print(f"\n20 US stocks, {first} to {last}, net of {COSTS} per side\n{formatted(table[short]).to_string()}\n")
    found = gaps(result, pairs, 500 if chosen.quick else 5000, chosen.seed)
    print("Difference of annualised Sharpe ratios, strategy minus other [95 % interval]")
    print(pd.DataFrame({name: {k: str(i) for k, i in row.items()} for name, row in found.items()}).T.to_string())
    print(f"\n{SURVIVORS}\nAll choices were made on {DEVELOPMENT[0]} to {DEVELOPMENT[1]}.\n")
    if not (chosen.quick or chosen.development):
        picture(result, found)
    to_unadapted, to_base, to_best = found[CHOSEN].values()
    figures = {
        "span": [first, last],
        "real_best_sharpe": max(table.loc[adapted, "Sharpe"] for adapted, _ in pairs.values()),
        "real_adapted_minus_unadapted": to_unadapted.value,
        "real_adapted_minus_unadapted_low": to_unadapted.low,
        "real_adapted_minus_base": to_base.value,
        "real_adapted_minus_base_low": to_base.low,
        "real_adapted_minus_best_baseline_low": to_best.low,
        "chosen": CHOSEN,
        "net": {name: {k: float(v) for k, v in row.items()} for name, row in table[short].iterrows()},
        "gaps": {name: {k: [i.value, i.low, i.high] for k, i in row.items()} for name, row in found.items()},
    }
    finish("real_market", rounded(figures), chosen.quick or chosen.development)


def picture(result: WalkForward, found: dict[str, dict[str, Interval]]) -> None:
    """Plot the growth of 1, and the differences of Sharpe ratios with their intervals."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 5.5), layout="constrained")
    paths, differences = figure.subplots(1, 2, width_ratios=(3, 2))
    long_only = [rule.name for rule in baselines()[:4]]  # the long–short rules lose money and would compress the scale
    for name in (CHOSEN, f"{CHOSEN}, unadapted", *long_only):
        equity = result[name].equity
        paths.semilogy(result.bars.index, equity / equity[0], lw=0.9, ls="--" if name in long_only else "-", label=name)
    paths.set(title=f"Growth of 1 on 20 US stocks, net of {COSTS} per side; rules dashed")
    paths.legend()
    kinds = list(next(iter(found.values())))
    for k, kind in enumerate(kinds):
        at = [n + 0.2 * (k - 1) for n in range(len(found))]
        ends = [row[kind] for row in found.values()]
        low, high = ([i.low for i in ends], [i.high for i in ends])
        differences.hlines(at, low, high, color=f"C{k}", lw=1.5)
        differences.plot([i.value for i in ends], at, "o", ms=4, color=f"C{k}", label=kind)
    differences.axvline(0, color="#888", lw=0.8)
    differences.set(
        title="difference of annualised Sharpe ratios, 95 % interval", yticks=range(len(found)), yticklabels=found
    )
    differences.invert_yaxis()
    figure.legend(*differences.get_legend_handles_labels(), loc="outside lower right", ncols=3)
    FigureCanvasAgg(figure)
    RESULTS.mkdir(exist_ok=True)
    figure.savefig(RESULTS / "real_market.png", dpi=110)


def rounded(value):
    """Round all numbers to four decimals, which is more than their accuracy."""
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    if isinstance(value, list):
        return [rounded(v) for v in value]
    return round(float(value), 4) if isinstance(value, float) else value


if __name__ == "__main__":
    main()
