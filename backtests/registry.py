"""The model registry: register a version, let it pass the gates (`backtests.gates`), and only then make it the champion.

What a version is, and how it is loaded, is in `backtests.versions`, whose public names are here, too.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from backtests import moves, tracking
from backtests.contract import DataContract
from backtests.engine.protocols import Adaptive
from backtests.moves import CHAMPION, Move
from backtests.provenance import git_commit, package_versions
from backtests.results import Backtest, Backtests
from backtests.versions import (
    ARTIFACT,
    RegisteredStrategy,
    Version,
    files_of,
    hashes,
    load,
    own_files,
    prove,
    request,
    stored_tags,
    tags_of,
    target_weights,
    unchanged,
    verified,
)
from markets import Bars, InputError
from markets.bars.time_spans import duration, moment
from markets.common.words import few
from strategies import Strategy

if TYPE_CHECKING:
    from backtests.card import ModelCard
    from backtests.certificate import Certificate
    from backtests.gates import Gate, Rules

__all__ = [
    "NAME",
    "NotPromoted",
    "Promotion",
    "RegisteredStrategy",
    "Version",
    "certificate_of",
    "history",
    "load",
    "own_files",
    "promote",
    "prove",
    "register",
    "request",
    "rollback",
    "tags_of",
    "target_weights",
    "verified",
]

NAME = re.compile(r"[\w .-]+")  # of a registered model
DECISIONS = 50  # that are timed before promotion
_REQUIREMENTS = (
    "torch",
    "numba",
    "numpy",
    "pandas",
    "scipy",
    "skfolio",
    "gymnasium",
    "safetensors",
    "cloudpickle",
    "mlflow",
)


@tracking.connected
def register(
    name: str,
    model: Adaptive,
    result: Backtests | None = None,
    *,
    bars: Bars | None = None,
    root: str | Path = "mlruns",
) -> Version:
    """Register `model`, adapted to all of `bars`, as the next version of `name`.

    Parameters
    ----------
    name : str
        Name of the registered model.
    model : Strategy or MetaPolicy
        Anything that a backtest takes: a rule, a blend, a limit, a policy, a strategy of your own file (`load_strategy`). What
        adapts is adapted first.
    result : Backtests, optional
        Must contain a backtest of this model, which is identified by the fingerprint of its weights, not by its name; what has
        none, as a rule, by its name. The
        backtest's metrics, span, costs and execution are stored as tags of the version. Its bars are the default for `bars`.
        Without it, they are taken from the last backtest of this model that was logged to MLflow, if there is one.
    bars : Bars, optional
        Bars to adapt to. They say what the model is made for (`DataContract`), and the decision after the last one is recorded
        for the check before promotion.
    root : path
        MLflow's folder, unless ``MLFLOW_TRACKING_URI`` is set.

    Returns
    -------
    Version

    Raises
    ------
    InputError
        When there are no bars or too few, they end before those that the model was trained on, the model cannot be deployed,
        its name has a champion on other symbols or bars of another length, or the result does not contain it.
    """
    import mlflow

    from backtests.card import ModelCard, describe_version
    from backtests.certificate import certify
    from backtests.deployment import deployable, make_contract
    from strategies.stored import file_hashes, fingerprint

    if not name or not NAME.fullmatch(name):
        raise InputError(f"model name {name!r}: use letters, digits, spaces, dots, hyphens and underscores")
    if bars is None:
        if result is None:
            raise InputError("register needs bars to adapt the model to: pass a result or bars")
        bars = result.bars
    seen = getattr(model, "seen_until", None)
    if seen is not None and bars.index[-1] < moment(f"{model.name}: seen_until", seen, bars.index.tz):
        raise InputError(
            f"{bars.name} ends at {bars.index[-1]}, and {model.name} has learnt from bars up to {seen}; register it on bars that "
            "end then or later"
        )
    strategy = deployable(model.adapt(bars), model.name)
    contract = make_contract(strategy, bars)
    tested = None if result is None else _tested(model, result)
    _check_market(name, contract)
    identity, certificate = fingerprint(strategy), certify(strategy, bars)
    tags = {
        "fingerprint": identity,
        "model_fingerprint": getattr(model, "fingerprint", None) or identity,  # by which its backtests are found
        "bars_needed": contract.needed,
        "adapted_to": bars.index[-1],
        "data": bars.name,
        "data_hash": bars.hash,
        "span_hash": bars.span_hash,
        "symbols": json.dumps(contract.symbols),
        "spacing": contract.spacing,
        "columns": json.dumps(contract.columns),
        "own_files": json.dumps(file_hashes(strategy)),
        "git_commit": git_commit(),
    }
    tags |= {f"package_{k}": v for k, v in package_versions().items()} | _backtest_tags(model, result, tested, bars)
    card = ModelCard(name, model, strategy, contract, bars, certificate, tags, result, tested)
    with _active_run(f"register {name}"):
        uri = _log_model(strategy, contract, card)
    with contextlib.redirect_stderr(io.StringIO()):  # MLflow prints its own messages
        number = mlflow.register_model(uri, name).version
    version, client = Version(name, int(number)), mlflow.MlflowClient()
    for key, value in {"files": json.dumps(hashes(files_of(version))), **tags}.items():
        client.set_model_version_tag(name, number, key, str(value))
    describe_version(name, version.number, card.description(version.number))
    # the last: a version without it is not whole
    client.set_model_version_tag(name, number, "certificate", certificate.text)
    return version


def _check_market(name: str, contract: DataContract) -> None:
    """Raise `InputError` if the champion called `name` was made for other symbols, or for bars of another length."""
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        champion = mlflow.MlflowClient().get_model_version_by_alias(name, CHAMPION)
    except MlflowException:
        return  # there is none yet
    tags = champion.tags
    symbols, spacing = json.loads(tags.get("symbols", "null")), float(tags.get("spacing", contract.spacing))
    if (symbols and set(symbols) != set(contract.symbols)) or not contract.same_spacing(spacing):
        raise InputError(
            f"the champion of {name} was made for {few(symbols or ())} in bars {duration(spacing)} apart, and this model for "
            f"{few(contract.symbols)} in bars {duration(contract.spacing)} apart; register it under another name"
        )


def _tested(model: Adaptive, result: Backtests) -> Backtest:
    """The backtest of this model in a result.

    Raises
    ------
    InputError
        When the result contains none.
    """
    identity = getattr(model, "fingerprint", None)
    same = [b for b in result if b.fingerprint == identity and (identity or b.name == model.name)]
    if not same:
        raise InputError(
            f"the result holds no backtest of this very {model.name}; backtest it, or register it without one"
        )
    return same[0]


def _backtest_tags(model: Adaptive, result: Backtests | None, tested: Backtest | None, bars: Bars) -> dict[str, str]:
    """Tags with the span, costs, execution and metrics of this model's backtest: of `result`, or as logged for such bars."""
    if result is not None and tested is not None:
        return tracking.backtest_tags(result, tested)
    identity = getattr(model, "fingerprint", None)
    return tracking.logged_backtest(identity, bars) if identity else {}


