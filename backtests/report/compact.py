"""Curves as a page holds them: sixteen bits a value, in base64, and times as whole steps from the first bar.

A value is ``lo + step * u`` with ``u`` from 0 to 65,534, so that the error is at most a 131,068th of the curve's range, less than
a plot or its hover can show; 65,535 stands for NaN. Tables hold numbers as they are.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

import numpy as np
import pandas as pd

_GAP = 65_535  # stands for NaN


def packed(values: np.ndarray) -> dict[str, float | str]:
    """Values of any shape, flattened, as ``lo``, ``step`` and base64 of little-endian 16-bit integers.

    Infinite values become NaN.
    """
    values = np.asarray(values, dtype=np.float64).ravel()
    seen = np.isfinite(values)
    low, high = (float(f(values[seen])) if seen.any() else 0.0 for f in (np.min, np.max))
    step = (high - low) / (_GAP - 1)
    whole = np.full(len(values), _GAP, dtype="<u2")
    whole[seen] = np.rint((values[seen] - low) / step) if step > 0 else 0
    return {"lo": low, "step": step, "b": base64.b64encode(whole.tobytes()).decode()}


@dataclass(frozen=True)
class Clock:
    """Times of a page: wall-clock milliseconds since 1970 are ``start + unit * offset``.

    Attributes
    ----------
    start : int
        Of the first bar.
    unit : int
        The largest number of which all distances between bars are multiples.
    offsets : ndarray of int, shape (T,)
    """

    start: int
    unit: int
    offsets: np.ndarray

    @classmethod
    def of(cls, index: pd.DatetimeIndex) -> Clock:
        """The clock of T bars; times of a zone are those that its clocks show."""
        times = index.tz_localize(None).as_unit("ms").asi8
        since = times - times[0]
        unit = max(int(np.gcd.reduce(np.abs(since))), 1)
        return cls(int(times[0]), unit, since // unit)

    @property
    def settings(self) -> dict[str, int]:
        """What a script needs to read times."""
        return {"start": self.start, "unit": self.unit}

    def packed(self, rows: np.ndarray) -> dict[str, str]:
        """Times of some rows, as base64 of little-endian integers of 16 bits, or 32 where these are too few."""
        offsets = self.offsets[rows]
        kind = "<u2" if self.offsets.max(initial=0) <= _GAP else "<u4"
        return {"kind": kind[1:], "b": base64.b64encode(offsets.astype(kind).tobytes()).decode()}
