"""MLflow tracking: the store, and logging runs, data and results.

The process belongs to the user: after each call MLflow's tracking URI, registry URI, experiment, active run and environment
variables are what they were before it. This state is MLflow's, and one for the whole process: calls from several threads at
once would restore each other's.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import os
import platform
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np
import pandas as pd
from filelock import FileLock

from backtests import lookup, remote
from backtests.metrics import SHORT, formatted
from backtests.provenance import git_commit, package_versions
from backtests.report.markdown import markdown_table
from backtests.report.pictures import pictures
from backtests.results import Backtest, Backtests
from backtests.significance import Trials, Verdict
from markets import Bars, InputError
from markets.bars.time_spans import median_spacing, same_spacing

if TYPE_CHECKING:
    import mlflow

P = ParamSpec("P")
R = TypeVar("R")

EXPERIMENT = "regimeshift"
ROOT = lookup.ROOT
BACKTEST = "backtest."  # before a model's fingerprint: tag of a run that holds its backtest
NOTE = "mlflow.note.content"  # MLflow shows this tag as the description
# Without the kind, MLflow's pages take the experiment for one of language models, and open on its traces.
ABOUT = {
    "mlflow.experimentKind": "custom_model_development",
    NOTE: "Trainings, backtests and registrations by regimeshift. A backtest is a run with one child run per strategy. Their "
    "metrics have the same names, so that strategies can be sorted and compared: `sharpe`, `cagr`, `max_drawdown`, ...",
}

# The artifacts are a few small files; and what a command prints is the same whatever keeps its runs.
QUIET = {"MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false", "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}


def connect(root: str | Path = ROOT) -> str:
    """Create the store, if it does not exist, and its experiment; return its tracking URI.

    Parameters
    ----------
    root : path
        The store is ``root/mlflow.db``, unless ``MLFLOW_TRACKING_URI`` is set, by hand or by `mlflow.set_tracking_uri`.

    Raises
    ------
    InputError
        When the folder cannot be written to, the tracking server does not answer, or the experiment was deleted.

    Warns
    -----
    UserWarning
        When `root` is not used because ``MLFLOW_TRACKING_URI`` names another store.
    """
    with _quiet():
        import mlflow
        from mlflow.exceptions import MlflowException

        address = lookup.address_of(root)
        lock, artifacts = _place(address)
        first = remote.unless_set(remote.FIRST)
        try:
            with lock, remote.explained(address), first:
                client = mlflow.MlflowClient(tracking_uri=address)
                found = client.get_experiment_by_name(EXPERIMENT)
                if found is None:
                    client.create_experiment(EXPERIMENT, artifacts, tags=ABOUT)
                else:
                    for key in ABOUT.keys() - found.tags.keys():
                        client.set_experiment_tag(found.experiment_id, key, ABOUT[key])
        except MlflowException as error:
            raise InputError(
                f"MLflow at {remote.shown(address)} does not answer ({str(error).splitlines()[0]}); see MLFLOW_TRACKING_URI"
            ) from None
    if found is not None and found.lifecycle_stage != "active":
        raise InputError(
            f"MLflow's experiment {EXPERIMENT} was deleted; restore it with: MLFLOW_TRACKING_URI={address} "
            f"mlflow experiments restore --experiment-id {found.experiment_id}"
        )
    return address


def experiment_id(address: str) -> str:
    """Id of the experiment in the store at `address`, which `connect` has returned."""
    import mlflow

    with _quiet():
        return mlflow.MlflowClient(tracking_uri=address).get_experiment_by_name(EXPERIMENT).experiment_id


def _place(address: str) -> tuple[contextlib.AbstractContextManager, str | None]:
    """Lock to create the store at `address` under, and the folder for its artifacts; neither if it is a server.

    A database on its own has no place for artifacts that others would find, so it is refused.

    Without a lock, processes that start together would all set up a new SQLite database, and fail in its migrations. Without a
    folder, artifacts would go to the working directory.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    if "/" not in address and address != "databricks":
        raise InputError(
            f"MLFLOW_TRACKING_URI is {address}; name a server (http://HOST:5000) or a database file "
            "(sqlite:///mlruns/mlflow.db)"
        )
    try:
        url = make_url(address)
    except ArgumentError:  # MLflow says what is wrong with it
        return contextlib.nullcontext(), None
    if url.get_backend_name() in ("postgresql", "mysql", "mssql"):
        raise InputError(
            f"MLFLOW_TRACKING_URI is the database {url.render_as_string()}, which has no place for files; start an MLflow "
            "server on it, and name that (http://HOST:5000)"
        )
    if url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:"):
        return contextlib.nullcontext(), None
    database = Path(str(url.database)).resolve()
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(database.parent, os.W_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        raise InputError(
            f"{database.parent}: MLflow's folder cannot be written to ({error.strerror}); choose another"
        ) from None
    return FileLock(f"{database}.lock"), (database.parent / "artifacts").as_uri()


@contextlib.contextmanager
def connected_to(root: str | Path = ROOT) -> Iterator[str]:
    """Context in which MLflow's own functions use the store of `connect` and its experiment; yields the tracking URI.

    A run that is active in another store is out of sight meanwhile, and active again afterwards.
    """
    address = connect(root)
    import mlflow

    with _state_restored(), _quiet(), remote.unless_set(remote.PATIENCE):
        if mlflow.get_tracking_uri() != address:
            mlflow.tracking.fluent._active_run_stack.set([])
            os.environ.pop("MLFLOW_RUN_ID", None)
            if not os.environ.get("MLFLOW_TRACKING_URI") and not os.environ.get("MLFLOW_REGISTRY_URI"):
                mlflow.set_registry_uri(address)
        mlflow.set_tracking_uri(address)
        mlflow.set_experiment(EXPERIMENT)
        yield address


def connected(function: Callable[P, R]) -> Callable[P, R]:
    """Decorator of a function with a keyword `root`: it runs in the context of `connected_to`."""

    @functools.wraps(function)
    def inside(*args: P.args, **kwargs: P.kwargs) -> R:
        with connected_to(kwargs.get("root", ROOT)) as address, remote.explained(address):  # type: ignore[arg-type]
            return function(*args, **kwargs)

    return inside


@contextlib.contextmanager
def _state_restored() -> Iterator[None]:
    """Restore MLflow's process-wide state after the block. MLflow has no public way to read what was *set*."""
    import mlflow
    from mlflow.tracking import fluent
    from mlflow.tracking._model_registry import utils as registry
    from mlflow.tracking._tracking_service import utils as service

    environment = {k: v for k, v in os.environ.items() if k.startswith("MLFLOW_")}
    tracking_uri, registry_uri, experiment = service._tracking_uri, registry._registry_uri, fluent._active_experiment_id
    held = (fluent._active_run_stack, fluent._last_active_run_id, fluent._last_logged_model_id)
    values = [variable.get() for variable in held]
    try:
        yield
    finally:
        mlflow.set_tracking_uri(tracking_uri)
        registry._registry_uri, fluent._active_experiment_id = registry_uri, experiment
        for variable, value in zip(held, values, strict=True):
            variable.set(value)
        for key in [k for k in os.environ if k.startswith("MLFLOW_") and k not in environment]:
            del os.environ[key]
        os.environ.update(environment)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without MLflow's messages of progress, and its advice on type hints and examples, which concerns this package's code."""
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic")]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module=r"mlflow(\.|$)")
        warnings.filterwarnings("ignore", message="IProgress not found")  # tqdm's, which MLflow imports, in a notebook
        import mlflow  # noqa: F401  sets its logger's level

        levels = [logger.level for logger in loggers]
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        try:
            with remote.unless_set(QUIET):
                yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextlib.contextmanager
def run(name: str, root: str | Path = ROOT, **parameters: Any) -> Iterator[mlflow.ActiveRun]:
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

    with connected_to(root):
        commit = git_commit()
        about = f"{name}: regimeshift {package_versions()['regimeshift']}, commit {commit[:12]}."
        with mlflow.start_run(run_name=name, nested=mlflow.active_run() is not None, description=about) as active:
            mlflow.log_params(_flat(parameters))
            mlflow.set_tags({"git_commit": commit, "machine": platform.platform(), "python": platform.python_version()})
            mlflow.log_dict(package_versions(), "packages.json")
            yield active


@contextlib.contextmanager
def child(name: str, description: str = "", **parameters: Any) -> Iterator[mlflow.ActiveRun]:
    """Context manager of a child of the active run, for one strategy or learner, whose metrics then need no prefix."""
    import mlflow

    with mlflow.start_run(run_name=name, nested=True, description=description or None) as active:
        mlflow.log_params(_flat(parameters))
        yield active


def log_bars(bars: Bars, context: str, whole: Bars | None = None) -> None:
    """Log the visible rows of `bars` by name, span and hashes to the active run.

    Parameters
    ----------
    bars : Bars
    context : str
        How the data are used, such as "training".
    whole : Bars, optional
        The bars as they were loaded, which `bars` are a part of; their hashes are logged, as `regimeshift data` prints them.
    """
    import mlflow

    frame = pd.DataFrame(bars.close, index=bars.index, columns=list(bars.symbols)).tail(5).reset_index(drop=True)
    # The frame is a sample for MLflow's page; the digest is of all values.
    loaded = bars if whole is None else whole
    data = mlflow.data.from_pandas(frame, name=bars.name, digest=loaded.span_hash[:36])
    mlflow.log_input(data, context=context)
    mlflow.log_dict(
        {"name": bars.name, "data_hash": loaded.hash, "span_hash": loaded.span_hash, "bars": len(bars),
         "symbols": list(bars.symbols), "first": str(bars.index[0]), "last": str(bars.index[-1])},
        f"data/{context}.json",
    )  # fmt: skip


def log_metrics(values: dict[str, float], step: int | None = None) -> None:
    """Log metrics to the active run, if there is one, in lower case and with ``_`` for spaces; NaN values are skipped."""
    import mlflow

    if mlflow.active_run():
        mlflow.log_metrics({_plain(k): float(v) for k, v in values.items() if v == v}, step=step)


def log_result(result: Backtests, report: str | Path | None = None, verdict: Verdict | None = None) -> None:
    """Log a backtest to the active run: its table as description, the equity curves, the report, and a child run per strategy.

    The children's metrics are those of `backtests.metrics.METRICS`, as ``sharpe`` or ``max_drawdown``, and with a verdict its
    figures, as ``verdict/dsr``, and its sentence as the tag ``verdict``. Each child is a trial that `count_trials` counts.
    The main plots of the strategy that the report shows first are in ``plots/``, as PNG.
    """
    import mlflow

    table, bars, shared = result.table(), result.bars, _settings(result)
    for backtest in result:
        about = f"Backtest of {backtest.name} on {bars.name}, {shared['first']} to {shared['last']}, net of costs."
        with child(backtest.name, about, **shared, fingerprint=backtest.fingerprint or "none"):
            log_metrics(backtest.metrics)
            mlflow.set_tags(_data_set(bars))
            if verdict is not None:
                figures = verdict.table.T[backtest.name]
                log_metrics({f"verdict/{k}": v for k, v in figures.items() if np.isfinite(v)})
                mlflow.set_tag("verdict", verdict.sentences[backtest.name])
    if verdict is not None:
        mlflow.log_params({"benchmark": verdict.benchmark, "trials": verdict.trials.count})
        mlflow.log_text(verdict.table.assign(verdict=pd.Series(verdict.sentences)).to_csv(), "verdict.csv")
    mlflow.set_tags({BACKTEST + b.fingerprint: json.dumps(backtest_tags(result, b)) for b in result if b.fingerprint})
    mlflow.log_text(table.to_csv(), "metrics.csv")
    curves = pd.DataFrame({b.name: b.equity for b in result}, index=bars.index)
    mlflow.log_text(curves.to_csv(), "equity.csv")
    about = f"{bars.name}, {shared['first']} to {shared['last']}, net of costs. Each strategy is a child run.\n\n"
    shown = formatted(table[list(SHORT)])
    if verdict is not None:
        about += f"{verdict.finding}\n\n"
        shown["verdict"] = pd.Series(verdict.sentences)
    rows = [[name, *row] for name, row in zip(shown.index, shown.to_numpy(), strict=True)]
    mlflow.set_tag(NOTE, about + markdown_table(["strategy", *shown.columns], rows))
    with tempfile.TemporaryDirectory() as folder:
        for plot, png in pictures(result).items():
            (Path(folder) / f"{plot}.png").write_bytes(png)
        mlflow.log_artifacts(folder, "plots")
    if report is not None:
        mlflow.log_artifact(str(report))


def log_trials(bars: Bars, name: str, ratios: np.ndarray) -> None:
    """Log trials that have no run each, as the settings of a sweep, as a child of the active run; `count_trials` counts them.

    Parameters
    ----------
    bars : Bars
        What they were tried on.
    name : str
        Of what was tried, such as the strategy and the ranges of its parameters. The same name again counts once.
    ratios : ndarray
        Annualised Sharpe ratio of each trial.
    """
    import mlflow

    known = ratios[np.isfinite(ratios)]
    span = {"first": str(bars.index[0]), "last": str(bars.index[-1])}
    with child(name, f"{ratios.size:,} trials on {bars.name}.", data=bars.name, **span, trials=ratios.size):
        mlflow.set_tags(_data_set(bars))
        if known.size:
            log_metrics({"trials/sharpe": known.mean(), "trials/sharpe_std": known.std()})


def count_as_trial(bars: Bars) -> None:
    """Have `count_trials` count the active run as a trial on the data set of `bars`."""
    import mlflow

    mlflow.set_tags(_data_set(bars))


@connected
def count_trials(result: Backtests, *, root: str | Path = ROOT) -> Trials:
    """What has been tried on the data set of `result` so far: the distinct settings in MLflow's history, and its own.

    A setting is a strategy's name and model with the start of the bars, costs, execution and bars between adaptations; running it
    again, or on newer bars, is no new trial. Settings of a strategy that its name does not tell, such as a window, are known by
    another Sharpe ratio (to three decimals) on the same bars. A data set is its symbols and the spacing of its bars. Runs that
    were deleted are not counted, and nor is what was never logged.

    Parameters
    ----------
    result : Backtests
    root : path
        MLflow's folder, unless ``MLFLOW_TRACKING_URI`` is set.

    Returns
    -------
    Trials
        With the standard deviation of their annualised Sharpe ratios.
    """
    shared = _settings(result)
    trials: dict[tuple[str, ...], dict[str, dict[str, tuple[int, float, float]]]] = {}  # by setting, last bar and ratio

    def add(setting: tuple[str, ...], last: str, number: int, mean: float, std: float) -> None:
        trials.setdefault(setting, {}).setdefault(last, {})[f"{mean:.3f}"] = number, mean, std

    for b in result:
        setting = _setting(b.name, shared | {"fingerprint": b.fingerprint or "none"})
        add(setting, shared["last"], 1, b.metrics["Sharpe"], 0.0)
    for run in _runs(_data_set(result.bars)):
        params, figures = run.data.params, run.data.metrics
        mean = figures.get("sharpe", figures.get("trials/sharpe", np.nan))
        number, std = int(params.get("trials", 1)), figures.get("trials/sharpe_std", 0.0)
        add(_setting(run.info.run_name, params), params.get("last", ""), number, mean, std)
    distinct = [trial for spans in trials.values() for trial in max(spans.values(), key=len).values()]
    number, mean, std = np.array(distinct).T
    known = np.isfinite(mean)
    weights = number[known] / max(number[known].sum(), 1)
    centre = weights @ mean[known]
    variance = weights @ (std[known] ** 2 + (mean[known] - centre) ** 2)
    total = int(number.sum())
    return Trials(total, float(np.sqrt(variance * total / (total - 1))) if total > 2 and variance > 0 else np.nan)


def _runs(tags: dict[str, str]) -> Iterator[Any]:
    """All runs of the experiment with these tags."""
    import mlflow

    client, page = mlflow.MlflowClient(), None
    experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
    query = " and ".join(f"tags.{key} = '{value}'" for key, value in tags.items())
    while True:
        found = client.search_runs([experiment], query, max_results=1000, page_token=page)
        yield from found
        page = found.token
        if not page:
            return


def _settings(result: Backtests) -> dict[str, Any]:
    """What the strategies of a result share."""
    bars = result.bars
    return {
        "data": bars.name,
        "first": str(bars.index[0]),
        "last": str(bars.index[-1]),
        "costs": str(result.costs),
        "execution": str(result.execution),
        "every": result.every,
    }


def _setting(name: str, params: dict[str, Any]) -> tuple[str, ...]:
    """What tells one trial from another."""
    return name, *(str(params.get(key, "")) for key in ("fingerprint", "first", "costs", "execution", "every"))


def _data_set(bars: Bars) -> dict[str, str]:
    """Tags by which trials on the same data are found."""
    return {"symbols_hash": _hash_of_symbols(bars), "spacing": f"{median_spacing(bars.index):g}"}


def backtest_tags(result: Backtests, backtest: Backtest) -> dict[str, str]:
    """What a registered version says of its model's backtest: span, costs, execution and metrics."""
    bars = result.bars
    tags = {
        "backtest_span": f"{bars.index[0]} to {bars.index[-1]}",
        "backtest_symbols": _hash_of_symbols(bars),
        "backtest_spacing": f"{median_spacing(bars.index):g}",
        "costs": str(result.costs),
        "execution": str(result.execution),
    }
    return tags | {f"backtest_{k.replace(' ', '_')}": f"{v:.6g}" for k, v in backtest.metrics.items()}


def _hash_of_symbols(bars: Bars) -> str:
    return hashlib.sha256(repr(sorted(bars.symbols)).encode()).hexdigest()[:16]


def logged_backtest(fingerprint: str, bars: Bars) -> dict[str, str]:
    """The `backtest_tags` that `log_result` logged last for the model of this fingerprint, with the run's id; empty if none.

    A backtest on other symbols than those of `bars`, or on bars of another spacing, is none.
    """
    import mlflow

    key = BACKTEST + fingerprint
    runs = mlflow.search_runs(
        experiment_names=[EXPERIMENT], filter_string=f"tags.`{key}` LIKE '%'", order_by=["attributes.start_time DESC"],
        max_results=100, output_format="list",
    )  # fmt: skip
    for run in runs:
        tags = json.loads(run.data.tags[key])
        spacing = float(tags.get("backtest_spacing", "nan"))
        if tags.get("backtest_symbols") == _hash_of_symbols(bars) and same_spacing(spacing, median_spacing(bars.index)):
            return tags | {"backtest_run": run.info.run_id}
    return {}


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _plain(name: str) -> str:
    """`name` as a metric: in lower case, with ``_`` for spaces and characters that MLflow does not allow."""
    return "".join(c if (c.isalnum() and c.isascii()) or c in "_-./" else "_" for c in name).lower()
