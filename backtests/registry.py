"""The model registry: register a version, check that it reloads correctly, and only then make it the champion.

``python -m backtests.registry MODEL_URI`` is the check. It loads a version in a new process, with unpickling disabled, and prints
the largest difference between its target weights and those recorded at registration.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backtests import tracking
from backtests.walk_forward import Adaptive, WalkForward
from markets import Bars, InputError
from markets.common.formats import FORMAT
from strategies import PolicyStrategy

if TYPE_CHECKING:
    from mlflow.pyfunc import PyFuncModel

CHAMPION = "champion"
TOLERANCE = 1e-6
_REQUIREMENTS = ("torch", "numba", "numpy", "pandas", "gymnasium", "safetensors", "mlflow")


@dataclass(frozen=True)
class Version:
    """A registered model version: `name` and `number`."""

    name: str
    number: int

    @property
    def uri(self) -> str:
        return f"models:/{self.name}/{self.number}"


@tracking.connected
def register(
    name: str,
    model: Adaptive,
    result: WalkForward | None = None,
    *,
    bars: Bars | None = None,
    root: str | Path = "mlruns",
) -> Version:
    """Register `model`, adapted to all of `bars`, as the next version of `name`.

    Parameters
    ----------
    name : str
        Name of the registered model.
    model : PolicyStrategy or MetaPolicy
        A meta-policy is adapted first.
    result : WalkForward, optional
        Must contain a backtest of this model, which is identified by the fingerprint of its weights, not by its name. The
        backtest's metrics, span, costs and execution are stored as tags of the version. Its bars are the default for `bars`.
    bars : Bars, optional
        Bars to adapt to. The target weights for the last bar are recorded for the check before promotion.
    root : path
        MLflow's folder, unless ``MLFLOW_TRACKING_URI`` is set.

    Returns
    -------
    Version

    Raises
    ------
    InputError
        When there are no bars or too few, the model cannot be deployed, or the result does not contain it.
    """
    import mlflow

    from backtests.deployment import bars_needed, deployable, recorded_decision

    if not name or not re.fullmatch(r"[\w .-]+", name):
        raise InputError(f"model name {name!r}: use letters, digits, spaces, dots, hyphens and underscores")
    if bars is None:
        if result is None:
            raise InputError("register needs bars to adapt the model to: pass a result or bars")
        bars = result.bars
    strategy = deployable(model.adapt(bars), model.name)
    check = recorded_decision(strategy, bars, model.name)
    backtest = {} if result is None else _backtest_tags(model, result)
    with _active_run(f"register {name}"):
        uri = _log_model(strategy, check)
    with contextlib.redirect_stderr(io.StringIO()):  # MLflow prints its own messages
        number = mlflow.register_model(uri, name).version
    tags = {
        "bars_needed": bars_needed(strategy),
        "adapted_to": check["time"],
        "data": bars.name,
        "data_sha256": bars.hash,
    }
    tags |= {"fingerprint": strategy.fingerprint, "git_commit": tracking.git_commit()}
    tags |= {f"package_{k}": v for k, v in tracking.package_versions().items()} | backtest
    client = mlflow.MlflowClient()
    for key, value in tags.items():
        client.set_model_version_tag(name, number, key, str(value))
    tracking.describe_version(name, number, tags)
    return Version(name, int(number))


def _backtest_tags(model: Adaptive, result: WalkForward) -> dict[str, str]:
    """Tags with the span, costs, execution and metrics of the backtest of this model.

    Raises
    ------
    InputError
        When the result contains no backtest of it.
    """
    identity = getattr(model, "fingerprint", None)
    same = [b for b in result if b.fingerprint == identity]
    if not same:
        raise InputError(
            f"the result holds no backtest of this very {model.name}; backtest it, or register it without one"
        )
    span = f"{result.bars.index[0]} to {result.bars.index[-1]}"
    tags = {"backtest_span": span, "costs": str(result.costs), "execution": str(result.execution)}
    return tags | {f"backtest_{k.replace(' ', '_')}": f"{v:.6g}" for k, v in same[0].metrics.items()}


def _log_model(strategy: PolicyStrategy, check: dict[str, Any]) -> str:
    """Log the strategy as a model of the active run, and return its URI."""
    import mlflow

    from backtests.deployment import SIGNATURE, bars_needed

    settings = strategy.policy.settings
    parameters = {
        "bars_needed": bars_needed(strategy),
        "context": strategy.context,
        "policy.memory": settings.memory,
        "policy.hidden": settings.hidden,
        "policy.base": settings.base,
        "policy.shrink": float(strategy.policy.shrink),
    }
    with tempfile.TemporaryDirectory() as folder:
        place = strategy.save(Path(folder) / "strategy")
        (place / "check.json").write_text(json.dumps({"format": FORMAT, **check}))
        return mlflow.pyfunc.log_model(
            name="model",
            python_model=str(Path(__file__).with_name("serving.py")),
            artifacts={"strategy": str(place)},
            signature=SIGNATURE,
            pip_requirements=[f"{p}=={installed(p).split('+')[0]}" for p in _REQUIREMENTS],
            params=parameters,
        ).model_uri


@tracking.connected
def promote(version: Version, *, root: str | Path = "mlruns") -> float:
    """Make a version the champion, if a new process can load it and reproduces the recorded target weights.

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

    difference = prove(version.uri, mlflow.get_tracking_uri())
    client = mlflow.MlflowClient()
    client.set_model_version_tag(version.name, str(version.number), "reload_difference", f"{difference:.3g}")
    if not difference <= TOLERANCE:
        raise InputError(
            f"{version.uri}: reloaded weights differ by {difference:.3g} (allowed {TOLERANCE}); not promoted"
        )
    client.set_registered_model_alias(version.name, CHAMPION, str(version.number))
    return difference


