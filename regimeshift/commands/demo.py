"""``regimeshift demo``: the whole workflow, from prices to a registered champion model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from regimeshift.options import DataOptions, EvidenceOptions, LearningOptions, TradingOptions, words


@dataclass
class Demo(EvidenceOptions, TradingOptions, DataOptions):
    """Run the whole workflow on real prices: regimes, tasks, meta-training, walk-forward, MLflow, registry, report.

    What adapts is risk: estimates of volatilities and correlations, how fast they forget, and with them the portfolio of least
    variance. With one symbol, or --utility certainty_equivalent, how much to hold is adapted too. The same learner is then
    measured in a synthetic market, beside its known optimum.

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
    n_regimes: int | None = None
    """Number of regimes; by default 3, or fewer if there are not 20 bars to fit each on."""
    steps: int = 150
    """Training steps."""
    utility: Literal["minimum_variance", "certainty_equivalent"] = "minimum_variance"
    """What training maximises. minimum_variance: minus the variance of a fully invested portfolio. certainty_equivalent: mean
    less 5 / 2 times the variance, per year, for which how much to hold is learnt too; always so with a single symbol."""
    every: int | None = None
    """Bars between adaptations in the walk-forward; by default a quarter of daily or longer bars, or 63 shorter ones."""
    seed: int = 0
    """Random seed; the same seed gives bit-identical models, metrics and report."""

    def run(self) -> None:
        from regimeshift import gains, steps
        from regimeshift.console import command_line, console, step, writable
        from regimeshift.spans import spans
        from regimeshift.windows import Windows

        with step("importing torch and MLflow"):
            from backtests import registry, tracking, walk_forward
            from strategies import BuyAndHold, EqualWeight, InverseVolatility, Momentum

        costs, execution = self.charged(), self.limits()
        whole = self.load(self.data)
        bars = whole.without_empty()  # rows on which nothing trades are no bars to learn from
        windows = Windows.of(bars, self.lookback)
        steps.require(bars, windows)
        where = spans(bars, self.validation, self.test, windows.lookback)
        weighs = self.utility == "certainty_equivalent" or bars.shape[1] == 1  # whose only weight is how much to hold
        learning = LearningOptions(
            evidence=self.evidence,
            lookback=self.lookback,
            utility="certainty_equivalent" if weighs else "mean_variance",
        )
        learner = steps.build_learner("risk", windows, learning, self, steps=self.steps, seed=self.seed, device="auto")
        out, plain = writable(self.out), steps.plain_name(bars.name)
        console.rule(f"1. Data and regimes: {bars.name}", align="left")
        regimes = steps.fit_regimes(bars, where, self.n_regimes, self.seed)
        test = whole[where.test :]
        steps.show_regimes(past := bars[: where.validation], regimes, f"Fitted on {_span(past)}")
        steps.show_regimes(test, regimes, f"As seen live from {_span(test)}")

        console.rule("2. Tasks", align="left")
        tasks, validation = steps.cut_windows(bars, where, windows)
        steps.tell_tasks(tasks, validation, where)

        name = f"{plain}-risk"
        with tracking.run(f"demo {bars.name}", command="demo", **vars(self)):
            tracking.log_bars(tasks.bars, "training", whole=whole)
            tracking.log_bars(test, "test")
            console.rule("3. Meta-training", align="left")
            folder = out / "models" / name
            with tracking.child("train risk", "Training of adaptive risk; the curves are utilities per bar."):
                risk = steps.train(learner, tasks, validation, folder, resume=False, log=tracking.log_metrics)
            regimes.save(folder / "regimes.json")

            console.rule("4. Walk-forward on the test years, on which nothing was fitted", align="left")
            control, base = risk.unadapted(), risk.shrunk(0.0, "static pool")
            rules = [InverseVolatility(windows.volatility), EqualWeight(), BuyAndHold(), Momentum(windows.year)]
            result = walk_forward(
                [risk, control, base, *rules],
                test, costs=costs, execution=execution, regimes=regimes.filter(test),
                every=windows.quarter if self.every is None else self.every,
            )  # fmt: skip
            verdict = steps.judge(result)
            steps.show_result(result, verdict)
            tracking.log_metrics(gains.show_gains(result, risk.name, (control.name, base.name), of_variance=not weighs))
            with step("writing and logging the report"):
                report = result.report(out / "report.html", notes=NOTES, verdict=verdict)
                tracking.log_result(result, report, verdict)

            console.rule("5. The same learner where the optimum is known", align="left")
            share = gains.show_share(self.seed, self.steps)
            tracking.log_metrics({"share_of_optimum": share.share, "share_of_optimum/error": share.error})

            console.rule("6. Registry", align="left")
            with step(f"registering {name}"):
                version = registry.register(name, risk, result)
            with step("passing the gates"):
                text = _promoted(version)
        console.print(text, markup=False)
        console.print(f"\nReport: {report.resolve()}\n\nNext:", markup=False)
        part = words(self, DataOptions, leave=("start", "end"))
        for line in (
            command_line("regimeshift", "signal", "--model", name, "--bars", self.data, *part),
            command_line("regimeshift", "ui"),
            command_line("regimeshift", "serve", name),
            command_line("regimeshift", "demo", "--data", "YOUR.csv"),
        ):  # fmt: skip
            console.print(f"  {line}", markup=False)


NOTES = (
    "“adaptive risk” decides by estimates of volatilities and correlations that follow the market. What it has learnt, such "
    "as how fast to forget, is scaled by the factor selected on validation tasks; without enough evidence the factor is 0, and "
    "it holds its base.",
    "“unadapted” is the control: a policy of the same family, trained with frozen estimates, which stay those of the last bar "
    "before the test.",
    "“static pool” is its base: the same estimates, all half-lives weighed alike.",
)


def _promoted(version) -> str:
    """Promote a version, and say what came of it."""
    from backtests import registry
    from backtests.gates import BINDING

    try:
        difference = registry.promote(version).difference
    except registry.NotPromoted as refusal:
        if any(gate.name in BINDING and gate.passed is False for gate in refusal.gates):
            raise
        return f"Registered. The champion stays: {refusal}"  # of an earlier demo
    return f"{version.uri}: a new process reproduces its weights (largest difference {difference:.1e}); it is now the champion."


def _span(bars) -> str:
    return f"{bars.index[0]:%Y-%m-%d} to {bars.index[-1]:%Y-%m-%d}"