def _log_model(strategy: Strategy, contract: DataContract, card: ModelCard) -> str:
    """Log the strategy as a model of the active run, with its card, and return its URI."""
    import mlflow

    from backtests.card.card import FOLDER
    from backtests.deployment import save
    from backtests.served import signature
    from strategies.stored import described

    parameters = {"parts": 1, "bars_needed": contract.needed, **described(strategy)}
    with tempfile.TemporaryDirectory() as folder:
        save(strategy, contract, place := Path(folder) / "strategy")
        return mlflow.pyfunc.log_model(
            name="model",
            python_model=str(Path(__file__).with_name("serving.py")),
            artifacts={"strategy": str(place), FOLDER: str(card.save(Path(folder) / FOLDER))},
            signature=signature(strategy, contract),
            pip_requirements=[f"{p}=={installed(p).split('+')[0]}" for p in _REQUIREMENTS],
            params=parameters,
        ).model_uri


@tracking.connected
def certificate_of(version: Version, *, root: str | Path = "mlruns") -> Certificate | None:
    """What was checked of a version when it was registered; None if it was registered before there were certificates.

    Raises
    ------
    InputError
        When it cannot be read.
    """
    return _certificate(stored_tags(version))


def _certificate(tags: dict[str, str]) -> Certificate | None:
    from backtests.certificate import Certificate

    return Certificate.read(tags["certificate"]) if "certificate" in tags else None


