"""The deployed model: MLflow's "models from code", weights in safetensors, nothing pickled.

MLflow runs this file when it loads a version. One row is one decision, so the server keeps no state and rows can be sent in
batches:

========  =============================  ======================================================================
``bars``  array of arrays of double      closes, oldest first, one row a bar, one column a symbol; at least
                                         ``bars_needed`` of them (a tag of the version)
========  =============================  ======================================================================

A request is ``{"dataframe_records": [{"bars": [[...], ...]}]}`` to ``/invocations``, and the answer to each
row has ``target_weight`` and ``band``, a double a symbol: trade to the nearest edge of
``target_weight ± band``.
"""

from __future__ import annotations

import mlflow
import numpy as np
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types.schema import Array, ColSpec, DataType, Schema

from markets import Bars, InputError
from strategies import PolicyStrategy

SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec(Array(Array(DataType.double)), name="bars")]),
    outputs=Schema(
        [ColSpec(Array(DataType.double), name="target_weight"), ColSpec(Array(DataType.double), name="band")]
    ),
)


def bars_needed(strategy: PolicyStrategy) -> int:
    """Bars that a decision reads."""
    return strategy.warmup + 1


class ServedStrategy(mlflow.pyfunc.PythonModel):
    """A `PolicyStrategy` behind MLflow's interface."""

    def load_context(self, context) -> None:
        self.strategy = PolicyStrategy.load(context.artifacts["strategy"])

    def predict(self, context, model_input: pd.DataFrame, params=None) -> pd.DataFrame:
        """One decision a row; see the module docstring."""
        return pd.DataFrame([self._decide(row) for row in model_input["bars"]])

    def _decide(self, rows) -> dict[str, list[float]]:
        close = np.array([list(row) for row in rows], dtype=np.float64)
        needed = bars_needed(self.strategy)
        if close.ndim != 2 or len(close) < needed:
            raise InputError(f"bars has shape {close.shape}; at least {needed} rows of closes are needed, oldest first")
        # Only the order of the bars counts, so any dates will do.
        index = pd.date_range("2000-01-01", periods=needed, freq="D")
        bars = Bars.make(index, [str(i) for i in range(close.shape[1])], close[-needed:])
        plan = self.strategy.plan(bars[-1:])
        assert plan.band is not None
        return {"target_weight": plan.aim[0].tolist(), "band": plan.band[0].tolist()}


mlflow.models.set_model(ServedStrategy())
