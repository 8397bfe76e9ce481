"""The walk-forward of `regimeshift demo` on 20 US stocks: net metrics of every strategy on 2008 to 2022, out of sample."""

from __future__ import annotations

from backtests import walk_forward
from benchmarks.common import finish, options
from markets import load
from regimeshift import steps
from regimeshift.options import LearningOptions, TradingOptions
from regimeshift.spans import spans
from regimeshift.windows import Windows
from strategies import BuyAndHold, EqualWeight, InverseVolatility, Momentum


def main() -> None:
    """Train both learners as the demo does, run the walk-forward, print the table."""
    chosen = options(__doc__ or "")
    bars = load("stocks")
    where = spans(bars, None, None)
    windows = Windows.of(bars)
    regimes = steps.fit_regimes(bars, where, 3, chosen.seed)
    tasks, validation = steps.cut_tasks(bars, where, regimes, windows)
    built = {}
    for name in steps.DEMO_LEARNERS:
        learner = steps.build_learner(
            name, windows, LearningOptions(), TradingOptions(), steps=30 if chosen.quick else 300, seed=chosen.seed,
            device="auto",
        )  # fmt: skip
        built[name] = learner.fit(tasks, validation, progress=False)
    rl2 = built["rl2"]
    rules = [InverseVolatility(), EqualWeight(), BuyAndHold(), Momentum(252)]
    learnt = [rl2, rl2.unadapted(), rl2.shrunk(1.0, "RL2, whole tilt"), built["finetune"]]
    result = walk_forward([*learnt, *rules], bars[where.test :])
    steps.show_result(result)
    figures = {name: {k: round(float(v), 4) for k, v in row.items()} for name, row in result.table().iterrows()}
    finish("walkforward", {"net": figures, "tilt_kept": float(rl2.policy.shrink)}, chosen.quick)


if __name__ == "__main__":
    main()
