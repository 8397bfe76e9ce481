"""`Gate`: how much of each expert to hold, given the probabilities of the regimes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from markets import InputError


@dataclass(frozen=True, eq=False)
class Gate:
    """Weights of E experts from the filtered probabilities p of K regimes.

    A softmax gate that reads probabilities (Jacobs, Jordan, Nowlan and Hinton, "Adaptive mixtures of local experts", Neural
    Computation 1991), and the probabilities themselves, in the shares s and 1 − s::

        g_e = Σ_k p_k^β M_ke / Σ_e' Σ_k p_k^β M_ke'
        w   = (1 − s) p + s g

    With s = 0 it is the *identity gate*, one expert for each regime, by its probability. M says how much of each expert a regime
    calls for: a chain's transition matrix turns p into the forecast of the next bar, and a larger row lets a regime count for
    more than its probability, as a wild one should where risk is paid for. The sharpness β goes from one mixture whatever the
    regime (0), by probability (1), to the most probable regime alone (∞).

    Attributes
    ----------
    mix : ndarray of shape (K, E)
        M, at least 0.
    sharpness : float
        β, at least 0.
    share : float
        s, in [0, 1].

    Raises
    ------
    InputError
        When a value is out of range, a regime calls for no expert, or there are not as many experts as regimes and s is below 1.
    """

    mix: np.ndarray
    sharpness: float = 1.0
    share: float = 1.0

    def __post_init__(self) -> None:
        mix = np.array(self.mix, dtype=np.float64)
        object.__setattr__(self, "mix", mix)
        if mix.ndim != 2 or not np.isfinite(mix).all() or (mix < 0).any() or not (mix.sum(axis=1) > 0).all():
            raise InputError(
                "gate: mix must be a table of a row for each regime, of numbers of at least 0 and not all 0"
            )
        if not (0 <= self.sharpness < np.inf and 0 <= self.share <= 1):
            raise InputError(
                f"gate: sharpness is {self.sharpness} and share {self.share}; they must be at least 0, and in [0, 1]"
            )
        if self.share < 1 and mix.shape[0] != mix.shape[1]:
            raise InputError(f"gate: with {mix.shape[1]} experts for {mix.shape[0]} regimes, share must be 1")

    @classmethod
    def identity(cls, regimes: int) -> Gate:
        """One expert for each regime, by its probability."""
        return cls(np.eye(regimes), share=0.0)

    def weights(self, probabilities: np.ndarray) -> np.ndarray:
        """Weights (T, E) of the experts, given the probabilities (T, K) of the regimes."""
        return gate_weights(probabilities, self.mix, self.sharpness, self.share)


def gate_weights(p: Any, mix: Any, sharpness: Any, share: Any) -> Any:
    """The formula of `Gate`, of shape (..., E), for arrays and for tensors."""
    called = p**sharpness @ mix
    learnt = called / called.sum(-1)[..., None]
    return share * learnt if p.shape[-1] != learnt.shape[-1] else (1 - share) * p + share * learnt
