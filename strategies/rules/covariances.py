"""Estimators of the covariance of returns, which `MinimumVariance` takes: how fast each forgets is what they differ in.

All but `LedoitWolfCovariance` are weighted sums of products of returns, by weights a_k that depend on a return's age alone,
and none is later than the fit. Except in `SampleCovariance` and `LedoitWolfCovariance` means are taken as zero, as is usual for
days (J. P. Morgan, "RiskMetrics technical document", 1996).

A symbol that was listed later counts from its listing. Its variance is over the sessions since, and its correlation with
another over those that both have had; so a short history is not read as a low covariance. The pairs are then not of one sample,
and a matrix with a negative eigenvalue is replaced by that without it (`definite`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from markets import InputError

_CUT = 6  # weights are cut off after this many halflives, so that each fit depends on a fixed number of sessions


class Covariance(ABC):
    """What estimates a covariance: a few settings, and a function of returns. Equal settings are equal."""

    name: ClassVar[str]

    @property
    def label(self) -> str:
        """The estimator in a few words, for the name of a strategy."""
        return self.name

    @property
    def memory(self) -> float:
        """Sessions that are read where there are as many; 0 for those of the strategy's window alone, infinite for all."""
        return 0

    def read(self, returns: np.ndarray) -> np.ndarray:
        """The last returns of `returns`, as many as are remembered."""
        return returns[-int(min(self.memory, len(returns))) :]

    @abstractmethod
    def of(self, returns: np.ndarray) -> np.ndarray:
        """The covariance per session.

        Parameters
        ----------
        returns : ndarray of shape (K, n)
            Simple returns of the market's sessions, the last one last; NaN before a symbol is listed, and not later.

        Returns
        -------
        ndarray of shape (n, n)
            Symmetric, without negative eigenvalues beyond rounding.
        """


@dataclass(frozen=True)
class SampleCovariance(Covariance):
    """The sample covariance of the window."""

    name = "sample"

    def of(self, returns: np.ndarray) -> np.ndarray:
        return np.atleast_2d(np.cov(returns.T))


@dataclass(frozen=True)
class LedoitWolfCovariance(Covariance):
    """The sample covariance of the window, shrunk towards equal variances without correlation (Ledoit and Wolf, "A
    well-conditioned estimator for large-dimensional covariance matrices", Journal of Multivariate Analysis 2004).

    With x_k the K returns of n symbols less their means, S their covariance and μ = tr(S) / n::

        Σ = (1 − δ) S + δ μ I,   δ = min(1, Σ_k |x_k x_kᵀ − S|² / (K² |S − μ I|²))

    in Frobenius norms: the δ of least expected error, as far as the returns tell.
    """

    name = "Ledoit–Wolf"

    def of(self, returns: np.ndarray) -> np.ndarray:
        x = returns - returns.mean(axis=0)
        length, n = x.shape
        sample = x.T @ x / length
        target = np.trace(sample) / n * np.eye(n)
        noise = ((x**2).sum(axis=1) ** 2).sum() / length**2 - (sample**2).sum() / length
        distance = ((sample - target) ** 2).sum()
        shrinkage = min(noise / distance, 1.0) if distance > 0 else 1.0
        return (1 - shrinkage) * sample + shrinkage * target


@dataclass(frozen=True)
class ExponentialCovariance(Covariance):
    """Exponentially decaying weights, ``a_k ∝ 2^(−k / halflife)`` for a return of k sessions ago, up to six halflives.

    Attributes
    ----------
    halflife : int
        In sessions, at least 1.

    Raises
    ------
    InputError
        When `halflife` is below 1.
    """

    halflife: int = 63
    name = "ewma"

    def __post_init__(self) -> None:
        _check(self.name, self.halflife)

    @property
    def label(self) -> str:
        return f"{self.name} {self.halflife}"

    @property
    def memory(self) -> float:
        return _CUT * self.halflife

    def of(self, returns: np.ndarray) -> np.ndarray:
        last = self.read(returns)
        return _weighted(last, _decay(len(last), self.halflife))


@dataclass(frozen=True)
class ExpandingCovariance(Covariance):
    """Equal weights on all sessions from the first bar held: nothing is forgotten.

    So a fit depends on where the bars begin, as that of no other estimator here.
    """

    name = "expanding"

    @property
    def memory(self) -> float:
        return np.inf

    def of(self, returns: np.ndarray) -> np.ndarray:
        return _weighted(returns, np.full(len(returns), 1 / len(returns)))


@dataclass(frozen=True)
class PooledCovariance(Covariance):
    """The equal-weight pool of halflives: the mean of exponentially weighted covariances over several.

    Covariances are pooled, not weights of portfolios: a mean of forecasts is again one, and its portfolio is optimal for it
    (Bates and Granger, "The combination of forecasts", Operational Research Quarterly 1969; equal weights are hard to beat by
    estimated ones: Timmermann, "Forecast combinations", Handbook of Economic Forecasting 2006). It is one weighted sum::

        a_k = mean over h of 2^(−k / h) / Σ_j 2^(−j / h),   k, j < memory

    which decays slowly, as a power of k does. Where a symbol is listed later, it is the weights that are pooled.

    Attributes
    ----------
    halflives : tuple of int
        In sessions, each at least 1.
    cut : int
        Sessions after which all weights are cut off: five years of days, since six of the longest halflives are twelve.

    Raises
    ------
    InputError
        When there is no halflife, one is below 1, or `cut` is below the longest.
    """

    halflives: tuple[int, ...] = (21, 42, 63, 126, 252, 504)
    cut: int = 1260
    name = "pool"

    def __post_init__(self) -> None:
        _check(self.name, *self.halflives)
        if self.cut < max(self.halflives):
            raise InputError(f"{self.name}: cut is {self.cut}; it must be at least the longest halflife")

    @property
    def memory(self) -> float:
        return self.cut

    def of(self, returns: np.ndarray) -> np.ndarray:
        last = self.read(returns)
        return _weighted(last, np.mean([_decay(len(last), halflife) for halflife in self.halflives], axis=0))


