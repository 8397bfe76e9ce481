"""What a deployed model is asked and answers, and which strategies can be one.

A request is one row a decision: the last closes, oldest first, and the answer is target weights and the half-width of the
no-trade zone around each. The server keeps no state, so rows can be sent in batches.
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
    """Bars that a decision reads."""
    return strategy.warmup + 1


def deployable(strategy: Strategy, name: str) -> PolicyStrategy:
    """`strategy`, if it can be deployed.

    Raises
    ------
    InputError
        When it is no torch policy, or reads more than closes and than our own code computes.
    """
    if not isinstance(strategy, PolicyStrategy):
        raise InputError(f"{name} is a {type(strategy).__name__}; only torch policies are deployed")
    features = strategy.policy.settings.features
    by_user = [part.names[0] for part in features.parts if part.by_function]
    if features.needs or by_user:
        what = (
            f"the {', the '.join(sorted(features.needs))}"
            if features.needs
            else f"{', '.join(by_user)}, which is code of yours"
        )
        raise InputError(f"{name} reads {what}; a deployed model is sent closes alone and runs without your code")
    return strategy


def recorded_decision(strategy: PolicyStrategy, bars: Bars, name: str) -> dict[str, Any]:
    """The request and the answer for the last of `bars`, for the proof before promotion.

    Raises
    ------
    InputError
        Too few bars, or a gap among those that the decision reads.
    """
    needed, held = bars_needed(strategy), bars.with_past()
    if len(held) < needed:
        raise InputError(f"{bars.name} has {len(held)} bars; a decision of {name} reads {needed}")
    window = held[-needed:].without_past()
    if not np.isfinite(window.close).all():
        row, column = np.argwhere(~np.isfinite(window.close))[0]
        raise InputError(
            f"{window.symbols[column]} has no close at {window.index[row]}; the last {needed} bars must be without gaps to deploy"
        )
    answer = _answer(strategy.plan(held[-1:]))
    return {"symbols": bars.symbols, "bars": window.close.tolist(), **answer, "time": str(bars.index[-1])}


def decide(strategy: PolicyStrategy, closes: Any) -> dict[str, list[float]]:
    """The answer to one request.

    Parameters
    ----------
    strategy : PolicyStrategy
    closes : array_like of shape (at least `bars_needed`, A)

    Raises
    ------
    InputError
        Too few rows, or rows of different lengths.
    """
    close = np.array([list(row) for row in closes], dtype=np.float64)
    needed = bars_needed(strategy)
    if close.ndim != 2 or len(close) < needed:
        raise InputError(f"bars has shape {close.shape}; at least {needed} rows of closes are needed, oldest first")
    # Only the order of the bars counts, so any dates will do.
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
        """One decision a row; see the module docstring."""
        return pd.DataFrame([decide(self.strategy, row) for row in model_input["bars"]])
