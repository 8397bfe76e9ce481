"""The accounts of two registered versions on the same bars, as a backtest of both logged them to MLflow."""

from __future__ import annotations

import io
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd

from backtests.results import Backtests
from backtests.significance import Interval, Trials, deflated_sharpe, sharpe_difference
from backtests.significance.interval import FEWEST
from backtests.tracking import BACKTEST, EXPERIMENT, count_trials
from markets.common.statistics import bars_per_year, returns_of


@dataclass(frozen=True, eq=False)
class SideBySide:
    """The account of a challenger, and of the champion on the same bars.

    Attributes
    ----------
    index : DatetimeIndex of shape (T,)
    equity : ndarray of shape (T,)
        Of the challenger, in money.
    champion : ndarray of shape (T,), or None
        Of the champion; None if the backtest is of the challenger alone.
    trials : Trials
        What was tried on these data, of which the challenger is the best.
    where : str
        The run that logged it, or the result that was given.
    """

    index: pd.DatetimeIndex
    equity: np.ndarray
    champion: np.ndarray | None
    trials: Trials
    where: str

    @property
    def span(self) -> str:
        """First and last day."""
        return f"{self.index[0]:%Y-%m-%d} to {self.index[-1]:%Y-%m-%d}"

    @property
    def long_enough(self) -> bool:
        """Whether there are returns enough for an interval, and they are not within a day."""
        return len(self.index) > FEWEST and bool(np.isfinite(bars_per_year(self.index)))

    def difference(self, level: float) -> Interval:
        """Annualised Sharpe ratio of the challenger minus that of the champion, with its paired, studentised interval.

        All of it is NaN if one of them does not vary.
        """
        assert self.champion is not None
        found = sharpe_difference(returns_of(self.equity), returns_of(self.champion), level)
        return found * float(np.sqrt(bars_per_year(self.index)))

    @property
    def deflated(self) -> float:
        """Deflated Sharpe ratio of the challenger; NaN if its returns do not vary."""
        root = float(np.sqrt(bars_per_year(self.index)))
        std = (
            self.trials.std / root if np.isfinite(self.trials.std) else float(len(self.index) ** -0.5)
        )  # that of chance
        return deflated_sharpe(returns_of(self.equity), self.trials.count, std)


def of_result(result: Backtests, challenger: Collection[str], champion: Collection[str]) -> SideBySide | None:
    """The accounts in a result, of models known by their fingerprints; None if it has none of the challenger."""
    by = {b.fingerprint: b.equity for b in result if b.fingerprint}
    mine, other = (next((by[key] for key in keys if key in by), None) for keys in (challenger, champion))
    if mine is None:
        return None
    return SideBySide(result.bars.index, mine, other, count_trials(result), "the given result")


def of_history(challenger: Collection[str], champion: Collection[str]) -> SideBySide | None:
    """The accounts in the last backtest that MLflow holds of both models; of the challenger alone if there is none of both.

    Parameters
    ----------
    challenger, champion : collection of str
        Fingerprints of each: of the model as it was trained, and as it was adapted at registration.

    Returns
    -------
    SideBySide or None
        None if there is no backtest of the challenger.
    """
    mine = {run.info.run_id: (run, key) for key in challenger for run in _runs_of(key)}
    others = {run.info.run_id: key for key in champion for run in _runs_of(key)}
    latest = sorted(mine.values(), key=lambda found: (found[0].info.run_id in others, found[0].info.start_time))
    for run, key in reversed(latest):
        found = _read(run.info.run_id, key, others.get(run.info.run_id))
        if found is not None:
            return found
    return None


def _runs_of(fingerprint: str) -> list:
    """The runs that logged a backtest of a model."""
    import mlflow

    return mlflow.search_runs(
        experiment_names=[EXPERIMENT], filter_string=f"tags.`{BACKTEST}{fingerprint}` LIKE '%'",
        order_by=["attributes.start_time DESC"], max_results=100, output_format="list",
    )  # fmt: skip


def _read(run: str, challenger: str, champion: str | None) -> SideBySide | None:
    """The accounts of one run; None if what it logged is not all there."""
    import mlflow
    from mlflow.exceptions import MlflowException

    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
    children = client.search_runs([experiment], f"tags.mlflow.parentRunId = '{run}'", max_results=1000)
    by = {child.data.params.get("fingerprint"): child for child in reversed(children)}
    try:
        curves = pd.read_csv(io.StringIO(mlflow.artifacts.load_text(f"runs:/{run}/equity.csv")), index_col=0)
        columns = [
            None if key is None else curves[by[key].info.run_name].to_numpy(float) for key in (challenger, champion)
        ]
    except (KeyError, MlflowException, OSError):
        return None
    assert columns[0] is not None
    # as they were counted when it was logged; what came later could not have chosen it
    ratios = np.array([child.data.metrics.get("sharpe", np.nan) for child in children])
    ratios = ratios[np.isfinite(ratios)]
    parent = client.get_run(run).data
    count = int(float(parent.params.get("trials", len(children))))
    std = float(ratios.std(ddof=1)) if len(ratios) > 2 else np.nan
    return SideBySide(pd.DatetimeIndex(curves.index), columns[0], columns[1], Trials(max(count, 1), std), f"run {run}")
