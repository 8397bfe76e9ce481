"""The steps that commands share, each a call or two into the four packages."""

from __future__ import annotations

import re
import unicodedata
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markets.common.words import count
from regimeshift.console import console, listing, say, show, step
from regimeshift.spans import Spans, spans

if TYPE_CHECKING:
    from backtests import WalkForward
    from backtests.engine.task_cuts import RegimeTasks
    from backtests.headroom import Headroom, Reached
    from backtests.registry import RegisteredStrategy
    from backtests.significance import Verdict
    from markets import Bars, RegimeDetector, RegimePath, TaskSet
    from metalearner import Across, MetaLearner, MetaPolicy
    from regimeshift.options import LearningOptions, TradingOptions
    from regimeshift.windows import Windows
    from strategies import Strategy


def require(bars: Bars, windows: Windows) -> None:
    """Check that there are enough bars to train, validate and test on.

    Raises
    ------
    InputError
        When there are not. The message says how many are needed, and the --lookback that needs no more than there are.
    """
    from markets import InputError

    features, have, needed = windows.features, len(bars) + bars.past, windows.needed
    if have >= needed:
        features.require(bars)
        return
    shortest = windows.lookback - (needed - have)
    hint = f"use --lookback {shortest} or less, or more bars" if shortest >= 4 else "use more bars"
    raise InputError(
        f"{bars.name} has {count(have, 'bar')}, but {needed:,} are needed: {windows.lookback} to warm up the features "
        f"(--lookback), and {needed - windows.lookback} to train, validate and test; {hint}"
    )


def fit_regimes(bars: Bars, where: Spans, n_regimes: int | None, seed: int) -> RegimeDetector:
    """A detector fitted on the training years alone."""
    from markets import HiddenMarkovRegimes

    past = bars[: _before(bars, where.validation)]
    with step("fitting regimes"):
        n_regimes = usual_regimes(past) if n_regimes is None else n_regimes
        return HiddenMarkovRegimes(n_regimes, seed=seed).fit(past)


