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

    from backtests.serving import SIGNATURE, bars_needed

    if not name or not re.fullmatch(r"[\w .-]+", name):
        raise InputError(f"model name {name!r}: use letters, digits, spaces, dots, hyphens and underscores")
    if bars is None:
        if result is None:
            raise InputError("register needs the bars that the model is adapted to: pass a result or bars")
        bars = result.bars
    strategy = model.adapt(bars)
    if not isinstance(strategy, PolicyStrategy):
        raise InputError(f"{model.name} is a {type(strategy).__name__}; only torch policies are deployed")
    features = strategy.policy.settings.features
    own = [part.names[0] for part in features.parts if part.by_function]
    if features.needs or own:
        what = (
            f"the {', the '.join(sorted(features.needs))}"
            if features.needs
            else f"{', '.join(own)}, which is code of yours"
        )
        raise InputError(f"{model.name} reads {what}; a deployed model is sent closes alone and runs without your code")
    needed = bars_needed(strategy)
    held = bars.with_past()
    if len(held) < needed:
        raise InputError(f"{bars.name} has {len(held)} bars; a decision of {model.name} reads {needed}")
    window = held[-needed:].without_past()
    if not np.isfinite(window.close).all():
        row, column = np.argwhere(~np.isfinite(window.close))[0]
        raise InputError(
            f"{window.symbols[column]} has no close at {window.index[row]}; the last {needed} bars must be without gaps to deploy"
        )
    plan = strategy.plan(held[-1:])
    check = {
        "symbols": bars.symbols,
        "bars": window.close.tolist(),
        "target_weight": plan.aim[0].tolist(),
        "band": np.zeros(len(bars.symbols)).tolist() if plan.band is None else plan.band[0].tolist(),
        "time": str(bars.index[-1]),
    }
    metrics: dict[str, float] = {}
    about: dict[str, Any] = {"fingerprint": strategy.fingerprint, "git_commit": tracking.git_commit()}
    about |= {f"package_{k}": v for k, v in tracking.package_versions().items()}
    if result is not None:
        identity = getattr(model, "fingerprint", None)
        same = [b for b in result if b.fingerprint == identity]
        if not same:
            raise InputError(
                f"the result holds no backtest of this very {model.name}; backtest it, or register it without one"
            )
        metrics = same[0].metrics
        span = f"{result.bars.index[0]} to {result.bars.index[-1]}"
        about |= {"backtest_span": span, "costs": str(result.costs), "execution": str(result.execution)}
    with tempfile.TemporaryDirectory() as folder, _active_run(f"register {name}"):
        strategy.save(Path(folder) / "strategy")
        (Path(folder) / "strategy" / "check.json").write_text(json.dumps(check))
        logged = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(Path(__file__).with_name("serving.py")),
            artifacts={"strategy": str(Path(folder) / "strategy")},
            signature=SIGNATURE,
            pip_requirements=[f"{p}=={installed(p).split('+')[0]}" for p in _REQUIREMENTS],
            params={"bars_needed": needed, "context": strategy.context, **tracking._flat(_about(strategy))},
        )
    with contextlib.redirect_stderr(io.StringIO()):  # MLflow prints its own version of what the caller says
        made = mlflow.register_model(logged.model_uri, name)
    version = Version(name, int(made.version))
    client = mlflow.MlflowClient()
    tags = {"bars_needed": needed, "adapted_to": check["time"], "data": bars.name, "data_sha256": bars.hash}
    tags |= about
    tags |= {f"backtest_{k.replace(' ', '_')}": f"{v:.6g}" for k, v in metrics.items()}
    for key, value in tags.items():
        client.set_model_version_tag(name, made.version, key, str(value))
    return version


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
    from backtests.serving import bars_needed

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


def _about(strategy: PolicyStrategy) -> dict[str, Any]:
    settings = strategy.policy.settings
    return {
        "policy": {
            "memory": settings.memory,
            "hidden": settings.hidden,
            "base": settings.base,
            "shrink": settings.shrink,
        }
    }


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
