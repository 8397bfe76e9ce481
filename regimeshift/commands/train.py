"""``regimeshift train``: meta-train a learner on regime tasks."""

from __future__ import annotations

from dataclasses import dataclass

from regimeshift.options import DataOptions, Source, TradingOptions, TrainingOptions, words


@dataclass
class Train(TrainingOptions):
    """Meta-train a learner on the regimes of a data set, and save the model.

    Bars from --test on are not used; they are for `regimeshift backtest`. To continue an interrupted training, run the same
    command with --resume; the result is bit-identical to that of an uninterrupted run.
    """

    source: Source = "stocks"
    config: str | None = None
    """File with options of this command and settings of the learner, as `regimeshift tune` writes it."""
    out: str | None = None
    """Folder for the model; by default models/DATA-LEARNER."""
    resume: bool = False
    """Continue an interrupted training."""

    def run(self) -> None:
        from regimeshift import steps
        from regimeshift.configuration import configured
        from regimeshift.console import command_line, console, kept, step, writable
        from regimeshift.spans import time_text
        from regimeshift.training import Prepared

        with step("importing torch and MLflow"):
            import metalearner  # noqa: F401
            from backtests import tracking

        given, settings = configured(self, self.config)
        ready = Prepared.of(given, self.source, settings, self.config)
        folder = writable(self.out or f"models/{steps.plain_name(ready.bars.name)}-{given.learner}")
        regimes, tasks, validation = ready.tasks(given)
        checkpoint = folder / "checkpoint.safetensors"
        if not self.resume and checkpoint.exists() and not (folder / "meta.json").exists():
            console.print(f"Starting over. {folder} contains an interrupted training; use --resume to continue it.")
        with (
            kept(f"progress is saved in {folder}; use --resume to continue", checkpoint),
            tracking.run(f"train {folder.name}", command="train", **vars(given), settings=dict(settings)),
        ):
            tracking.log_bars(tasks.bars, "training", whole=ready.whole)
            steps.train(ready.learner, tasks, validation, folder, resume=self.resume, log=tracking.log_metrics)
        regimes.save(folder / "regimes.json")
        following = command_line(
            "regimeshift", "backtest", self.source, "--models", str(folder), "--start", time_text(ready.where.test),
            *words(given, DataOptions, TradingOptions, leave=("start",)),
        )  # fmt: skip
        console.print(f"Saved {folder}. Next: {following}", markup=False)
