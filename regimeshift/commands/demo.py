"""``regimeshift demo``: the whole workflow, from prices to a registered champion model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Demo:
    """Run the whole workflow on real prices: regimes, tasks, meta-training, walk-forward, MLflow, registry, report.

    To use your own data, pass a CSV or Parquet file, either wide (a time column and one column of closes per symbol) or long
    (columns time, symbol, open, high, low, close, volume, of which only time and close are required).
    """

    data: str = "stocks"
    """Data set: stocks, sp500, nasdaq, a CSV or Parquet file or folder, yfinance:SPY,QQQ or ccxt:binance:BTC/USDT:1h."""
    out: str = "."
    """Folder for the report and the models."""
    validation: str | None = None
    """Start of validation, such as 2000 or 2000-01-31.
    By default after 30 % of the data (without the features' warm-up), or at the nearest 1 January with ten years or more."""
    test: str | None = None
    """Start of the test; by default after 55 % of the data, likewise."""
    n_regimes: int = 3
    """Number of regimes."""
    steps: int = 300
    """Training steps of each learner."""
    costs: str = "10bp"
    """Trading costs per side, such as 10bp or 0.1%."""
    every: int = 63
    """Bars between adaptations in the walk-forward."""
    seed: int = 0
    """Random seed; the same seed gives bit-identical models, metrics and report."""

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
            tracking.log_bars(tasks.bars, "training", whole=bars)
            tracking.log_bars(test, "test")
            console.rule("3. Meta-training", align="left")
            built = {}
            for learner in steps.DEMO_LEARNERS:
                with tracking.child(f"train {learner}", f"Training of {learner}; the curves are utilities per bar."):
                    built[learner] = steps.train(
                        learner, tasks, validation, out / "models" / f"{bars.name}-{learner}",
                        steps=self.steps, costs=self.costs, seed=self.seed, resume=False, log=tracking.log_metrics,
                    )  # fmt: skip
            regimes.save(out / "models" / name / "regimes.json")

            console.rule("4. Walk-forward on the test years, on which nothing was fitted", align="left")
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
        console.print(
            f"{version.uri}: a new process reproduces its weights (largest difference {difference:.1e}); it is now the champion."
        )
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
    "“RL2” is the recurrent policy, with its tilt scaled by the factor selected on validation tasks. Without enough evidence the "
    "factor is 0, and the policy holds its base, inverse volatility.",
    "“unadapted” is the same policy with its memory cleared at every bar.",
    "“whole tilt” is the same policy with the full tilt, whatever validation says.",
)


def _span(bars) -> str:
    return f"{bars.index[0]:%Y-%m-%d} to {bars.index[-1]:%Y-%m-%d}"
