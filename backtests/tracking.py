"""MLflow tracking: connecting to the store, and logging runs, data and results."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import platform
import subprocess
import warnings
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from filelock import FileLock

from backtests.results import Backtest
from backtests.walk_forward import WalkForward
from markets import Bars, InputError

if TYPE_CHECKING:
    import mlflow

EXPERIMENT = "regimeshift"
BACKTEST = "backtest."  # before a model's fingerprint: tag of a run that holds its backtest
PACKAGES = ("regimeshift", "torch", "numba", "numpy", "pandas", "gymnasium", "mlflow")


def connect(root: str | Path = "mlruns") -> str:
    """Point MLflow at ``root/mlflow.db`` (or at ``MLFLOW_TRACKING_URI``, if set), and return the tracking URI.

    The first call creates the database and the experiment.

    Raises
    ------
    InputError
        When the folder cannot be written to, or the tracking server does not answer.
    """
    # Hide MLflow's advice on type hints and input examples: it concerns this package's code, not its users.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"mlflow(\.|$)")
    import mlflow
    from mlflow.exceptions import MlflowException

    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # the artifacts are three small files
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    root = Path(root).resolve()
    address = os.environ.get("MLFLOW_TRACKING_URI")
    artifacts: str | None = None
    lock: contextlib.AbstractContextManager = contextlib.nullcontext()
    if not address:
        try:
            root.mkdir(parents=True, exist_ok=True)
            if not os.access(root, os.W_OK):
                raise PermissionError(13, "Permission denied")
        except OSError as error:
            raise InputError(
                f"{root}: MLflow's folder cannot be written to ({error.strerror}); choose another"
            ) from None
        address = f"sqlite:///{root}/mlflow.db"
        artifacts = (root / "artifacts").as_uri()
        # Without a lock, two processes could both try to set up a new database, and one would fail.
        lock = FileLock(root / ".lock")
    mlflow.set_tracking_uri(address)
    try:
        with lock:
            if mlflow.get_experiment_by_name(EXPERIMENT) is None:
                # Without a location, artifacts would be stored in the working directory.
                mlflow.create_experiment(EXPERIMENT, artifact_location=artifacts)
            mlflow.set_experiment(EXPERIMENT)
    except MlflowException as error:
        raise InputError(
            f"MLflow at {address} does not answer ({str(error).splitlines()[0]}); see MLFLOW_TRACKING_URI"
        ) from None
    return address


@contextlib.contextmanager
def run(name: str, root: str | Path = "mlruns", **parameters: Any) -> Iterator[mlflow.ActiveRun]:
    """Context manager of an MLflow run that records the parameters, git commit, package versions and machine.

    Parameters
    ----------
    name : str
        Name of the run.
    root : path
        MLflow's folder, unless ``MLFLOW_TRACKING_URI`` is set.
    parameters
        Logged as parameters; nested dictionaries are flattened, with dots.
    """
    import mlflow

    connect(root)
    with mlflow.start_run(run_name=name) as active:
        mlflow.log_params(_flat(parameters))
        mlflow.set_tags(
            {"git_commit": git_commit(), "machine": platform.platform(), "python": platform.python_version()}
        )
        mlflow.log_dict(package_versions(), "packages.json")
        yield active


def log_bars(bars: Bars, context: str, whole: Bars | None = None) -> None:
    """Log the visible rows of `bars` by name, span and hashes to the active run.

    Parameters
    ----------
    bars : Bars
    context : str
        How the data are used, such as "training".
    whole : Bars, optional
        The data set that `bars` is a span of, as it was loaded; by default `bars` with their history.
    """
    import mlflow

    frame = pd.DataFrame(bars.close, index=bars.index, columns=list(bars.symbols)).tail(5).reset_index(drop=True)
    # The frame is a sample for MLflow's page; the digest is of all values.
    data = mlflow.data.from_pandas(frame, name=bars.name, digest=bars.span_hash[:36])
    mlflow.log_input(data, context=context)
    mlflow.log_dict(
        {"name": bars.name, "data_hash": (whole or bars).hash, "span_hash": bars.span_hash, "bars": len(bars),
         "symbols": list(bars.symbols), "first": str(bars.index[0]), "last": str(bars.index[-1])},
        f"data/{context}.json",
    )  # fmt: skip


def log_metrics(values: dict[str, float], step: int | None = None) -> None:
    """Log metrics to the active run, if there is one; NaN values are skipped."""
    import mlflow

    if mlflow.active_run():
        mlflow.log_metrics({k.replace(" ", "_"): float(v) for k, v in values.items() if v == v}, step=step)


def log_result(result: WalkForward, report: str | Path | None = None) -> None:
    """Log each strategy's metrics (as ``strategy/metric``), the metrics table, the equity curves and the report."""
    import mlflow

    table = result.table()
    for name, row in table.iterrows():
        log_metrics({f"{_plain(str(name))}/{k}": v for k, v in row.items()})
    mlflow.set_tags({BACKTEST + b.fingerprint: json.dumps(backtest_tags(result, b)) for b in result if b.fingerprint})
    mlflow.log_text(table.to_csv(), "metrics.csv")
    curves = pd.DataFrame({b.name: b.equity for b in result}, index=result.bars.index)
    mlflow.log_text(curves.to_csv(), "equity.csv")
    if report is not None:
        mlflow.log_artifact(str(report))


def backtest_tags(result: WalkForward, backtest: Backtest) -> dict[str, str]:
    """What a registered version says of its model's backtest: span, costs, execution and metrics."""
    span = f"{result.bars.index[0]} to {result.bars.index[-1]}"
    tags = {"backtest_span": span, "costs": str(result.costs), "execution": str(result.execution)}
    return tags | {f"backtest_{k.replace(' ', '_')}": f"{v:.6g}" for k, v in backtest.metrics.items()}


def logged_backtest(fingerprint: str) -> dict[str, str]:
    """The `backtest_tags` that `log_result` logged last for the model of this fingerprint, with the run's id; empty if none."""
    import mlflow

    key = BACKTEST + fingerprint
    runs = mlflow.search_runs(
        experiment_names=[EXPERIMENT], filter_string=f"tags.`{key}` LIKE '%'", order_by=["attributes.start_time DESC"],
        max_results=1, output_format="list",
    )  # fmt: skip
    return json.loads(runs[0].data.tags[key]) | {"backtest_run": runs[0].info.run_id} if runs else {}


def git_commit() -> str:
    """The git commit of the code, with ``+`` appended if there are uncommitted changes; "unknown" outside a checkout."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(here), *words], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def package_versions() -> dict[str, str]:
    """Versions of the main packages that results depend on."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _plain(name: str) -> str:
    """`name` with characters that MLflow does not allow in metric names replaced by ``_``."""
    return "".join(c if (c.isalnum() and c.isascii()) or c in "_-. /" else "_" for c in name)
