"""The model registry: register a version, check that it reloads correctly, and only then make it the champion.

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
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backtests import lookup, tracking
from backtests.contract import DataContract
from backtests.engine.protocols import Adaptive
from backtests.provenance import git_commit, package_versions
from backtests.results import Backtests
from markets import Bars, InputError
from markets.bars.time_spans import duration, moment
from markets.common.words import few
from strategies import Plan, Strategy

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.pyfunc import PyFuncModel

    from backtests.served import ServedStrategy

CHAMPION = "champion"
NAME = re.compile(r"[\w .-]+")  # of a registered model
TOLERANCE = 1e-6
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
def promote(version: Version, *, root: str | Path = "mlruns") -> float:
    """Make a version the champion, if its files are those that were registered, and a new process decides as recorded.

    Returns
    -------
    float
        Largest difference between reproduced and recorded values.

    Raises
    ------
    InputError
        When the check fails; the champion is then unchanged.
    """
    import mlflow

    from backtests.deployment import load as load_files

    folder = _verified(version)
    difference = prove(version, folder, mlflow.get_tracking_uri())
    client = mlflow.MlflowClient()
    client.set_model_version_tag(version.name, str(version.number), "reload_difference", f"{difference:.3g}")
    if not difference <= TOLERANCE:
        raise InputError(
            f"{version.uri}: reloaded weights differ by {difference:.3g} (allowed {TOLERANCE}); not promoted"
        )
    _check_market(version.name, load_files(folder / ARTIFACT)[1])
    client.set_registered_model_alias(version.name, CHAMPION, str(version.number))
    return difference


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
