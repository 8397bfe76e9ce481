"""`FeatureDrift`: the features that a model sees are no longer distributed as in training.

The population stability index of one feature, over bins of its training values (deciles, and one bin for missing values)::

    PSI = Σ_b (p_b − q_b) log(p_b / q_b)

where q is a bin's share in training and p its share of late, weighted exponentially. It is symmetric, and the sum of both
Kullback–Leibler divergences (Siddiqi, "Credit risk scorecards", 2006, with the customary limits .1 and .25).

It is a gauge and no test: no probability of a false alarm is promised. Features of markets are autocorrelated, so that any few
months differ from the whole, and a limit made for independent rows would call that drift. The limit of each feature is
therefore at least the largest value that it had when this monitor was run over the training rows themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from backtests.monitoring.monitor import Monitor, check_positive
from markets import InputError

LIMIT = 0.25  # the customary one
BINS = 10
HALF_LIFE = 63.0  # bars
SMALLEST = 1e-4  # share of a bin, so that an empty one does not count as infinitely far


@dataclass(kw_only=True)
class FeatureDrift(Monitor):
    """Population stability of F features; alarm while that of one or more is at its limit or above.

    Unlike the other alarms it goes out when the features come back; `since` is the bar at which it last began.

    Attributes
    ----------
    names : tuple of str, length F
    edges : ndarray of shape (F, B - 1)
        Inner edges of the bins, in the features' units; a value is in the bin above an edge if it is larger.
    reference : ndarray of shape (F, B + 1)
        Share of each bin in training; the last is that of missing values.
    limits : ndarray of shape (F,)
    half_life : float
        Bars after which the weight of a bar has halved.
    shares : ndarray of shape (F, B + 1)
        Share of each bin of late, which starts as the reference.

    Raises
    ------
    InputError
        When shapes do not fit.
    """

    names: tuple[str, ...]
    edges: np.ndarray
    reference: np.ndarray
    limits: np.ndarray
    half_life: float = HALF_LIFE
    shares: np.ndarray = None  # type: ignore[assignment]  # the reference, unless a state is read

    def __post_init__(self) -> None:
        check_positive(self, half_life=self.half_life)
        self.shares = self.reference.copy() if self.shares is None else self.shares
        count, bins = len(self.names), self.edges.shape[-1] + 1
        wanted = [(count, bins - 1), (count, bins + 1), (count,), (count, bins + 1)]
        found = [part.shape for part in (self.edges, self.reference, self.limits, self.shares)]
        if not count or found != wanted:
            raise InputError(
                f"FeatureDrift: edges, reference, limits and shares have the shapes {found}; {count} features want {wanted}"
            )

    @classmethod
    def of(
        cls,
        features: np.ndarray,
        names: Sequence[str],
        *,
        bins: int = BINS,
        limit: float = LIMIT,
        half_life: float = HALF_LIFE,
    ) -> FeatureDrift:
        """The monitor that knows the features of training.

        Parameters
        ----------
        features : ndarray of shape (T, F) or (T, A, F)
            In order of time; of A symbols, each counts alike. Missing values are NaN.
        names : sequence of str, length F
        bins : int
            Number of bins of equally many training values; at least 2.
        limit : float
            Least limit of the index.
        half_life : float
            In bars.

        Raises
        ------
        InputError
            When the shape does not fit, or a feature has no finite value.
        """
        features = np.asarray(features, dtype=np.float64)
        if features.ndim not in (2, 3) or features.shape[-1] != len(names) or not len(names):
            raise InputError(
                f"FeatureDrift: features of shape {features.shape} and {len(names)} names; give (T, F) or (T, A, F) and F names"
            )
        if bins < 2:
            raise InputError(f"FeatureDrift: bins is {bins}; give 2 or more")
        check_positive_limit(limit)
        flat = np.where(np.isfinite(features), features, np.nan).reshape(-1, len(names))
        for column, name in enumerate(names):
            if not np.isfinite(flat[:, column]).any():
                raise InputError(f"FeatureDrift: feature {name} has no value in training; leave it out")
        edges = np.nanquantile(flat, np.arange(1, bins) / bins, axis=0).T
        reference = _shares(flat, edges)
        monitor = cls(
            names=tuple(names), edges=edges, reference=reference, limits=np.full(len(names), limit), half_life=half_life
        )
        largest = monitor.limits
        for row in features:
            monitor.observe(row)
            largest = np.maximum(largest, monitor.indices)
        return cls(names=tuple(names), edges=edges, reference=reference, limits=largest, half_life=half_life)

    @property
    def indices(self) -> np.ndarray:
        """Population stability index of each feature, shape (F,)."""
        p, q = np.maximum(self.shares, SMALLEST), np.maximum(self.reference, SMALLEST)
        return ((p - q) * np.log(p / q)).sum(axis=1)

    @property
    def drifted(self) -> dict[str, float]:
        """The features at their limits or above, with their indices; the worst first."""
        found = self.indices
        order = np.argsort(-found / self.limits, kind="stable")
        return {self.names[k]: float(found[k]) for k in order if found[k] >= self.limits[k]}

    @property
    def value(self) -> float:
        """Largest index as a multiple of its feature's limit: an alarm at 1 or more."""
        return float((self.indices / self.limits).max())

    def update(self, time: object, features: np.ndarray) -> None:
        """Learn from one bar. The same bar again changes nothing.

        Parameters
        ----------
        time : Timestamp or what pandas reads as one
        features : ndarray of shape (F,) or (A, F)

        Raises
        ------
        InputError
            When the time is before the last one, or the shape does not fit.
        """
        stamp = self.admit(time)
        if stamp is None:
            return
        row = np.asarray(features, dtype=np.float64)
        if row.ndim not in (1, 2) or row.shape[-1] != len(self.names) or not row.size:
            raise InputError(
                f"FeatureDrift: features of bar {stamp} have shape {row.shape}; give {len(self.names)}, or a row per symbol"
            )
        self.observe(row)
        self.last = stamp
        if self.value < 1:
            self.since = None
        elif self.since is None:
            self.since = stamp

    def observe(self, features: np.ndarray) -> None:
        """What `update` learns from the features (F,) or (A, F), without times and alarms."""
        kept = 0.5 ** (1 / self.half_life)
        now = _shares(features.reshape(-1, len(self.names)), self.edges)
        self.shares = kept * self.shares + (1 - kept) * now


def check_positive_limit(limit: float) -> None:
    """Raise `InputError` unless the limit of an index is above 0."""
    if not 0 < limit < np.inf:
        raise InputError(f"FeatureDrift: limit is {limit}; give a positive number such as {LIMIT}")


def _shares(rows: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Share of the rows (N, F) in each bin of each feature, the last for missing values; shape (F, B + 1)."""
    missing = ~np.isfinite(rows)
    bins = edges.shape[1] + 1
    place = np.where(missing, bins, (np.where(missing, 0.0, rows)[:, :, None] > edges).sum(axis=-1))
    return (place[:, :, None] == np.arange(bins + 1)).mean(axis=0)
