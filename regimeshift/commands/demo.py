"""``regimeshift demo``: from prices to a champion."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Demo:
    """The whole way on real prices: regimes, tasks, meta-training, walk-forward, MLflow, registry, report.

    Your own data: a CSV or Parquet file, either wide (a time column, then one column of closes a symbol) or long (columns
    time, symbol, open, high, low, close, volume, of which only time and close are needed).
    """

    data: str = "stocks"
    """stocks, sp500, nasdaq, a file or a folder of CSV or Parquet, yfinance:SPY,QQQ or ccxt:binance:BTC/USDT:1h."""
    out: str = "."
    """Folder for the report and the model."""
    validation: str | None = None
    """First time of validation, as 2000 or 2000-01-31; by default after 30 % of the bars (their warm-up left out), with ten years
    or more at the turn of a year."""
    test: str | None = None
    """First time of the test; by default after 55 %, likewise."""
    n_regimes: int = 3
    """Number of regimes."""
    steps: int = 300
    """Updates of each learner."""
    costs: str = "10bp"
    """Trading cost a side, as 10bp or 0.1%."""
    every: int = 63
    """Bars from one adaptation to the next in the walk-forward."""
    seed: int = 0
    """Gives the same models, metrics and report again, to the bit."""

    def run(self) -> None:
        from backtests import registry, tracking, walk_forward
        from regimeshift import steps
        from regimeshift.console import command_path, console, writable
        from regimeshift.spans import spans
        from strategies import BuyAndHold, EqualWeight, InverseVolatility, Momentum

        bars = steps.load_to_learn(self.data)
        where = spans(bars, self.validation, self.test)
        out = writable(self.out)
        console.rule(f"1. Data and regimes: {bars.name}", align="left")
        regimes = steps.fit_regimes(bars, where, self.n_regimes, self.seed)
        test = bars[where.test :]
        steps.show_regimes(past := bars[: where.validation], regimes, f"Fitted on {_span(past)}")
        steps.show_regimes(test, regimes, f"As seen live from {_span(test)}")

        console.rule("2. Tasks", align="left")
        tasks, validation = steps.cut_tasks(bars, where, regimes)
        console.print(
            f"{len(tasks)} training tasks; {len(validation)} validation tasks, {where.validation:%Y-%m-%d} on."
        )

        name = f"{bars.name}-rl2"
        with tracking.run(f"demo {bars.name}", command="demo", **vars(self)):
            tracking.log_bars(tasks.bars, "training")
            tracking.log_bars(test, "test")
            console.rule("3. Meta-training", align="left")
            built = {}
            for learner in steps.DEMO_LEARNERS:
                built[learner] = steps.train(
                    learner, tasks, validation, out / "models" / f"{bars.name}-{learner}",
                    steps=self.steps, costs=self.costs, seed=self.seed, resume=False,
                    log=lambda values, step, of=learner: tracking.log_metrics({f"{of}/{k}": v for k, v in values.items()}, step),
                )  # fmt: skip
            regimes.save(out / "models" / name / "regimes.json")

            console.rule("4. Walk-forward on years that nothing was fitted on", align="left")
            rl2 = built["rl2"]
            rules = [InverseVolatility(), EqualWeight(), BuyAndHold(), Momentum(252)]
            result = walk_forward(
                [rl2, rl2.unadapted(), rl2.shrunk(1.0, "RL2, whole tilt"), built["finetune"], *rules],
                test, costs=self.costs, every=self.every, regimes=regimes.filter(test),
            )  # fmt: skip
            steps.show_result(result)
            report = result.report(out / "report.html", notes=NOTES)
            tracking.log_result(result, report)

            console.rule("5. Registry", align="left")
            version = registry.register(name, rl2, result)
            difference = registry.promote(version)
        console.print(f"{version.uri}: a fresh process gets the same weights (difference {difference:.1e}): champion.")
        console.print(f"\nReport: {report.resolve()}\n\nNext:")
        ours, mlflow = (command_path(name) for name in ("regimeshift", "mlflow"))
        serve = f"models serve -m models:/{name}@champion --env-manager local"
        for line in (
            f"{ours} signal --model {name} --bars {self.data}",
            f"{ours} ui",
            f"MLFLOW_TRACKING_URI=sqlite:///mlruns/mlflow.db {mlflow} {serve}",
            f"{ours} demo --data YOUR.csv",
        ):
            console.print(f"  {line}")


NOTES = (
    "“RL2” is the recurrent policy with the share of its tilt that validation supports; with no evidence it holds its base, "
    "inverse volatility.",
    "“unadapted” is the same policy with its memory cleared at every bar.",
    "“whole tilt” is what it would have done had validation not been asked.",
)


def _span(bars) -> str:
    return f"{bars.index[0]:%Y-%m-%d} to {bars.index[-1]:%Y-%m-%d}"
