"""``regimeshift train``: meta-train a learner on regime tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro


@dataclass
class Train:
    """Meta-train a learner on the regimes of a data set, and save the model.

    Bars from --test on are not used; they are for `regimeshift backtest`. To continue an interrupted training, run the same
    command with --resume; the result is bit-identical to that of an uninterrupted run.
    """

    source: Annotated[str, tyro.conf.Positional] = "stocks"
    """Data set: stocks, sp500, nasdaq, a CSV or Parquet file or folder, yfinance:SPY,QQQ or ccxt:binance:BTC/USDT:1h."""
    learner: Literal["rl2", "latent", "maml", "anil", "cavia", "reptile", "finetune", "scratch", "rolling"] = "rl2"
    """Adapting through a memory: rl2 (recurrent), latent (belief over the regime).
    Adapting by gradient steps from meta-trained weights: maml, anil (output layer), cavia (context vector), reptile.
    Adapting by gradient steps from pre-trained weights: finetune; from random weights: scratch, rolling (last 1,008 bars)."""
    out: str | None = None
    """Folder for the model; by default models/DATA-LEARNER."""
    validation: str | None = None
    """Start of validation, such as 2000 or 2000-01-31.
    By default after 30 % of the data (without the features' warm-up), or at the nearest 1 January with ten years or more."""
    test: str | None = None
    """Start of the test, which training does not use; by default after 55 % of the data, likewise."""
    n_regimes: int = 3
    """Number of regimes."""
    steps: int = 300
    """Training steps; not used by scratch and rolling, which have no meta-training (and nothing to resume)."""
    costs: str = "10bp"
    """Trading costs per side, such as 10bp or 0.1%."""
    seed: int = 0
    """Random seed; the same seed gives a bit-identical model."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device to train on."""
    resume: bool = False
    """Continue an interrupted training."""

    def run(self) -> None:
        from backtests import tracking
        from regimeshift import steps
        from regimeshift.console import console, kept, writable
        from regimeshift.spans import spans

        bars = steps.load_to_learn(self.source)
        where = spans(bars, self.validation, self.test)
        folder = writable(self.out or f"models/{bars.name}-{self.learner}")
        regimes = steps.fit_regimes(bars, where, self.n_regimes, self.seed)
        tasks, validation = steps.cut_tasks(bars, where, regimes)
        console.print(
            f"{len(tasks)} training tasks, {len(validation)} validation tasks from {where.validation:%Y-%m-%d}"
        )
        checkpoint = folder / "checkpoint.safetensors"
        if not self.resume and checkpoint.exists() and not (folder / "meta.json").exists():
            console.print(f"Starting over. {folder} contains an interrupted training; use --resume to continue it.")
        with (
            kept(f"progress is saved in {folder}; use --resume to continue", checkpoint),
            tracking.run(f"train {folder.name}", command="train", **vars(self)),
        ):
            tracking.log_bars(tasks.bars, "training", whole=bars)
            steps.train(
                self.learner, tasks, validation, folder,
                steps=self.steps, costs=self.costs, seed=self.seed, resume=self.resume, log=tracking.log_metrics,
                device=self.device,
            )  # fmt: skip
        regimes.save(folder / "regimes.json")
        console.print(
            f"Saved {folder}. Next: regimeshift backtest {self.source} --models {folder} --start {where.test:%Y-%m-%d}"
        )
