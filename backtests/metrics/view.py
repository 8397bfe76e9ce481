"""What metrics need of an account; `backtests.Backtest` has it."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import pandas as pd


class Account(Protocol):
    """The path of an account: times (T,), equity, cost and traded value in money (T,), weights (T, A)."""

    @property
    def index(self) -> pd.DatetimeIndex: ...
    @property
    def equity(self) -> np.ndarray: ...
    @property
    def cost(self) -> np.ndarray: ...
    @property
    def traded(self) -> np.ndarray: ...
    @property
    def weights(self) -> np.ndarray: ...
