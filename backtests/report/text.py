"""Figures of any table as text: dates as dates, counts with commas, metrics as everywhere, other numbers to four digits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from backtests.metrics import DAYS, METRICS, PER_CENT, formatted

NONE = "–"
# Columns that `formatted` knows, and the ratios of `backtests.metrics.against`, which it writes as ratios.
NAMED = {*METRICS, *PER_CENT, *DAYS, "beta", "correlation", "information ratio", "up capture", "down capture"}


def cell(value: Any) -> str:
    """One figure as text; a dash for what is not defined."""
    if value is None or value is pd.NaT:
        return NONE
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (pd.Timestamp, np.datetime64)):
        time = pd.Timestamp(value)
        return f"{time:%Y-%m-%d}" if time == time.normalize() else f"{time:%Y-%m-%d %H:%M}"
    if isinstance(value, (int, np.integer)):
        return f"{value:,}"
    if not isinstance(value, (float, np.floating)):
        return str(value)
    exact = float(value)
    if not np.isfinite(exact):
        return NONE
    return f"{exact:,.0f}" if abs(exact) >= 1000 else f"{exact:.4g}"


def texts(table: pd.DataFrame) -> list[list[str]]:
    """The rows of a table as text, without its index; metrics are written as in every table, and texts stay as they are."""
    columns = [
        list(formatted(table[[name]])[name])
        if name in NAMED and not any(isinstance(value, str) for value in table[name])
        else [cell(value) for value in table[name]]
        for name in table.columns
    ]
    return [list(row) for row in zip(*columns, strict=True)] if columns else []
