"""`Actions`: conversion of actions to target weights (direct, by a softmax, or from discrete positions)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from markets.common.errors import InputError


class Actions:
    """Action space and conversion of actions to target weights.

    Parameters
    ----------
    kind : {"box", "simplex", "discrete"}
        ``box``: actions are the weights. ``simplex``: actions are A + 1 scores; their softmax is the weights and, last, the
        fraction of cash. ``discrete``: for each symbol the index of one of `positions`; its weight is that position divided
        by A.
    positions : sequence of float
        For ``discrete``.
    symbols : int
        Number of symbols A.
    long_only : bool
        For ``box``: whether weights are in [0, 1] instead of [−1, 1].

    Raises
    ------
    InputError
        When the kind is unknown or the positions are not finite numbers.
    """

    def __init__(self, kind: str, positions: Sequence[float], symbols: int, long_only: bool):
        self.kind, self.symbols = kind, symbols
        self.positions = np.asarray(positions, dtype=np.float64)
        self.space: spaces.Space
        if kind == "box":
            self.space = spaces.Box(0.0 if long_only else -1.0, 1.0, (symbols,), np.float64)
        elif kind == "simplex":
            self.space = spaces.Box(-10.0, 10.0, (symbols + 1,), np.float64)
        elif kind == "discrete":
            if self.positions.ndim != 1 or not len(self.positions) or not np.isfinite(self.positions).all():
                raise InputError(f"positions are {positions}; give a sequence of numbers, such as (-1, 0, 1)")
            count = len(self.positions)
            self.space = spaces.Discrete(count) if symbols == 1 else spaces.MultiDiscrete([count] * symbols)
        else:
            raise InputError(f"actions {kind!r} are unknown; use box, simplex or discrete")
        self._shape = self.space.shape or ()
        self._rows = self.positions[:, None, None].copy()

    def weights(self, action: np.ndarray, n: int) -> np.ndarray:
        """Target weights (n, A) from n actions.

        Raises
        ------
        ValueError
            When actions have the wrong shape or are not among the positions; the message names the environment. Weights that
            are not finite are not checked here; the caller raises `not_finite` for them.
        """
        action = np.asarray(action)
        if action.shape != (n, *self._shape):
            raise ValueError(f"actions have shape {action.shape}, but {(n, *self._shape)} is needed")
        if self.kind == "discrete":
            with np.errstate(invalid="ignore"):
                wrong = ~((action >= 0) & (action < len(self.positions)) & (action == np.floor(action)))
            if wrong.any():
                b = int(np.argwhere(wrong)[0][0])
                raise ValueError(f"action of environment {b} is {action[b]}; there are {len(self.positions)} positions")
            return (self.positions[action.astype(np.int64)] / self.symbols).reshape(n, self.symbols)
        action = np.ascontiguousarray(action, dtype=np.float64)
        if self.kind == "box":
            return action
        with np.errstate(invalid="ignore"):
            score = np.exp(action - action.max(axis=1, keepdims=True))
        return np.ascontiguousarray((score / score.sum(axis=1, keepdims=True))[:, :-1])

    def one(self, action: Any) -> np.ndarray:
        """`weights` of one action, shape (1, A); with a fast path for a discrete action of one symbol."""
        plain = self.kind == "discrete" and self.symbols == 1 and isinstance(action, (int, np.integer))
        if plain and 0 <= action < len(self.positions):
            return self._rows[int(action)]
        return self.weights(np.asarray(action)[None], 1)

    def not_finite(self, action: np.ndarray, b: int) -> ValueError:
        """The exception to raise for the action of environment `b`, whose weights are not all finite."""
        i = int(np.argmin(np.isfinite(action[b])))
        return ValueError(f"action of environment {b} at {i} is {action[b, i]}; it must be finite")
