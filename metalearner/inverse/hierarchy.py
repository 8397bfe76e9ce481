"""Several traders: how preferences differ from one to the next, so that a new trader is inferred from few decisions.

Logarithms of the preferences of trader i are ``θ_i ~ N(μ, T)``, and what his decisions say of them is nearly normal, with the
Fisher information J_i at the maximum θ̂_i. μ and T maximise the likelihood of all of them (empirical Bayes), by EM::

    Λ_i = (T⁻¹ + J_i)⁻¹,   m_i = Λ_i (T⁻¹ μ + J_i θ̂_i),   μ ← mean m_i,   T ← mean (Λ_i + (m_i − μ)(m_i − μ)')

A trader of whom a preference is not identified has no information in that direction, and counts as much as he tells. The result
is the prior of `metalearner.inverse.infer`.

Reference: Efron and Morris, "Data analysis using Stein's estimator and its generalizations", JASA 1975.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from markets import InputError
from metalearner.inverse.entropy import MaximumEntropy

FEWEST = 3  # traders
_STEPS = 500
_CLOSE = 1e-8
_LEAST = 1e-4  # variance of a logarithm from trader to trader: nobody is like all others to within a per cent


def population(traders: Sequence[MaximumEntropy]) -> tuple[np.ndarray, np.ndarray]:
    """Mean (3,) and covariance (3, 3) of the logarithms of preferences, over traders.

    Raises
    ------
    InputError
        When there are fewer than three traders.
    """
    if len(traders) < FEWEST:
        raise InputError(f"{len(traders)} traders say nothing of how traders differ; give {FEWEST} or more")
    peaks = np.array([trader.log for trader in traders])
    information = np.array([trader.information for trader in traders])
    weighted = np.einsum("ikl,il->ik", information, peaks)
    mean = np.linalg.lstsq(information.sum(axis=0), weighted.sum(axis=0), rcond=None)[0]
    covariance = np.eye(len(mean))
    for _ in range(_STEPS):
        precision = np.linalg.inv(covariance)
        posterior = np.linalg.inv(precision + information)
        centres = np.einsum("ikl,il->ik", posterior, precision @ mean + weighted)
        mean = centres.mean(axis=0)
        apart = centres - mean
        found = posterior.mean(axis=0) + apart.T @ apart / len(traders) + _LEAST * np.eye(len(mean))
        moved = float(np.abs(found - covariance).max())
        covariance = found
        if moved < _CLOSE:
            break
    return mean, covariance