@dataclass(frozen=True)
class Promotion:
    """A version that is the champion now.

    Attributes
    ----------
    version : Version
    gates : tuple of Gate
        As they were found; empty if it was the champion already.
    move : Move or None
        As it was recorded; None if it was the champion already.
    """

    version: Version
    gates: tuple[Gate, ...]
    move: Move | None

    @property
    def difference(self) -> float:
        """Largest difference between reproduced and recorded weights; NaN if it was the champion already."""
        return next((gate.figure for gate in self.gates if gate.name == "reload"), np.nan)


class NotPromoted(InputError):
    """A version that did not pass its `gates`."""

    def __init__(self, message: str, gates: tuple[Gate, ...]):
        super().__init__(message)
        self.gates = gates


@tracking.connected
def promote(
    version: Version,
    rules: Rules | None = None,
    *,
    result: Backtests | None = None,
    force: bool = False,
    why: str = "",
    root: str | Path = "mlruns",
) -> Promotion:
    """Make a version the champion if it passes the gates (`backtests.gates`), and the champion so far ``previous``.

    Parameters
    ----------
    version : Version
    rules : Rules, optional
        What the gates demand. By default what cannot be known lets pass, as the comparison with a champion of which no backtest
        is on record, and nothing is demanded of the age of the bars; the command ``regimeshift promote`` is stricter
        (`backtests.gates.STRICT`).
    result : Backtests, optional
        In which the version is compared with the champion; by default the last backtest of both that was logged to MLflow.
    force : bool
        Promote it whatever the gates find, unless it cannot be loaded as it was registered. Which were not passed is recorded.
    why : str
        The reason, which is recorded; `force` must have one.
    root : path
        MLflow's folder, unless ``MLFLOW_TRACKING_URI`` is set.

    Returns
    -------
    Promotion

    Raises
    ------
    NotPromoted
        When a gate is not passed; the champion is then unchanged.
    InputError
        When the champion was made for other bars, another promotion was first, there is no such version, or `force` has no
        reason.
    """
    from backtests.gates import BINDING, Rules

    rules = rules or Rules()
    if force and not why.strip():
        raise InputError("a forced promotion needs a reason, which is recorded: say why")
    tags = _tags_of_existing(version)
    moves.finish(version.name)
    before = moves.aliases(version.name).champion
    if before == version.number:
        return Promotion(version, (), None)
    found = tuple(_gates(version, before, tags, rules, result))
    stopped = [gate for gate in found if gate.stops(rules)]
    if [gate for gate in stopped if not force or gate.name in BINDING]:
        reasons = "; ".join(f"{gate.name}: {gate.sentence}" for gate in stopped)
        raise NotPromoted(f"{version.uri}: {reasons}; not promoted", found)
    record = {gate.name: f"{gate.mark}: {gate.sentence}" for gate in found}
    forced = tuple(gate.name for gate in stopped)
    return Promotion(
        version, found, moves.promote(version.name, version.number, before, why=why, forced=forced, gates=record)
    )


@tracking.connected
def examine(
    version: Version, rules: Rules | None = None, *, result: Backtests | None = None, root: str | Path = "mlruns"
) -> tuple[Gate, ...]:
    """What the gates find of a version, as `promote` would; no alias is moved.

    Raises
    ------
    InputError
        When there is no such version, or the champion was made for other bars.
    """
    from backtests.gates import Rules

    tags = _tags_of_existing(version)
    moves.finish(version.name)
    return tuple(_gates(version, moves.aliases(version.name).champion, tags, rules or Rules(), result))


