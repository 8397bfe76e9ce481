"""Registered versions: loaded as strategies, after a check that their files are those that were registered.

What a version must be is recorded outside of it, as tags in MLflow's database: the SHA-256 of each of its files, and the
fingerprint of its strategy. ``python -m backtests.versions FOLDER`` loads a version's files in a new process, with unpickling
disabled, and prints its fingerprint and the largest difference between its decision and the one recorded at registration.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backtests import lookup, remote, tracking
from backtests.moves import CHAMPION
from markets import Bars, InputError
from strategies import Plan, Strategy

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.pyfunc import PyFuncModel

    from backtests.served import ServedStrategy

ARTIFACT = "artifacts/strategy"  # where MLflow puts the strategy among a version's files
_PICKLE = "MLFLOW_ALLOW_PICKLE_DESERIALIZATION"


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

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 by which its backtests are found; see `strategies.stored.fingerprint`."""
        from strategies.stored import fingerprint

        return fingerprint(self.strategy)

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
    return RegisteredStrategy(version, unchanged(version, found.folder, found.tags))


@tracking.connected
def _load(name: str, *, root: str | Path) -> RegisteredStrategy:
    """`load` through MLflow."""
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        version = _version(name)
        return RegisteredStrategy(version, verified(version, root=root))
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


@tracking.connected
def tags_of(version: Version, *, root: str | Path = "mlruns") -> dict[str, str]:
    """What is recorded of a version in MLflow's database, outside of its files."""
    return stored_tags(version)


def own_files(tags: dict[str, str]) -> dict[str, str]:
    """SHA-256 of each file of the user's own that a version runs or reads, by name; empty if there is none."""
    return json.loads(tags.get("own_files", "{}"))


def stored_tags(version: Version) -> dict[str, str]:
    """`tags_of`, of the store that MLflow is connected to."""
    import mlflow

    return mlflow.MlflowClient().get_model_version(version.name, str(version.number)).tags


def files_of(version: Version) -> Path:
    """The folder of a version's files; where they come from a server, a copy that is there until this process ends."""
    import mlflow

    place = tempfile.mkdtemp(dir=_copies().name) if remote.is_server(mlflow.get_registry_uri()) else None
    return Path(mlflow.artifacts.download_artifacts(version.uri, dst_path=place))


@cache
def _copies() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="regimeshift-")


def hashes(folder: Path) -> dict[str, str]:
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
    return unchanged(version, files_of(version), stored_tags(version))


def unchanged(version: Version, folder: Path, tags: dict[str, str]) -> Path:
    """`folder`, a version's files, after a check that each is as `tags` say that it was at registration."""
    if "files" not in tags:
        raise InputError(f"{version.uri} was registered without the hashes of its files; register the model again")
    from backtests.deployment import check_files

    check_files(version.uri, json.loads(tags["files"]), hashes(folder), "registration")
    return folder


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
        **os.environ, "MLFLOW_TRACKING_URI": address, _PICKLE: "false", "PYTHONPATH": os.pathsep.join(places),
        "PYTHONDONTWRITEBYTECODE": "1",  # beside the version's code
    }  # fmt: skip
    # -P: do not import from the working directory, which may contain a `backtests` package of the user's
    command = [sys.executable, "-P", "-m", "backtests.versions", str(folder.resolve())]
    # in an empty folder, where a strategy that reads a file which it does not bring finds none
    with tempfile.TemporaryDirectory() as elsewhere:
        done = subprocess.run(command, env=environment, cwd=elsewhere, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputError(f"{version.uri} cannot be loaded in a fresh process: {reason}")
    found = json.loads(done.stdout.strip().splitlines()[-1])
    if found["fingerprint"] != stored_tags(version).get("fingerprint"):
        raise InputError(f"{version.uri}: its weights are not those that were registered; register the model again")
    return float(found["difference"])


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