def detector_before(span: Bars) -> RegimeDetector | None:
    """A detector fitted on the bars before `span`; None if these are too few."""
    from markets import HiddenMarkovRegimes, InputError

    if span.past < 250:
        return None
    past = span.rows(0, span.past)
    with step("fitting regimes"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that they hardly differ can be seen in the report
        try:
            return HiddenMarkovRegimes(usual_regimes(past)).fit(past)
        except InputError:
            return None


def regimes_before(span: Bars) -> RegimePath | None:
    """The regimes of `span` as they were seen live by a detector fitted on the bars before it; None if these are too few."""
    detector = detector_before(span)
    return None if detector is None else detector.filter(span)


def usual_regimes(past: Bars) -> int:
    """Three regimes, or as many as have 20 returns each."""
    return max(min(3, (len(past) + past.past - 1) // 20), 1)


def cut_tasks(bars: Bars, where: Spans, regimes: RegimeDetector, windows: Windows) -> tuple[TaskSet, TaskSet]:
    """Training and validation tasks; nothing of the test span is even held."""
    from markets import TaskSet

    known = bars[: _before(bars, where.test)]
    tasks = TaskSet.from_regimes(
        known, regimes, support=windows.task, query=windows.task, shortest=windows.shortest, warmup=windows.lookback + 1
    )
    return tasks.split(where.validation, purge=windows.of_daily(5, 2))


def cut_windows(bars: Bars, where: Spans, windows: Windows) -> tuple[TaskSet, TaskSet]:
    """Training and validation tasks for a learner whose estimates adapt; nothing of the test span is even held.

    They are rolling windows, in which the regime may change: one whose task ends with the regime never needs to adapt.
    """
    from markets import TaskSet

    known = bars[: _before(bars, where.test)]
    tasks = TaskSet.from_windows(known, support=windows.shortest, query=windows.query, warmup=windows.lookback + 1)
    return tasks.split(where.validation, purge=windows.of_daily(5, 2))


def task_cut(windows: Windows) -> RegimeTasks:
    """How learners that are trained within a backtest cut their tasks: as those of `cut_tasks`, at each fold."""
    from backtests.engine.task_cuts import RegimeTasks
    from markets import HiddenMarkovRegimes

    return RegimeTasks(
        HiddenMarkovRegimes(3), support=windows.task, query=windows.task, shortest=windows.shortest,
        warmup=windows.lookback + 1, validation=0.4, purge=windows.of_daily(5, 2),
    )  # fmt: skip


def tell_tasks(tasks: TaskSet, validation: TaskSet, where: Spans) -> None:
    """Say how many tasks there are."""
    console.print(
        f"{count(len(tasks), 'training task')}, {count(len(validation), 'validation task')} from {where.validation:%Y-%m-%d}"
    )


def show_regimes(bars: Bars, regimes: RegimeDetector, title: str) -> None:
    """Print the regimes of `bars` as the filter saw them."""
    from markets.regimes.page import described

    path = regimes.filter(bars)
    left_out = regimes.left_out(path)
    show(described(path.table(bars)), f"{title}; {left_out}" if left_out else title, "regime")


def show_supported(bars: Bars) -> None:
    """Print how many hidden Markov regimes `bars` support."""
    from markets import supported_regimes

    with step("counting regimes"):
        found = supported_regimes(bars)
    bic = found.table["BIC"]
    others = ", ".join(f"{k}: +{more:,.0f}" for k, more in (bic - bic.min()).items() if k != found.n_regimes)
    console.print(
        f"The fitted bars support {count(found.n_regimes, 'regime')} by BIC"
        + (f" (above it, {others})." if others else ".")
    )


def build_learner(
    name: str,
    windows: Windows,
    learning: LearningOptions,
    trading: TradingOptions,
    *,
    steps: int,
    seed: int,
    device: str,
) -> MetaLearner:
    """A learner by its name, with windows that suit the bars."""
    from metalearner import LEARNERS, CertaintyEquivalent, MeanVariance, Pathwise
    from metalearner.learners.inner_loop import GradientLearner
    from strategies import PolicySettings, PortfolioSettings

    learner = LEARNERS[name]()
    assert isinstance(learner.objective, Pathwise)
    objective = replace(learner.objective, costs=trading.charged(), execution=trading.limits())
    tested = learning.evidence is not None
    training = replace(
        learner.training, steps=steps, seed=seed, device=device, evidence=learning.evidence,
        on_validation=learner.training.on_validation and not tested,
    )  # fmt: skip
    averse = learning.utility == "certainty_equivalent"
    if isinstance(learner.policy, PortfolioSettings):
        portfolio = replace(learner.policy, limit=trading.leverage, pool=windows.pool)
        if averse:  # then how much to hold is learnt too
            portfolio = replace(portfolio, exposure="target")
            objective = replace(objective, utility=CertaintyEquivalent())
        return replace(learner, policy=portfolio, objective=objective, training=training)
    objective = replace(objective, utility=CertaintyEquivalent() if averse else MeanVariance())
    learner = replace(learner, training=training, objective=objective)
    assert isinstance(learner.policy, PolicySettings)
    policy = replace(
        learner.policy, base=learning.base, base_window=windows.volatility, features=windows.features, limit=trading.leverage
    )  # fmt: skip
    options: dict[str, Any] = {"policy": policy, "context": windows.of_daily(learner.context, 12)}
    if isinstance(learner, GradientLearner):
        options["inner"] = replace(learner.inner, support=windows.of_daily(learner.inner.support, 24))
    return replace(learner, **options)


def with_teachers(
    learner: MetaLearner, names: Sequence[str], bars: Bars, where: Spans, windows: Windows
) -> MetaLearner:
    """The learner with the teachers of ``--teachers``, each adapted to the bars before validation.

    Raises
    ------
    InputError
        When the learner takes none, or one is unknown or cannot be adapted; the message names the option.
    """
    from markets import InputError
    from metalearner import RL2, Teachers
    from regimeshift.console import naming
    from strategies.named import strategy_from_name

    if not isinstance(learner, RL2):
        raise InputError(f"--teachers: {learner.name} takes none; use --learner rl2 or latent, or leave them out")
    known, teachers = bars[: _before(bars, where.validation)], []
    for name in names:
        with naming(f"--teachers {name}"):
            rule = not (".py:" in name or name.startswith("models:/") or Path(name).is_dir())
            found = strategy_from_name(name, windows.year, windows.volatility) if rule else strategy_maker(name)()
            teachers.append(found.adapt(known))
    return replace(learner, teachers=Teachers(tuple(teachers)))


def require_learner(name: str) -> None:
    """Check the name of a learner, before anything is computed.

    Raises
    ------
    InputError
        When it is unknown.
    """
    from markets import InputError
    from metalearner import LEARNERS

    if name not in LEARNERS:
        raise InputError(f"unknown learner; use {', '.join(LEARNERS)}")


def reached_by(name: str, found: Headroom, seed: int) -> Reached:
    """What a learner reaches of the headroom, trained on some of the markets like the user's and judged in others."""
    from backtests.headroom import Twin, reached
    from metalearner.evaluation import exposure_learner
    from metalearner.learners.inner_loop import GradientLearner
    from regimeshift.windows import Windows
    from strategies import PortfolioSettings

    twin = Twin.of(found, seed=seed)
    windows = Windows.of(twin.sample)
    learner = exposure_learner(
        name, costs=twin.costs, execution=twin.execution, risk_aversion=twin.problem.risk_aversion, pool=windows.pool,
        features=windows.features, volatility=windows.volatility, seed=seed,
    )  # fmt: skip
    estimates = isinstance(learner.policy, PortfolioSettings)  # which need no support, and longer queries
    support, query = (windows.shortest, windows.query) if estimates else (windows.task, windows.task)
    warmup = windows.pool.lookback if estimates else windows.lookback + 1  # no task reads two markets
    meta = learner.fit(*twin.tasks(support=support, query=query, warmup=warmup))
    by_gradient = isinstance(learner, GradientLearner)  # adapts each quarter, which takes long: so on fewer bars
    twin = replace(twin, span=4 * windows.year) if by_gradient else twin
    return reached(twin, meta, every=windows.quarter if by_gradient else 0)


def train(
    learner: MetaLearner,
    tasks: TaskSet | Across,
    validation: TaskSet,
    folder: Path,
    *,
    resume: bool,
    log: Callable[..., None],
) -> MetaPolicy:
    """Meta-train and save to `folder`."""
    meta = learner.fit(tasks, validation, checkpoint=folder / "checkpoint.safetensors", resume=resume, log=log)
    meta.save(folder)
    console.print(meta.remark)
    return meta


def rules_from_names(
    names: list[str], bars: Bars, windows: Windows, *, required: bool = True, started: bool = False
) -> list[Strategy]:
    """The rules of ``--strategies``, with windows that suit the bars; ``all`` is every one that there are bars for.

    Parameters
    ----------
    names : list of str
    bars : Bars
    windows : Windows
    required : bool
        Whether those that are named must have enough bars to warm up; if not, those that have not are left out.
    started : bool
        Whether it is known where the test starts. If not, it starts after the longest warm-up, and of ``all`` those that take
        more than half of the bars are left out, so that they do not cut the test of the others short.

    Raises
    ------
    InputError
        When one is unknown, or there are too few bars to warm it up.
    """
    from markets import InputError
    from strategies.named import ALL, strategy_from_name

    have = len(bars) + bars.past
    most = have - 1 if started else have // 2
    listed = dict.fromkeys(name for each in names for name in (ALL if each == "all" else (each,)))
    found = [(name, strategy_from_name(name, windows.year, windows.volatility)) for name in listed]
    rules: list[Strategy] = []
    for name, rule in found:
        if rule.warmup > most and (not required or ("all" in names and name not in names)):
            of = f" of {have:,}" if rule.warmup < have else ""
            hint = "" if started or rule.warmup >= have else f"; to run it too, give --from, or add --strategies {name}"
            say(f"Left out: {rule.name}, which needs {count(rule.warmup, 'bar')}{of} to warm up{hint}.")
            continue
        if rule.warmup >= have:
            shorter = f"{name.partition(':')[0]}:{max(have // 2, 2)}"
            hint = (
                "use more bars"
                if ".py:" in name
                else f"write a shorter window, as in --strategies {shorter}, or use more bars"
            )
            raise InputError(
                f"{rule.name} needs {count(rule.warmup, 'bar')} to warm up, but {bars.name} has {have:,}; {hint}"
            )
        rules.append(rule)
    return rules


def require_named(rules: Sequence[str], models: Sequence[str]) -> None:
    """Check the names of ``--strategies`` and the folders of ``--models``, before the data are read.

    Raises
    ------
    InputError
        When a rule is unknown, or a file or folder has none; the message names the option.
    """
    from markets import InputError
    from regimeshift.console import naming
    from strategies.named import strategy_from_name

    for rule in rules:
        if rule == "all":
            continue
        with naming(f"--strategies {rule}"):
            file, _, _ = rule.rpartition(":")
            if not file.endswith(".py"):
                strategy_from_name(rule)
            elif not Path(file).is_file():  # it runs later, once
                raise InputError(f"{file}: no such file")
    for model in models:
        if not model.startswith("models:/") and not (Path(model) / "meta.json").exists():
            with naming("--models"):
                trained(model)


def test_span(bars: Bars, metas: Sequence[MetaPolicy | RegisteredStrategy], start: str | None, warmup: int) -> Bars:
    """The bars to test on: none that a model has learnt from. Without models, by default those of `spans` after `warmup` bars.

    Raises
    ------
    InputError
        When `start` lies in what a model has seen, or nothing comes after it.
    """
    from markets import InputError
    from markets.bars.time_spans import moment

    zone = bars.index.tz
    learnt = [
        moment(f"{meta.name}: seen_until", meta.seen_until, zone) for meta in metas if meta.seen_until is not None
    ]
    seen = max(learnt, default=None)
    if seen is None:
        return bars[start:] if start else bars[spans(bars, None, None, warmup).test :]
    if seen >= bars.index[-1]:
        raise InputError(
            f"the models have learnt from bars up to {seen}, and {bars.name} ends at {bars.index[-1]}: no test is left"
        )
    span = bars[start:] if start else bars[bars.index.searchsorted(seen, side="right") :]
    if span.index[0] <= seen:
        raise InputError(f"--start {start}: the models have learnt from bars up to {seen}; start later")
    return span


def trained(text: str) -> MetaPolicy | RegisteredStrategy:
    """A trained model: from its folder, or from the registry as models:/NAME@ALIAS or models:/NAME/VERSION."""
    if text.startswith("models:/"):
        from backtests import registry

        return registry.load(text)
    from metalearner import load_meta

    return load_meta(text)


def adaptive(model: str | None, strategy: str | None) -> Any:
    """What adapts: a trained model from its folder, or else a rule or a strategy of a user's own file."""
    if model is not None:
        return trained(model)
    assert strategy is not None
    return strategy_maker(strategy)()


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


def refuse_lookahead(strategy: Strategy | MetaPolicy, bars: Bars, every: int) -> None:
    """Refuse a strategy that a backtest would refuse for looking ahead, before it is run many times without that check.

    Raises
    ------
    InputError
        When rows of its plan change without the bars after them.
    """
    from backtests import walk_forward

    walk_forward([strategy], bars, every=every)


def judge(result: WalkForward) -> Verdict:
    """The verdict on a result that is not logged yet, with the trials that MLflow's history counts."""
    from backtests import tracking
    from backtests.significance import verdict

    with step("weighing luck"):
        return verdict(result, trials=tracking.count_trials(result))


def show_result(result: WalkForward, verdict: Verdict | None = None) -> None:
    """Print the metrics of the distinct accounts, the verdict on each, and the remarks."""
    import pandas as pd

    from backtests.metrics import HEADS, SHORT, formatted
    from backtests.report.remarks import grouped, remarks

    bars = result.bars
    title = f"{bars.name}, {bars.index[0]:%Y-%m-%d} to {bars.index[-1]:%Y-%m-%d}, net of costs"
    table = pd.DataFrame({head.name: head.metrics for head, _ in grouped(result.backtests)}).T
    show(formatted(table[list(SHORT)]).rename(columns=HEADS), title, "strategy", "the report has all columns")
    if verdict is not None:
        rows = [(name, verdict.sentences[name]) for name in table.index]
        listing(
            ("strategy", f"verdict, with {count(verdict.trials.count, 'trial')} on these data"),
            rows,
            ("",) * len(rows),
            boxed=False,
        )
    for remark in remarks(result.backtests):
        say(remark)


def plain_name(text: str) -> str:
    """`text` as a name for folders, the registry and shells: ASCII letters, digits, dots, hyphens and underscores."""
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^\w.-]+", "-", ascii_text).strip("-.") or "data"


def _before(bars: Bars, time):
    """The last bar time before `time`."""
    return bars.index[bars.index.searchsorted(time) - 1]
