"""The model registry: register a version, let it pass the gates (`backtests.gates`), and only then make it the champion.

What a version must be is recorded outside of it, as tags in MLflow's database: the SHA-256 of each of its files, and the
fingerprint of its weights. ``python -m backtests.registry FOLDER`` loads a version's files in a new process, with unpickling
disabled, and prints its fingerprint and the largest difference between its decision and the one recorded at registration.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backtests import lookup, moves, tracking
from backtests.contract import DataContract
from backtests.engine.protocols import Adaptive
from backtests.moves import CHAMPION, Move
from backtests.provenance import git_commit, package_versions
from backtests.results import Backtests
from markets import Bars, InputError
from markets.bars.time_spans import duration, moment
from markets.common.words import few
from strategies import Plan, Strategy

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.pyfunc import PyFuncModel

    from backtests.certificate import Certificate
    from backtests.gates import Gate, Rules
    from backtests.served import ServedStrategy

NAME = re.compile(r"[\w .-]+")  # of a registered model
DECISIONS = 50  # that are timed before promotion
ARTIFACT = "artifacts/strategy"  # where MLflow puts the strategy among a version's files
_PICKLE = "MLFLOW_ALLOW_PICKLE_DESERIALIZATION"
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


@dataclass(frozen=True)
class Version:
    """A registered model version: `name` and `number`."""

    name: str
    number: int

    @property
    def uri(self) -> str:
        return f"models:/{self.name}/{self.number}"


class RegisteredStrategy(Strategy):
    """A version that was loaded from the registry, as a strategy: it can be backtested, and asked for decisions.

    Attributes
    ----------
    version : Version
    strategy : Strategy
        As adapted when it was registered.
    contract : DataContract
        The bars that it was made for.
    folder : Path
        The version's files.
    seen_until : Timestamp or None
        Last bar used to train, select or adapt it.
    """

    def __init__(self, version: Version, folder: Path):
        from backtests.deployment import load as load_files

        self.version, self.folder = version, folder
        self.strategy, self.contract = load_files(folder / ARTIFACT)
        self.name, self.warmup = f"{version.name}/{version.number}", self.strategy.warmup

    @cached_property
    def model(self) -> PyFuncModel:
        """MLflow's model of the same files, which the server runs."""
        import mlflow

        with _no_pickle():
            return mlflow.pyfunc.load_model(str(self.folder))

    @property
    def seen_until(self) -> pd.Timestamp | None:
        return getattr(self.strategy, "seen_until", None)

    @property
    def fingerprint(self) -> str | None:
        return getattr(self.strategy, "fingerprint", None)

    @property
    def remark(self) -> str:
        """What its strategy says of itself; see `strategies.PolicyStrategy.remark`."""
        return getattr(self.strategy, "remark", "")

    def plan(self, bars: Bars) -> Plan:
        """As the backtest of its strategy plans.

        Raises
        ------
        InputError
            When the symbols are not those that the model was made for.
        """
        plan = self.strategy.plan(self.contract.ordered(bars))
        columns = [self.contract.symbols.index(symbol) for symbol in bars.symbols]
        return plan.map(lambda part: part[:, columns])

    def predict(self, data: pd.DataFrame) -> pd.DataFrame:
        """Answer requests as the server does; see `backtests.serving`."""
        return self.model.predict(data)

    def unwrap_python_model(self) -> ServedStrategy:
        """What MLflow's model runs."""
        return self.model.unwrap_python_model()


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
    backtest = _backtest_tags(model, result, bars)
    _check_market(name, contract)
    with _active_run(f"register {name}"):
        uri = _log_model(strategy, contract)
    with contextlib.redirect_stderr(io.StringIO()):  # MLflow prints its own messages
        number = mlflow.register_model(uri, name).version
    version = Version(name, int(number))
    tags = {
        "files": json.dumps(_hashes(_files(version))),
        "fingerprint": fingerprint(strategy),
        "model_fingerprint": getattr(model, "fingerprint", None)
        or fingerprint(strategy),  # by which its backtests are found
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
    tags |= {f"package_{k}": v for k, v in package_versions().items()} | backtest
    client = mlflow.MlflowClient()
    for key, value in tags.items():
        client.set_model_version_tag(name, number, key, str(value))
    tracking.describe_version(name, number, tags)
    client.set_model_version_tag(name, number, "certificate", certify(strategy, bars).text)
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


def _backtest_tags(model: Adaptive, result: Backtests | None, bars: Bars) -> dict[str, str]:
    """Tags with the span, costs, execution and metrics of this model's backtest: of `result`, or as logged for such bars.

    Raises
    ------
    InputError
        When the result contains no backtest of it.
    """
    identity = getattr(model, "fingerprint", None)
    if result is None:
        return tracking.logged_backtest(identity, bars) if identity else {}
    same = [b for b in result if b.fingerprint == identity and (identity or b.name == model.name)]
    if not same:
        raise InputError(
            f"the result holds no backtest of this very {model.name}; backtest it, or register it without one"
        )
    return tracking.backtest_tags(result, same[0])


def _log_model(strategy: Strategy, contract: DataContract) -> str:
    """Log the strategy as a model of the active run, and return its URI."""
    import mlflow

    from backtests.deployment import save
    from backtests.served import signature
    from strategies.stored import described

    parameters = {"parts": 1, "bars_needed": contract.needed, **described(strategy)}
    with tempfile.TemporaryDirectory() as folder:
        save(strategy, contract, place := Path(folder) / "strategy")
        return mlflow.pyfunc.log_model(
            name="model",
            python_model=str(Path(__file__).with_name("serving.py")),
            artifacts={"strategy": str(place)},
            signature=signature(strategy, contract),
            pip_requirements=[f"{p}=={installed(p).split('+')[0]}" for p in _REQUIREMENTS],
            params=parameters,
        ).model_uri


@tracking.connected
def tags_of(version: Version, *, root: str | Path = "mlruns") -> dict[str, str]:
    """What is recorded of a version in MLflow's database, outside of its files."""
    return _tags(version)


def own_files(tags: dict[str, str]) -> dict[str, str]:
    """SHA-256 of each file of the user's own that a version runs or reads, by name; empty if there is none."""
    return json.loads(tags.get("own_files", "{}"))


def _tags(version: Version) -> dict[str, str]:
    import mlflow

    return mlflow.MlflowClient().get_model_version(version.name, str(version.number)).tags


def _files(version: Version) -> Path:
    """The folder of a version's files, downloaded if need be."""
    import mlflow

    return Path(mlflow.artifacts.download_artifacts(version.uri))


def _hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of each file below `folder`, by its path there."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / "registered_model_meta")
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@tracking.connected
def verified(version: Version, *, root: str | Path = "mlruns") -> Path:
    """The folder of a version's files, each of which is as it was at registration.

    Raises
    ------
    InputError
        When a file was changed, removed or added since, or nothing was recorded; the message names the file.
    """
    return _verified(version)


def _verified(version: Version) -> Path:
    return _unchanged(version, _files(version), _tags(version))


def _unchanged(version: Version, folder: Path, tags: dict[str, str]) -> Path:
    if "files" not in tags:
        raise InputError(f"{version.uri} was registered without the hashes of its files; register the model again")
    from backtests.deployment import check_files

    check_files(version.uri, json.loads(tags["files"]), _hashes(folder), "registration")
    return folder


@tracking.connected
def certificate_of(version: Version, *, root: str | Path = "mlruns") -> Certificate | None:
    """What was checked of a version when it was registered; None if it was registered before there were certificates.

    Raises
    ------
    InputError
        When it cannot be read.
    """
    return _certificate(_tags(version))


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
    from mlflow.exceptions import MlflowException

    from backtests.gates import BINDING, Rules

    rules = rules or Rules()
    if force and not why.strip():
        raise InputError("a forced promotion needs a reason, which is recorded: say why")
    try:
        tags = _tags(version)
    except MlflowException:
        raise InputError(f"there is no version {version.number} of {version.name!r} in the registry") from None
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
        folder = _unchanged(version, _files(version), tags)
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
    keys = [_fingerprints(tags), _fingerprints(_tags(other)) if other else []]
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
        _verified(Version(name, previous))
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


def prove(version: Version, folder: Path, address: str) -> float:
    """Largest difference between the recorded decision of a version and that of its files loaded in a new process.

    Parameters
    ----------
    version : Version
    folder : Path
        Its files.
    address : str
        MLflow tracking URI.

    Raises
    ------
    InputError
        When they cannot be loaded, or have another fingerprint than was recorded.
    """
    places = [str(Path(place).resolve()) for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]
    environment = {
        **os.environ, "MLFLOW_TRACKING_URI": address, _PICKLE: "false", "PYTHONPATH": os.pathsep.join(places)
    }  # fmt: skip
    # -P: do not import from the working directory, which may contain a `backtests` package of the user's
    command = [sys.executable, "-P", "-m", "backtests.registry", str(folder.resolve())]
    # in an empty folder, where a strategy that reads a file which it does not bring finds none
    with tempfile.TemporaryDirectory() as elsewhere:
        done = subprocess.run(command, env=environment, cwd=elsewhere, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputError(f"{version.uri} cannot be loaded in a fresh process: {reason}")
    found = json.loads(done.stdout.strip().splitlines()[-1])
    if found["fingerprint"] != _tags(version).get("fingerprint"):
        raise InputError(f"{version.uri}: its weights are not those that were registered; register the model again")
    return float(found["difference"])


def load(name: str, *, root: str | Path = "mlruns") -> RegisteredStrategy:
    """Load a model from the registry, after a check that its files are those that were registered; nothing is unpickled.

    Parameters
    ----------
    name : str
        ``NAME`` (its champion), ``NAME@alias`` or ``NAME/3`` (a version); with or without ``models:/`` before it.
    root : path
        MLflow's folder, unless ``MLFLOW_TRACKING_URI`` is set.

    Raises
    ------
    InputError
        When the model cannot be loaded; the message lists the registered models.
    """
    name = name.removeprefix("models:/")
    model, _, number = name.partition("/")
    model, _, alias = model.partition("@")
    found = lookup.find(model, number, alias or CHAMPION, root)
    if not found:  # that is left to MLflow, whose import takes seconds
        return _load(name, root=root)
    version = Version(model, found.number)
    return RegisteredStrategy(version, _unchanged(version, found.folder, found.tags))


@tracking.connected
def _load(name: str, *, root: str | Path) -> RegisteredStrategy:
    """`load` through MLflow."""
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        version = _version(name)
        return RegisteredStrategy(version, _verified(version))
    except MlflowException as error:
        known = ", ".join(m.name for m in mlflow.MlflowClient().search_registered_models()) or "none yet"
        reason = str(error).splitlines()[0]
        raise InputError(
            f"model {name!r} cannot be loaded ({reason}); registered models: {known}; make one with: regimeshift register"
        ) from None


def _version(name: str) -> Version:
    """The version that ``NAME``, ``NAME@alias`` or ``NAME/3`` stands for."""
    import mlflow

    client = mlflow.MlflowClient()
    model, slash, number = name.partition("/")
    if slash:
        return Version(model, int(client.get_model_version(model, number).version))
    model, _, alias = name.partition("@")
    return Version(model, int(client.get_model_version_by_alias(model, alias or CHAMPION).version))


@contextlib.contextmanager
def _no_pickle() -> Iterator[None]:
    """Context manager in which MLflow unpickles nothing; the caller's setting is restored."""
    before = os.environ.get(_PICKLE)
    os.environ[_PICKLE] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_PICKLE]
        else:
            os.environ[_PICKLE] = before


def request(model: RegisteredStrategy, bars: Bars, series: pd.DataFrame | None = None) -> dict[str, Any]:
    """The request to send to a server of the model for its decision after the last bar; see `backtests.serving`.

    Parameters
    ----------
    model : RegisteredStrategy
    bars : Bars
    series : DataFrame, optional
        Values of the external series that the model reads, by the times at which they got known.

    Raises
    ------
    InputError
        When the bars are not such as the model was made for.
    """
    from backtests.deployment import request as build

    return build(model.strategy, model.contract, bars, series)


def target_weights(model: RegisteredStrategy, bars: Bars, series: pd.DataFrame | None = None) -> dict[str, np.ndarray]:
    """A loaded model's decision after the last bar: ``target_weight``, ``band`` and ``rate``, by symbol of `bars`, shape (A,).

    A band without end is infinite. With stops there are also their levels; see `backtests.deployment.decide`.

    Parameters
    ----------
    model : RegisteredStrategy
    bars : Bars
    series : DataFrame, optional
        As for `request`.

    Raises
    ------
    InputError
        When the bars are not such as the model was made for, or an external series is out of date.
    """
    from backtests.deployment import as_array, decide_row

    asked = request(model, bars, series)
    answer = decide_row(model.strategy, model.contract, asked, "the request")  # as the server does
    columns = [answer["symbols"].index(symbol) for symbol in bars.symbols]
    return {key: as_array(values)[columns] for key, values in answer.items() if key != "symbols"}


def _active_run(name: str):
    """Context manager of the active MLflow run, which is left open; or of a new run."""
    import mlflow

    active = mlflow.active_run()
    return (
        contextlib.nullcontext(active)
        if active
        else mlflow.start_run(run_name=name, description=f"{name}: stores the model.")
    )


def _main(folder: str) -> None:
    import mlflow
    import pandas as pd

    from backtests.deployment import difference
    from backtests.request import to_request
    from strategies.stored import fingerprint

    served = mlflow.pyfunc.load_model(folder)
    model = served.unwrap_python_model()
    check = json.loads((Path(folder) / ARTIFACT / "check.json").read_text())
    asked = to_request(model.contract.bars, model.contract.columns)
    answer = served.predict(pd.DataFrame([asked])).iloc[0].to_dict()
    print(json.dumps({"fingerprint": fingerprint(model.strategy), "difference": difference(answer, check)}))


if __name__ == "__main__":
    _main(sys.argv[1])
