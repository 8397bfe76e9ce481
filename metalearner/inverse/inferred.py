"""`Inferred`: preferences that explain what a trader did, with how well they are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.stats import norm

UNKNOWN = 1.0  # standard error of a logarithm from which on a parameter is not identified: its size is not known to a factor of e


class Parameter(NamedTuple):
    """One preference, all of which are positive.

    Attributes
    ----------
    name : str
    value : float
        NaN if it is not identified.
    error : float
        Standard error of its logarithm: .1 is about ten per cent.
    reason : str
        Why it is not identified; else empty.
    """

    name: str
    value: float
    error: float
    reason: str = ""

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Confidence interval, symmetric about the logarithm; from 0 to infinity if it is not identified."""
        if self.reason:
            return 0.0, np.inf
        width = float(np.exp(norm.ppf(0.5 + level / 2) * self.error))
        return self.value / width, self.value * width


@dataclass(frozen=True, eq=False)
class Inferred:
    """Preferences that explain what a trader did.

    Attributes
    ----------
    parameters : tuple of Parameter, length K
    covariance : ndarray of shape (K, K)
        Of their logarithms; infinite where they are not identified.
    """

    parameters: tuple[Parameter, ...]
    covariance: np.ndarray

    @classmethod
    def unknown(cls, names: tuple[str, ...], reason: str) -> Inferred:
        """None of them is identified, for one reason."""
        found = tuple(Parameter(name, np.nan, np.inf, reason) for name in names)
        return cls(found, np.full((len(names), len(names)), np.inf))

    def __getitem__(self, name: str) -> Parameter:
        by = {parameter.name: parameter for parameter in self.parameters}
        if name not in by:
            raise KeyError(f"no parameter {name!r}; there are {', '.join(by)}")
        return by[name]

    @property
    def identified(self) -> bool:
        """Whether all of them are."""
        return not any(parameter.reason for parameter in self.parameters)
