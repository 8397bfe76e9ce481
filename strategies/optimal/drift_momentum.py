"""The optimum of `DriftMomentum`: Bayesian inference of drift and momentum."""

from __future__ import annotations

import numpy as np

from markets.synthetic import DriftMomentum
from strategies.optimal.optimum import Optimum


class DriftMomentumFilter(Optimum):
    """Bayes-optimal strategy of `DriftMomentum`: ``w = E[m] / (1 + E[m²])``, with m the expected next return.

    Given φ, ``y_t = r_{t+1} − φ r_t = μ (1 − φ) + ε`` makes the posterior of μ Gaussian, with precision τ and mean η::

        τ' = τ + (1 − φ)²,   η' = (τ η + (1 − φ) y) / τ',   y ~ N((1 − φ) η, 1 + (1 − φ)² / τ)

    and φ is integrated out by Gauss–Legendre quadrature, with nodes weighted by their evidence. Trades do not affect what is
    observed, so each bar can be optimised on its own: w maximises ``E[w r − ½ w² r²]``, where ``E[r²] = 1 + E[m²]``.

    Parameters
    ----------
    family : DriftMomentum, optional
        Its defaults if not given.
    nodes : int
        Quadrature nodes for φ.
    """

    family: DriftMomentum
    name = "Bayes filter"

    def __init__(self, family: DriftMomentum | None = None, nodes: int = 33):
        self.family = family or DriftMomentum()
        self.nodes = nodes

    def weights(self, returns: np.ndarray, signal: np.ndarray) -> np.ndarray:
        x, mass = np.polynomial.legendre.leggauss(self.nodes)
        phi = self.family.momentum * x
        gain = 1 - phi
        precision = np.full_like(phi, self.family.drift**-2 + 1)  # the same in every episode
        mean = returns[:, :1] / precision
        evidence = np.zeros_like(mean) + np.log(mass)
        out = np.empty_like(returns)
        for t in range(returns.shape[1]):
            if t > 0:
                y = returns[:, t, None] - phi * returns[:, t - 1, None]
                variance = 1 + gain**2 / precision
                evidence = evidence - 0.5 * (np.log(variance) + (y - gain * mean) ** 2 / variance)
                mean = (precision * mean + gain * y) / (precision + gain**2)
                precision = precision + gain**2
            belief = np.exp(evidence - evidence.max(axis=1, keepdims=True))
            belief /= belief.sum(axis=1, keepdims=True)
            m = mean * gain + phi * returns[:, t, None]
            square = (belief * (m**2 + gain**2 / precision)).sum(axis=1)
            out[:, t] = (belief * m).sum(axis=1) / (1 + square)
        return out