@dataclass(frozen=True)
class RegimeAdjustedCovariance(Covariance):
    """Variances that forget faster than correlations: skfolio's ``RegimeAdjustedEWCovariance`` without its scale.

    With r the returns and λ = 2^(−1 / halflife)::

        v_t = λ v_{t−1} + (1 − λ) r_t²,   z_t = r_t / sqrt(v_t)

    correlations are those of z at `correlation_halflife`, and variances v (Engle, "Dynamic conditional correlation", Journal of
    Business and Economic Statistics 2002). skfolio multiplies the whole matrix by φ², a factor by which the last returns of a
    portfolio were larger than forecast (Paleologo, "The elements of quantitative investing", 2025). A portfolio of least
    variance does not depend on it, so it is left out; with equal halflives, as skfolio's defaults have them, that portfolio would
    be the one of `ExponentialCovariance`.

    Attributes
    ----------
    halflife : int
        Of variances, in sessions, at least 1; 40 as in skfolio.
    correlation_halflife : int
        Of correlations, at least `halflife`. The weights are cut off after six of it.

    Raises
    ------
    InputError
        When a halflife is out of range.
    """

    halflife: int = 40
    correlation_halflife: int = 120
    name = "regime adjusted"

    def __post_init__(self) -> None:
        _check(self.name, self.halflife)
        if self.correlation_halflife < self.halflife:
            raise InputError(
                f"{self.name}: correlation_halflife is {self.correlation_halflife}; it must be at least the halflife, "
                f"{self.halflife}"
            )

    @property
    def label(self) -> str:
        return f"{self.name} {self.halflife}/{self.correlation_halflife}"

    @property
    def memory(self) -> float:
        return _CUT * self.correlation_halflife

    def of(self, returns: np.ndarray) -> np.ndarray:
        last = self.read(returns)
        squares = np.vstack([np.zeros(last.shape[1]), np.nan_to_num(last) ** 2])  # v is 0 at the start
        variance = pd.DataFrame(squares).ewm(halflife=self.halflife, adjust=False).mean().to_numpy()[1:]
        with np.errstate(divide="ignore", invalid="ignore"):
            z = np.where(variance > 0, last / np.sqrt(variance), 0.0)
        z[np.isnan(last)] = np.nan
        std, _ = _std_and_correlation(last, _decay(len(last), self.halflife))
        _, correlation = _std_and_correlation(z, _decay(len(last), self.correlation_halflife))
        return correlation * np.outer(std, std)


def _check(name: str, *halflives: int) -> None:
    if not halflives or min(halflives) < 1:
        raise InputError(f"{name}: halflives are {halflives}; give some, of at least 1 session each")


def _decay(length: int, halflife: int) -> np.ndarray:
    """Weights (length,) that add up to one and halve every `halflife` sessions back from the last."""
    weights = 0.5 ** (np.arange(length)[::-1] / halflife)
    return weights / weights.sum()


def _weighted(returns: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Covariance (n, n) of returns (K, n) by weights (K,) of sum one."""
    if not np.isnan(returns[0]).any():  # the same as below, in one product
        return (returns * weights[:, None]).T @ returns
    std, correlation = _std_and_correlation(returns, weights)
    return correlation * np.outer(std, std)


def _std_and_correlation(returns: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Standard deviations (n,) of symbols since their listing, and correlations (n, n) of pairs since the later of theirs.

    What has not moved since has no correlation.
    """
    missing = np.isnan(returns)
    listed = missing.sum(axis=0)  # row of the first return
    filled = np.where(missing, 0.0, returns)
    scaled = filled * weights[:, None]
    # sums from each listing on: [j, i] is that of symbol i since the j-th listing
    rows, place = np.unique(listed, return_inverse=True)
    squares = np.add.reduceat(scaled * filled, rows, axis=0)[::-1].cumsum(axis=0)[::-1]
    mass = np.add.reduceat(weights, rows)[::-1].cumsum()[::-1]
    symbols = np.arange(len(listed))
    std = np.sqrt(squares[place, symbols] / mass[place])
    both = squares[np.maximum.outer(place, place), symbols[:, None]]
    scale = np.sqrt(both * both.T)
    correlation = np.divide(scaled.T @ filled, scale, out=np.zeros_like(scale), where=scale > 0)
    np.fill_diagonal(correlation, 1.0)
    return std, definite(correlation) if listed.any() else correlation


def definite(correlation: np.ndarray) -> np.ndarray:
    """A correlation matrix without negative eigenvalues: they become zero, and the diagonal one again.

    As in Rebonato and Jäckel, "The most general methodology to create a valid correlation matrix", Journal of Risk 2000.
    """
    values, vectors = np.linalg.eigh(correlation)
    if values[0] >= 0:
        return correlation
    fixed = (vectors * np.maximum(values, 0.0)) @ vectors.T
    scale = np.sqrt(np.diag(fixed))
    fixed /= np.outer(scale, scale)
    np.fill_diagonal(fixed, 1.0)
    return (fixed + fixed.T) / 2
