"""``regimeshift train``: meta-train a learner on regime tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro


@dataclass
class Train:
    """Meta-train a learner on the regimes of a data set, and save the model.

    The bars from --test on are left alone: they are for `regimeshift backtest`. Interrupted? Run it again with --resume: the
    result is the same to the bit.
    """

    source: Annotated[str, tyro.conf.Positional] = "stocks"
    """stocks, sp500, nasdaq, a file or a folder of CSV or Parquet, yfinance:SPY,QQQ or ccxt:binance:BTC/USDT:1h."""
    learner: Literal["rl2", "latent", "maml", "anil", "cavia", "reptile", "finetune", "scratch", "rolling"] = "rl2"
    """By reading: rl2 (a memory), latent (a belief). By gradient steps: maml, anil (output layer), cavia (context vector) and
    reptile from a learnt start; finetune from a pre-trained one; scratch and rolling (1,008 bars) from none."""
    out: str | None = None
    """Folder of the model; by default models/DATA-LEARNER."""
    validation: str | None = None
    """First time of validation, as 2000 or 2000-01-31; by default after 30 % of the bars (their warm-up left out), with ten years
    or more at the turn of a year."""
    test: str | None = None
    """First time that training must not see; by default after 55 %, likewise."""
    n_regimes: int = 3
    """Number of regimes."""
    steps: int = 300
    """Updates; scratch and rolling make none before they adapt, and have nothing to resume."""
    costs: str = "10bp"
    """Trading cost a side, as 10bp or 0.1%."""
    seed: int = 0
    """Gives the same model again, to the bit."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the network is trained."""
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
            console.print(f"Starting over: {folder} has an interrupted training, which --resume would continue.")
        with (
            kept(f"{folder} keeps what was learnt; --resume continues it", checkpoint),
            tracking.run(f"train {folder.name}", command="train", **vars(self)),
        ):
            tracking.log_bars(tasks.bars, "training")
            steps.train(
                self.learner, tasks, validation, folder,
                steps=self.steps, costs=self.costs, seed=self.seed, resume=self.resume, log=tracking.log_metrics,
                device=self.device,
            )  # fmt: skip
        regimes.save(folder / "regimes.json")
        console.print(
            f"Saved {folder}. Next: regimeshift backtest {self.source} --models {folder} --start {where.test:%Y-%m-%d}"
        )
