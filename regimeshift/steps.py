"""The steps that commands share, each a call or two into the four packages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from regimeshift.console import console, show
from regimeshift.spans import Spans, spans

if TYPE_CHECKING:
    from backtests import WalkForward
    from backtests.registry import RegisteredStrategy
    from markets import Bars, RegimeDetector, TaskSet
    from metalearner import MetaPolicy
    from strategies import Strategy

# Bars beyond the features' warm-up without which training, validation and test cannot all have any.
SHORTEST = 300
DEMO_LEARNERS = ("rl2", "finetune")


def load_to_learn(source: str) -> Bars:
    """Bars that there are enough of to train, validate and test on."""
    from markets import Features, load

    bars = load(source)
    Features().require(bars, more=SHORTEST)
    return bars


def fit_regimes(bars: Bars, where: Spans, n_regimes: int, seed: int) -> RegimeDetector:
    """A detector fitted on the training years alone."""
    from markets import HiddenMarkovRegimes

    return HiddenMarkovRegimes(n_regimes, seed=seed).fit(bars[: _before(bars, where.validation)])


def cut_tasks(bars: Bars, where: Spans, regimes: RegimeDetector) -> tuple[TaskSet, TaskSet]:
    """Training and validation tasks; nothing of the test span is even held."""
    from markets import Features, TaskSet

    known = bars[: _before(bars, where.test)]
    return TaskSet.from_regimes(known, regimes, warmup=Features().lookback + 1).split(where.validation)


def show_regimes(bars: Bars, regimes: RegimeDetector, title: str) -> None:
    """Print the regimes of `bars` as the filter saw them."""
    from markets.regimes.page import described

    show(described(regimes.filter(bars).table(bars)), title, "regime")


def train(
    learner: str,
    tasks: TaskSet,
    validation: TaskSet,
    folder: Path,
    *,
    steps: int,
    costs: str,
    seed: int,
    resume: bool,
    log,
    device: str = "auto",
) -> MetaPolicy:
    """Meta-train and save to `folder`."""
    from markets import Costs
    from metalearner import LEARNERS, Pathwise, Training

    options = {
        "training": Training(steps=steps, seed=seed, device=device),
        "objective": Pathwise(costs=Costs.parse(costs)),
    }
    meta = LEARNERS[learner](**options).fit(
        tasks, validation, checkpoint=folder / "checkpoint.safetensors", resume=resume, log=log
    )
    meta.save(folder)
    tell_shrink(meta)
    return meta


def test_span(bars: Bars, metas: Sequence[MetaPolicy | RegisteredStrategy], start: str | None) -> Bars:
    """The bars to test on: none that a model has learnt from.

    Raises
    ------
    InputError
        When `start` lies in what a model has seen, or nothing comes after it.
    """
    from markets import InputError

    seen = max((meta.seen_until for meta in metas if meta.seen_until is not None), default=None)
    if seen is None:
        return bars[start:] if start else bars[spans(bars, None, None).test :]
    if seen >= bars.index[-1]:
        raise InputError(
            f"the models have learnt from bars up to {seen}, and {bars.name} ends at {bars.index[-1]}: no test is left"
        )
    span = bars[start:] if start else bars[bars.index.searchsorted(seen, side="right") :]
    if span.index[0] <= seen:
        raise InputError(f"--start {start}: the models have learnt from bars up to {seen}; start later")
    return span


def tell_shrink(meta: MetaPolicy) -> None:
    """Say how much of the tilt validation supports."""
    share, base = float(meta.policy.shrink), meta.policy.settings.base.replace("_", " ")
    if share == 0:
        console.print(f"{meta.name}: validation does not support a tilt, so it holds its base ({base}).")
    else:
        console.print(f"{meta.name}: validation supports {share:.0%} of the tilt on its base ({base}).")


def trained(text: str) -> MetaPolicy | RegisteredStrategy:
    """A trained model: from its folder, or from the registry as models:/NAME@ALIAS or models:/NAME/VERSION."""
    if text.startswith("models:/"):
        from backtests import registry

        return registry.load(text)
    from metalearner import load_meta

    return load_meta(text)


def strategy_maker(text: str) -> Callable[[], Strategy | MetaPolicy]:
    """What makes a strategy anew: from a user's file, a trained model or a rule's name."""
    from strategies.named import strategy_from_name
    from strategies.user_file import load_strategy

    if ".py:" in text:
        return load_strategy(text)  # the file runs once, the strategy is made anew each time
    if text.startswith("models:/") or Path(text).is_dir():
        meta = trained(text)
        return lambda: meta
    return lambda: strategy_from_name(text)


def show_result(result: WalkForward) -> None:
    """Print the table of metrics."""
    from backtests.metrics import SHORT, formatted

    bars = result.bars
    title = f"{bars.name}, {bars.index[0]:%Y-%m-%d} to {bars.index[-1]:%Y-%m-%d}, net of costs"
    show(formatted(result.table()[list(SHORT)]), title, "strategy")


def _before(bars: Bars, time):
    """The last bar time before `time`."""
    return bars.index[bars.index.searchsorted(time) - 1]
