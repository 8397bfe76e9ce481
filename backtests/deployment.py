"""The interface of a deployed model, and the conditions for deploying a strategy.

A request has one row per decision, with the last closes, oldest first. The response has target weights and the half-widths of the
no-trade zones around them. The server is stateless, so rows can be sent in batches.
"""

from __future__ import annotations

from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types.schema import Array, ColSpec, DataType, Schema

from markets import Bars, InputError, Plan
from strategies import PolicyStrategy, Strategy

SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec(Array(Array(DataType.double)), name="bars")]),
    outputs=Schema(
        [ColSpec(Array(DataType.double), name="target_weight"), ColSpec(Array(DataType.double), name="band")]
    ),
)


def bars_needed(strategy: PolicyStrategy) -> int:
    """Number of bars that a decision reads."""
    return strategy.warmup + 1


def deployable(strategy: Strategy, name: str) -> PolicyStrategy:
    """Check that a strategy can be deployed, and return it.

    Raises
    ------
    InputError
        When it is not a torch policy, needs other data than closes, or has user-defined features.
    """
    if not isinstance(strategy, PolicyStrategy):
        raise InputError(f"{name} is a {type(strategy).__name__}; only torch policies are deployed")
    features = strategy.policy.settings.features
    by_user = [part.names[0] for part in features.parts if part.by_function]
    if features.needs or by_user:
        what = (
            f"the {', the '.join(sorted(features.needs))}"
            if features.needs
            else f"{', '.join(by_user)}, which your own code computes"
        )
        raise InputError(f"{name} reads {what}; a deployed model is sent closes alone and runs without your code")
    return strategy


def recorded_decision(strategy: PolicyStrategy, bars: Bars, name: str) -> dict[str, Any]:
    """The request and the response for the last of `bars`, recorded for the check before promotion.

    Raises
    ------
    InputError
        When there are too few bars, or a close is missing among those that the decision reads.
    """
    needed, held = bars_needed(strategy), bars.with_past()
    if len(held) < needed:
        raise InputError(f"{bars.name} has {len(held)} bars; a decision of {name} reads {needed}")
    window = held[-needed:].without_past()
    if not np.isfinite(window.close).all():
        row, column = np.argwhere(~np.isfinite(window.close))[0]
        raise InputError(
            f"{window.symbols[column]} has no close at {window.index[row]}; to deploy, the last {needed} bars must have no gaps"
        )
    answer = _answer(strategy.plan(held[-1:]))
    return {"symbols": bars.symbols, "bars": window.close.tolist(), **answer, "time": str(bars.index[-1])}


def decide(strategy: PolicyStrategy, closes: Any) -> dict[str, list[float]]:
    """The response to one request.

    Parameters
    ----------
    strategy : PolicyStrategy
    closes : array_like of shape (at least `bars_needed`, A)
        Closes, oldest first.

    Returns
    -------
    dict
        ``target_weight`` and ``band``, each a list of length A.

    Raises
    ------
    InputError
        When there are too few rows, or the array does not have two dimensions.
    """
    close = np.array([list(row) for row in closes], dtype=np.float64)
    needed = bars_needed(strategy)
    if close.ndim != 2 or len(close) < needed:
        raise InputError(f"bars has shape {close.shape}; at least {needed} rows of closes are needed, oldest first")
    # The policy uses the order of the bars only, so the dates are arbitrary.
    index = pd.date_range("2000-01-01", periods=needed, freq="D")
    bars = Bars.make(index, [str(i) for i in range(close.shape[1])], close[-needed:])
    return _answer(strategy.plan(bars[-1:]))


def _answer(plan: Plan) -> dict[str, list[float]]:
    band = np.zeros_like(plan.aim) if plan.band is None else plan.band
    return {"target_weight": plan.aim[0].tolist(), "band": band[0].tolist()}


class ServedStrategy(mlflow.pyfunc.PythonModel):
    """A `PolicyStrategy` behind MLflow's interface."""

    def load_context(self, context) -> None:
        self.strategy = PolicyStrategy.load(context.artifacts["strategy"])

    def predict(self, context, model_input: pd.DataFrame, params=None) -> pd.DataFrame:
        """One decision per row; see the module docstring."""
        return pd.DataFrame([decide(self.strategy, row) for row in model_input["bars"]])
