"""Does adaptation pay on real prices? Every learner and every baseline on 20 US stocks, walked forward, net of 10 bp a side.

Each learner is meta-trained anew every three years on what was known then, and adapts every 21 bars in between. Beside the table
stand the differences of Sharpe ratios a year (strategy less other), each with its stationary-bootstrap 95 % interval: to the
same policy unadapted, to the base strategy that policies tilt, and to the best baseline, the one with the highest Sharpe ratio on
the span itself - known only afterwards, which is hard on the learners.

Every choice was made on 1998 to 2007 (``--development`` runs that span instead) and 2008 to 2022 was run once all were made;
docs/real_market.md says what was tried.
"""

from __future__ import annotations

import argparse
import warnings
from dataclasses import dataclass, field, replace
from typing import Protocol

import pandas as pd

from backtests import walk_forward
from backtests.metrics import formatted
from backtests.significance import Interval, sharpe_gap
from backtests.walk_forward import Adaptive, WalkForward
from benchmarks.common import RESULTS, finish
from benchmarks.sleeves import Sleeves
from markets import Bars, TaskSet, load
from metalearner import MAML, RL2, Ensemble, FineTune, Inner, Latent, Reptile, RollingRetrain, Scratch, Training
from strategies import BuyAndHold, EqualWeight, InverseVolatility, Momentum, PolicySettings, Strategy
from strategies.long_short import ResidualMomentum, Reversal

COSTS = "10bp"
CHOSEN = "3 × MAML"  # whose figures the short keys give: in development the one that met the aims in their order
DEVELOPMENT, TEST = (1998, 2007), (2008, 2022)
YEARS = 3  # from one meta-training to the next
VALIDATION = 3  # last years of what is known that validate
SUPPORT, QUERY, WARMUP = 250, 63, 316  # bars; the warm-up of the features and a quarter to spare
EVERY = 21  # bars from one adaptation to the next
BASE = InverseVolatility().name
SURVIVORS = (
    "The 20 stocks are of those that were large and still listed at the end of 2022: whoever picks them in 1990 knows who "
    "survives. All figures are flattered by that, long ones most; differences between strategies on the same stocks are less so."
)


class Meta(Protocol):
    """What a learner's `fit` returns."""

    name: str
    seen_until: pd.Timestamp

    def adapt(self, bars: Bars) -> Strategy: ...

    def unadapted(self) -> Strategy: ...


class Learner(Protocol):
    """What can stand in the table."""

    def fit(self, tasks: TaskSet, validation: TaskSet, *, progress: bool) -> Meta: ...


def learners(quick: bool, seed: int) -> dict[str, Learner]:
    """Every learner, by the name it has in the table; one a line."""
    gated = Training(steps=20 if quick else 80, evaluate_every=20, evidence=2.0, seed=seed)
    # With that much evidence asked of a few months no gradient learner leaves the base: these hold half their tilt instead.
    free, half = replace(gated, evidence=None), PolicySettings(memory="none", shrink=0.5)
    longer = replace(free, steps=20 if quick else 300)
    steps = Inner(support=SUPPORT, step_size=10.0)  # in development half of that earned less, and 0.1 nothing
    alone = Inner(steps=50, step_size=0.01, support=SUPPORT, optimizer="adam")
    maml = MAML(half, inner=steps, learn_step_sizes=True, training=free)
    return {
        "sleeves": Sleeves(),
        "RL2": RL2(training=gated),
        "latent": Latent(training=gated),
        "MAML": maml,
        "3 × MAML": Ensemble(maml),
        "ANIL": MAML.anil(policy=half, inner=steps, learn_step_sizes=True, training=free),
        "CAVIA": MAML.cavia(policy=half, inner=steps, learn_step_sizes=True, training=free),
        "Reptile": Reptile(half, inner=steps, training=free),
        "fine-tune": FineTune(half, inner=replace(steps, step_size=5.0), step_sizes=(), training=longer),
        "scratch": Scratch(half, inner=alone, training=free),
        "rolling retrain": RollingRetrain(half, inner=replace(alone, step_size=0.03, support=1008), training=free),
    }


def baselines() -> list[Strategy]:
    """Rules that learn nothing: those that may be held alone, and the sleeves."""
    return [InverseVolatility(), EqualWeight(), BuyAndHold(), Momentum(252), Reversal(), ResidualMomentum()]


