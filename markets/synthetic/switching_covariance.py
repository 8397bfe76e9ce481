"""Several assets of which one half is wild while the other is calm, in turns that are hidden, and correlated more or less."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from markets.synthetic.family import Episodes, Family, Seed


@dataclass(frozen=True)
class SwitchingCovariance(Family):
    """Two hidden regimes with their covariances: ``r_t ~ N(0, Σ_s)``, where s = 0, 1 stays the same with probability `stay`.

    In regime 0 the first half of the assets has volatility 1 and the second `wild`, in regime 1 the other way round; all pairs
    have the correlation of their regime. Weights are not negative and sum to 1, trading is free, and the reward is minus the
    square of the portfolio's return: what is sought is the least variance.

    Attributes
    ----------
    assets : int
        An even number.
    wild : float
        Volatility of the wild half, above 1.
    correlation : (float, float)
        Of each regime, in [0, 1).
    stay : float
    """

    assets: int = 6
    wild: float = 2.0
    correlation: tuple[float, float] = (0.1, 0.4)
    stay: float = 0.99
    length: int = 1000
    scale: float = 0.01
    name: ClassVar[str] = "switching covariance"

    def __post_init__(self) -> None:
        self._require(
            (self.assets >= 2 and self.assets % 2 == 0, "assets must be an even number, at least 2"),
            (1 < self.wild < np.inf, "wild must be above 1"),
            (min(self.correlation) >= 0 and max(self.correlation) < 1, "correlations must be in [0, 1)"),
            (0.5 <= self.stay < 1, "stay must be in [0.5, 1)"),
        )

    @property
    def covariance(self) -> np.ndarray:
        """Of each regime, shape (2, A, A)."""
        half, ones = self.assets // 2, np.ones(self.assets)
        found = np.empty((2, self.assets, self.assets))
        for regime, correlation in enumerate(self.correlation):
            volatility = ones.copy()
            volatility[half:] = self.wild
            volatility = volatility if regime == 0 else volatility[::-1]
            matrix = correlation + (1 - correlation) * np.eye(self.assets)
            found[regime] = np.outer(volatility, volatility) * matrix
        return found

    def sample(self, episodes: int, seed: Seed) -> Episodes:
        rng = np.random.default_rng(seed)
        bars = self.length + 1
        moved = rng.random((episodes, bars)) >= self.stay
        moved[:, 0] = rng.random(episodes) < 0.5
        state = np.cumsum(moved, axis=1) % 2
        roots = np.linalg.cholesky(self.covariance)
        shock = rng.standard_normal((episodes, bars, self.assets))
        returns = np.where((state == 0)[..., None], shock @ roots[0].T, shock @ roots[1].T)
        return Episodes(self, returns, {"state": state})

    def reward(self, weights: np.ndarray, returns: np.ndarray) -> np.ndarray:
        """``−(w_t · r_{t+1})²`` of weights (n, T, A) and returns (n, T + 1, A), shape (n, T)."""
        return -np.square((weights * returns[:, 1:]).sum(axis=-1))
