"""A deployed model behind MLflow's interface. What it decides is in `backtests.deployment`, which does not import MLflow."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import mlflow
import pandas as pd
from mlflow.exceptions import INVALID_PARAMETER_VALUE, MlflowException
from mlflow.models import ModelSignature
from mlflow.types.schema import AnyType, Array, ColSpec, DataType, Schema

from backtests.carried import Deployed
from backtests.contract import DataContract
from backtests.decider import Decider
from backtests.deployment import ANSWER, load
from markets import InputError
from strategies import Strategy
from strategies.needs import external_series

BESIDE = ("position", "state")  # what a request may hold whatever the model reads; see `backtests.decider`

_LONGEST = 500  # characters of a refusal


def signature(strategy: Strategy, contract: DataContract) -> ModelSignature:
    """What a request to a model holds: beside symbols, times and bars the columns that it reads, and series if it reads some.

    The request is checked here, with clearer messages than a schema's; and in JSON a close may be 71, 71.5 or null.
    """
    names = ["symbols", "times", "bars", *contract.columns, *(["series"] if external_series(strategy) else []), *BESIDE]
    outputs = [ColSpec(Array(DataType.double), name=name) for name in ANSWER]
    return ModelSignature(
        inputs=Schema([ColSpec(AnyType(), name=name, required=False) for name in names]),
        outputs=Schema([ColSpec(Array(DataType.string), name="symbols"), *outputs]),
    )


class RequestError(InputError, MlflowException):
    """A refused request: an `InputError`, which MLflow's server answers with status 400 and its one line.

    The message may quote names that the client sent, of any length and with any characters.
    """

    def __init__(self, message: str) -> None:
        message = textwrap.shorten(message.replace("\0", " "), _LONGEST, placeholder=" ...")
        MlflowException.__init__(self, message, error_code=INVALID_PARAMETER_VALUE)
        InputError.__init__(self, message)

    def serialize_as_json(self) -> str:
        # the server puts the whole request before `message`
        return json.dumps({"error_code": self.error_code, "message": str(self)})


class ServedStrategy(mlflow.pyfunc.PythonModel):
    """A deployed strategy behind MLflow's interface."""

    decider: Decider

    def load_context(self, context) -> None:
        self.decider = Decider(Deployed(*load(Path(context.artifacts["strategy"]))))

    @property
    def strategy(self) -> Strategy:
        return self.decider.model.strategy

    @property
    def contract(self) -> DataContract:
        return self.decider.model.contract

    def predict(self, context, model_input: pd.DataFrame, params=None) -> pd.DataFrame:
        """One decision per row; see the module docstring of `backtests.serving`. A part that a row does not have is None.

        Raises
        ------
        RequestError
            When the request is malformed, or its bars are not such as the model was made for.
        """
        try:
            answers = self.decider.answers(model_input.to_dict("records"))
        except InputError as error:
            raise RequestError(str(error)) from None
        keys = dict.fromkeys(key for answer in answers for key in answer)
        return pd.DataFrame([{key: answer.get(key) for key in keys} for answer in answers], dtype=object)