@dataclass(eq=False)
class Retrained:
    """A learner meta-trained again and again; at each time the last one that had not seen it stands."""

    name: str
    metas: list[Meta] = field(default_factory=list)
    adapting: bool = True

    def adapt(self, bars: Bars) -> Strategy:
        """What the meta-policy of the time makes of `bars`."""
        meta = [m for m in self.metas if m.seen_until < bars.index[-1]][-1]
        return meta.adapt(bars) if self.adapting else meta.unadapted()

    def unadapted(self) -> Retrained:
        """The same kept from adapting, though meta-trained as often: the control."""
        return Retrained(f"{self.name}, unadapted", self.metas, adapting=False)


def retrained(name: str, learner: Learner, bars: Bars, first: int, last: int) -> Retrained:
    """Meta-train at the turn of every `YEARS` years from `first` on, on the bars before."""
    built = Retrained(name)
    for year in range(first, last + 1, YEARS):
        known = bars[: str(year - 1)].without_past()
        tasks = TaskSet.from_windows(known, support=SUPPORT, query=QUERY, warmup=WARMUP)
        built.metas.append(learner.fit(*tasks.split(str(year - VALIDATION), embargo=0), progress=False))
        print(f"{name}: meta-trained on what was known at the end of {year - 1}", flush=True)
    return built


def run(bars: Bars, first: int, last: int, quick: bool, seed: int) -> tuple[WalkForward, dict[str, tuple[str, str]]]:
    """The walk-forward, and of each learner the names of its adapted and unadapted accounts."""
    built = [retrained(name, learner, bars, first, last) for name, learner in learners(quick, seed).items()]
    everyone: list[Adaptive] = [x for one in built for x in (one, one.unadapted())]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = walk_forward(
            [*everyone, *baselines()], bars[str(first) : str(last)], costs=COSTS, every=EVERY, progress=False
        )
    return result, {one.name: (one.name, one.unadapted().name) for one in built}


def gaps(
    result: WalkForward, pairs: dict[str, tuple[str, str]], resamples: int, seed: int
) -> dict[str, dict[str, Interval]]:
    """Each learner's difference of Sharpe ratios to its control, the base and the best baseline."""
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
    """Train, walk forward, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the same code on less work, within a minute")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--development", action="store_true", help="the span that choices were made on; nothing is kept"
    )
    chosen = parser.parse_args()
    first, last = DEVELOPMENT if chosen.development else TEST
    first = last - 2 if chosen.quick else first
    bars = load("stocks")[: str(last)]
    result, pairs = run(bars, first, last, chosen.quick, chosen.seed)
    table = result.table()
    short = ["Sharpe", "volatility", "max drawdown", "turnover", "costs"]
    print(f"\n20 US stocks, {first} to {last}, net of {COSTS} a side\n{formatted(table[short]).to_string()}\n")
    found = gaps(result, pairs, 500 if chosen.quick else 5000, chosen.seed)
    print("Difference of Sharpe ratios a year, strategy less other [95 % interval]")
    print(pd.DataFrame({name: {k: str(i) for k, i in row.items()} for name, row in found.items()}).T.to_string())
    print(f"\n{SURVIVORS}\nChoices were made on {DEVELOPMENT[0]} to {DEVELOPMENT[1]}.\n")
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
    """What became of 1, and the differences of Sharpe ratios with their intervals."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 5.5), layout="constrained")
    paths, differences = figure.subplots(1, 2, width_ratios=(3, 2))
    long_only = [rule.name for rule in baselines()[:4]]  # the others fall, and would flatten the rest
    for name in (CHOSEN, f"{CHOSEN}, unadapted", *long_only):
        equity = result[name].equity
        paths.semilogy(result.bars.index, equity / equity[0], lw=0.9, ls="--" if name in long_only else "-", label=name)
    paths.set(title=f"1 on 20 US stocks, net of {COSTS} a side; rules dashed")
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
        title="difference of Sharpe ratios a year, 95 % interval", yticks=range(len(found)), yticklabels=found
    )
    differences.invert_yaxis()
    figure.legend(*differences.get_legend_handles_labels(), loc="outside lower right", ncols=3)
    FigureCanvasAgg(figure)
    RESULTS.mkdir(exist_ok=True)
    figure.savefig(RESULTS / "real_market.png", dpi=110)


def rounded(value):
    """Four decimals are more than the data can say."""
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    if isinstance(value, list):
        return [rounded(v) for v in value]
    return round(float(value), 4) if isinstance(value, float) else value


if __name__ == "__main__":
    main()
