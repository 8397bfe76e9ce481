"""Ranges in which a setting is searched, stated beside its field.

As in ``learning_rate: Annotated[float, Range(1e-4, 3e-2, log=True)] = 2e-3``. They are what is worth trying, not what is allowed:
the latter is checked by the class.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from markets.common.errors import InputError


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included; of a field of type int, whole ones.

    Attributes
    ----------
    low, high : float
    log : bool
        Whether their logarithm is searched, as where a factor matters and not a difference.

    Raises
    ------
    InputError
        When they are not finite, or `low` is not below `high`, or not above 0 where `log`.
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise InputError(
                f"a range from {self.low:g} to {self.high:g}; it must be finite, and its end above its start"
            )
        if self.log and self.low <= 0:
            raise InputError(f"a logarithmic range from {self.low:g}; it must start above 0")

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}" + (", logarithmic" if self.log else "")


@dataclass(frozen=True)
class OneOf:
    """Some values; without any, all that the field's type has (a Literal or a bool)."""

    values: tuple[Any, ...] = ()

    def __str__(self) -> str:
        return ", ".join(map(str, self.values))