def prove(uri: str, address: str) -> float:
    """Largest difference between the recorded target weights and those of the version loaded in a new process.

    Parameters
    ----------
    uri : str
        MLflow URI of the version.
    address : str
        MLflow tracking URI.

    Raises
    ------
    InputError
        When the version cannot be loaded.
    """
    environment = {**os.environ, "MLFLOW_TRACKING_URI": address, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    # -P: do not import from the working directory, which may contain a `backtests` package of the user's
    command = [sys.executable, "-P", "-m", "backtests.registry", uri]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputError(f"{uri} cannot be loaded in a fresh process: {reason}")
    return float(done.stdout.strip().splitlines()[-1])


@tracking.connected
def load(name: str, *, root: str | Path = "mlruns") -> PyFuncModel:
    """Load a model from the registry; nothing is unpickled.

    Parameters
    ----------
    name : str
        ``NAME`` (its champion), ``NAME@alias`` or ``NAME/3`` (a version).
    root : path
        MLflow's folder, unless ``MLFLOW_TRACKING_URI`` is set.

    Raises
    ------
    InputError
        When the model cannot be loaded; the message lists the registered models.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    uri = f"models:/{name}" if "@" in name or "/" in name else f"models:/{name}@{CHAMPION}"
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"  # until `connected` restores the environment
    try:
        return mlflow.pyfunc.load_model(uri)
    except MlflowException as error:
        known = ", ".join(m.name for m in mlflow.MlflowClient().search_registered_models()) or "none yet"
        reason = str(error).splitlines()[0]
        raise InputError(
            f"model {name!r} cannot be loaded ({reason}); registered models: {known}; make one with: regimeshift register"
        ) from None


def decision_window(model: PyFuncModel, bars: Bars) -> np.ndarray:
    """The closes that a loaded model needs for its decision after the last bar, shape (bars needed, A).

    Raises
    ------
    InputError
        When there are too few bars, or a symbol is no longer or was not yet listed.
    """
    from backtests.deployment import bars_needed

    strategy: PolicyStrategy = model.unwrap_python_model().strategy
    needed, held = bars_needed(strategy), bars.with_past()
    if len(held) < needed:
        raise InputError(f"{bars.name} has {len(held)} bars; the model reads {needed}")
    window = held.marks[-needed:]
    if not held.listed[-1].all():
        symbol = bars.symbols[int(np.argmin(held.listed[-1]))]
        raise InputError(f"{symbol} no longer trades at {held.index[-1]}; leave it out")
    if not np.isfinite(window).all():
        symbol = bars.symbols[int(np.argmax(~np.isfinite(window).all(axis=0)))]
        raise InputError(f"{symbol} was not listed during the last {needed} bars; leave it out")
    return window


def target_weights(model: PyFuncModel, bars: Bars) -> dict[str, Any]:
    """A loaded model's decision after the last bar: ``target_weight`` and ``band``, arrays of shape (A,)."""
    import pandas as pd

    answer = model.predict(pd.DataFrame({"bars": [decision_window(model, bars).tolist()]})).iloc[0]
    return {key: np.array(answer[key]) for key in ("target_weight", "band")}


def _active_run(name: str):
    """Context manager of the active MLflow run, which is left open; or of a new run."""
    import mlflow

    active = mlflow.active_run()
    return (
        contextlib.nullcontext(active)
        if active
        else mlflow.start_run(run_name=name, description=f"{name}: stores the model.")
    )


def _main(uri: str) -> None:
    import mlflow
    import pandas as pd

    folder = Path(mlflow.artifacts.download_artifacts(uri))
    check = json.loads(next(folder.rglob("check.json")).read_text())
    answer = mlflow.pyfunc.load_model(str(folder)).predict(pd.DataFrame({"bars": [check["bars"]]})).iloc[0]
    print(max(np.abs(np.array(answer[key]) - np.array(check[key])).max() for key in ("target_weight", "band")))


if __name__ == "__main__":
    _main(sys.argv[1])
