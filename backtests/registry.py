"""The model registry: register a version, prove that it is what was trained, and only then make it the champion.

``python -m backtests.registry MODEL_URI`` is the proof: it loads a version in a process of its own, with unpickling forbidden,
and prints how far its weights are from those that were recorded when it was registered.
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
    """A registered model version."""

    name: str
    number: int

    @property
    def uri(self) -> str:
        return f"models:/{self.name}/{self.number}"


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
    model : PolicyStrategy or MetaPolicy
        A meta-policy is adapted first.
    result : WalkForward, optional
        Must hold a backtest of this very model (by its weights, not its name), whose metrics, span, costs and execution are
        kept with the version. Its bars are the default for `bars`.
    bars : Bars, optional
        What the model is adapted to; the weights for their last bar are recorded for the proof.
    root : path
        Where MLflow keeps its records, unless ``MLFLOW_TRACKING_URI`` is set.

    Raises
    ------
    InputError
        When there are no bars, too few, or the model is not one that can be deployed, or not the one in the result.
    """
    tracking.connect(root)
    import mlflow

    from backtests.deployment import bars_needed, deployable, recorded_decision

    if not name or not re.fullmatch(r"[\w .-]+", name):
        raise InputError(f"model name {name!r}: use letters, digits, spaces, dots, hyphens and underscores")
    if bars is None:
        if result is None:
            raise InputError("register needs the bars that the model is adapted to: pass a result or bars")
        bars = result.bars
    strategy = deployable(model.adapt(bars), model.name)
    check = recorded_decision(strategy, bars, model.name)
    backtest = {} if result is None else _backtest_tags(model, result)
    with _active_run(f"register {name}"):
        uri = _log_model(strategy, check)
    with contextlib.redirect_stderr(io.StringIO()):  # MLflow prints its own version of what the caller says
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
    return Version(name, int(number))


def _backtest_tags(model: Adaptive, result: WalkForward) -> dict[str, str]:
    """What is kept with the version of the backtest of this very model: span, costs, execution, metrics.

    Raises
    ------
    InputError
        When the result holds none.
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
    """Log the strategy as a model of the active run; returns its address."""
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


def promote(version: Version, *, root: str | Path = "mlruns") -> float:
    """Make a version the champion, if a fresh process loads it and gets the recorded weights.

    Returns
    -------
    float
        Largest difference of a weight.

    Raises
    ------
    InputError
        When the gate is not passed; the champion is left as it was.
    """
    address = tracking.connect(root)
    import mlflow

    difference = prove(version.uri, address)
    client = mlflow.MlflowClient()
    client.set_model_version_tag(version.name, str(version.number), "reload_difference", f"{difference:.3g}")
    if not difference <= TOLERANCE:
        raise InputError(
            f"{version.uri}: reloaded weights differ by {difference:.3g} (allowed {TOLERANCE}); not promoted"
        )
    client.set_registered_model_alias(version.name, CHAMPION, str(version.number))
    return difference


def prove(uri: str, address: str) -> float:
    """Largest difference between the recorded weights and those of the version in a process of its own."""
    environment = {**os.environ, "MLFLOW_TRACKING_URI": address, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    # -P: a folder of the user's called `backtests` must not stand in for ours
    command = [sys.executable, "-P", "-m", "backtests.registry", uri]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputError(f"{uri} cannot be loaded in a fresh process: {reason}")
    return float(done.stdout.strip().splitlines()[-1])


def load(name: str, *, root: str | Path = "mlruns") -> PyFuncModel:
    """Load ``NAME`` (its champion), ``NAME@alias`` or ``NAME/3`` from the registry; nothing is unpickled.

    Raises
    ------
    InputError
        When there is no such model, naming those there are.
    """
    tracking.connect(root)
    import mlflow
    from mlflow.exceptions import MlflowException

    uri = f"models:/{name}" if "@" in name or "/" in name else f"models:/{name}@{CHAMPION}"
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    try:
        return mlflow.pyfunc.load_model(uri)
    except MlflowException as error:
        known = ", ".join(m.name for m in mlflow.MlflowClient().search_registered_models()) or "none yet"
        reason = str(error).splitlines()[0]
        raise InputError(
            f"model {name!r} cannot be loaded ({reason}); registered models: {known}; make one with: regimeshift register"
        ) from None


def decision_window(model: PyFuncModel, bars: Bars) -> np.ndarray:
    """The closes that a loaded model reads to decide after the last bar, shape (bars needed, A).

    Raises
    ------
    InputError
        Too few bars, or a symbol that was not yet listed.
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
    """What a loaded model wants after the last bar: ``target_weight`` and ``band``, an array of shape (A,) each."""
    import pandas as pd

    answer = model.predict(pd.DataFrame({"bars": [decision_window(model, bars).tolist()]})).iloc[0]
    return {key: np.array(answer[key]) for key in ("target_weight", "band")}


def _active_run(name: str):
    """The run that is active, left open; or one of our own."""
    import mlflow

    active = mlflow.active_run()
    return contextlib.nullcontext(active) if active else mlflow.start_run(run_name=name)


def _main(uri: str) -> None:
    import mlflow
    import pandas as pd

    folder = Path(mlflow.artifacts.download_artifacts(uri))
    check = json.loads(next(folder.rglob("check.json")).read_text())
    answer = mlflow.pyfunc.load_model(str(folder)).predict(pd.DataFrame({"bars": [check["bars"]]})).iloc[0]
    print(max(np.abs(np.array(answer[key]) - np.array(check[key])).max() for key in ("target_weight", "band")))


if __name__ == "__main__":
    _main(sys.argv[1])