def _tags_of_existing(version: Version) -> dict[str, str]:
    from mlflow.exceptions import MlflowException

    try:
        return stored_tags(version)
    except MlflowException:
        raise InputError(f"there is no version {version.number} of {version.name!r} in the registry") from None


def _gates(
    version: Version, champion: int | None, tags: dict[str, str], rules: Rules, result: Backtests | None
) -> Iterator[Gate]:
    """The gates, in order; none after one that shows that the version cannot be loaded as it was registered."""
    import mlflow
    import pandas as pd

    from backtests import gates, side_by_side
    from backtests.certificate import code_hash
    from backtests.deployment import load as load_files

    try:
        folder = unchanged(version, files_of(version), tags)
    except InputError as error:
        yield gates.refused(gates.FILES, str(error).removeprefix(f"{version.uri}: "))
        return
    yield gates.files(len(json.loads(tags["files"])))
    try:
        difference = prove(version, folder, mlflow.get_tracking_uri())
    except InputError as error:
        yield gates.refused(gates.RELOAD, str(error).removeprefix(f"{version.uri}: "))
        return
    client = mlflow.MlflowClient()
    client.set_model_version_tag(version.name, str(version.number), "reload_difference", f"{difference:.3g}")
    yield (reload := gates.reload(difference))
    if not reload.passed:
        return
    _check_market(version.name, load_files(folder / ARTIFACT)[1])
    yield gates.certificate(_certificate(tags), tags["fingerprint"], tags["data_hash"], code_hash())
    other = None if champion is None else Version(version.name, champion)
    keys = [_fingerprints(tags), _fingerprints(stored_tags(other)) if other else []]
    both = side_by_side.of_history(*keys) if result is None else side_by_side.of_result(result, *keys)
    way = f"regimeshift backtest {tags['data']} --models models:/{version.name}@{CHAMPION} {version.uri}"
    yield from gates.comparison(both, (version.uri, other.uri if other else None), rules, way)
    yield gates.latency(_timed(RegisteredStrategy(version, folder)), rules.latency)
    last, spacing = pd.Timestamp(tags["adapted_to"]), float(tags["spacing"])
    yield gates.freshness(last, spacing, pd.Timestamp.now("UTC"), rules.age)


def _fingerprints(tags: dict[str, str]) -> list[str]:
    """By which backtests of a version are found: of what was adapted, and of the model before it."""
    return list(dict.fromkeys(tags[key] for key in ("fingerprint", "model_fingerprint") if key in tags))


def _timed(model: RegisteredStrategy) -> list[float]:
    """Seconds of each of `DECISIONS` decisions after the first."""
    bars, times = model.contract.bars, []
    for _ in range(1 + DECISIONS):
        start = time.perf_counter()
        target_weights(model, bars)
        times.append(time.perf_counter() - start)
    return times[1:]


@tracking.connected
def rollback(name: str, *, why: str = "", root: str | Path = "mlruns") -> Move:
    """Exchange the champion and ``previous``, if the files of the latter are still those that were registered.

    Parameters
    ----------
    name : str
    why : str
        Recorded.
    root : path
        MLflow's folder, unless ``MLFLOW_TRACKING_URI`` is set.

    Raises
    ------
    InputError
        When there is no previous champion, or one of its files was changed; the champion is then unchanged.
    """
    moves.history(name)  # there is such a model, and no move of it is cut off
    previous = moves.aliases(name).previous
    if previous is not None:
        verified(Version(name, previous), root=root)
    return moves.roll_back(name, why=why)


@tracking.connected
def history(name: str, *, root: str | Path = "mlruns") -> list[Move]:
    """Every move of the champion of `name`, oldest first. A move that was cut off is finished before.

    Raises
    ------
    InputError
        When there is no such model.
    """
    return moves.history(name)


def _active_run(name: str):
    """Context manager of the active MLflow run, which is left open; or of a new run."""
    import mlflow

    active = mlflow.active_run()
    return (
        contextlib.nullcontext(active)
        if active
        else mlflow.start_run(run_name=name, description=f"{name}: stores the model.")
    )
