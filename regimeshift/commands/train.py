"""``regimeshift train``: meta-train a learner on regime tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from regimeshift.options import DataOptions, LearningOptions, Source, TradingOptions, words


@dataclass
class Train(LearningOptions, TradingOptions, DataOptions):
    """Meta-train a learner on the regimes of a data set, and save the model.

    Bars from --test on are not used; they are for `regimeshift backtest`. To continue an interrupted training, run the same
    command with --resume; the result is bit-identical to that of an uninterrupted run.
    """

    source: Source = "stocks"
    learner: Literal["rl2", "latent", "maml", "anil", "cavia", "reptile", "finetune", "scratch", "rolling", "risk"] = (
        "rl2"
    )
    """Adapting through a memory: rl2 (recurrent), latent (belief over the regime).
    Adapting by gradient steps from meta-trained weights: maml, anil (output layer), cavia (context vector), reptile.
    Adapting by gradient steps from pre-trained weights: finetune; from random weights: scratch, rolling (last 1,008 bars).
    Adapting the estimates of risk behind a minimum-variance portfolio: risk."""
    out: str | None = None
    """Folder for the model; by default models/DATA-LEARNER."""
    validation: str | None = None
    """Start of validation, such as 2000 or 2000-01-31.
    By default after 30 % of the data (without the features' warm-up), or at the nearest 1 January with ten years or more."""
    test: str | None = None
    """Start of the test, which training does not use; by default after 55 % of the data, likewise."""
    n_regimes: int | None = None
    """Number of regimes; by default 3, or fewer if there are not 20 bars to fit each on."""
    steps: int = 300
    """Training steps; not used by scratch and rolling, which have no meta-training (and nothing to resume)."""
    seed: int = 0
    """Random seed; the same seed gives a bit-identical model."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device to train on."""
    resume: bool = False
    """Continue an interrupted training."""

    def run(self) -> None:
        from regimeshift import steps
        from regimeshift.console import command_line, console, kept, step, writable
        from regimeshift.spans import spans, time_text
        from regimeshift.windows import Windows

        with step("importing torch and MLflow"):
            import metalearner  # noqa: F401
            from backtests import tracking

        whole = self.load(self.source)
        bars = whole.without_empty()  # rows on which nothing trades are no bars to learn from
        windows = Windows.of(bars, self.lookback)
        steps.require(bars, windows)
        where = spans(bars, self.validation, self.test, windows.lookback)
        learner = steps.build_learner(
            self.learner, windows, self, self, steps=self.steps, seed=self.seed, device=self.device
        )  # fmt: skip
        folder = writable(self.out or f"models/{steps.plain_name(bars.name)}-{self.learner}")
        regimes = steps.fit_regimes(bars, where, self.n_regimes, self.seed)
        tasks, validation = steps.cut_tasks(bars, where, regimes, windows)
        steps.tell_tasks(tasks, validation, where)
        checkpoint = folder / "checkpoint.safetensors"
        if not self.resume and checkpoint.exists() and not (folder / "meta.json").exists():
            console.print(f"Starting over. {folder} contains an interrupted training; use --resume to continue it.")
        with (
            kept(f"progress is saved in {folder}; use --resume to continue", checkpoint),
            tracking.run(f"train {folder.name}", command="train", **vars(self)),
        ):
            tracking.log_bars(tasks.bars, "training", whole=whole)
            steps.train(learner, tasks, validation, folder, resume=self.resume, log=tracking.log_metrics)
        regimes.save(folder / "regimes.json")
        following = command_line(
            "regimeshift", "backtest", self.source, "--models", str(folder), "--start", time_text(where.test),
            *words(self, DataOptions, TradingOptions, leave=("start",)),
        )  # fmt: skip
        console.print(f"Saved {folder}. Next: {following}", markup=False)
