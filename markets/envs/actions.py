"""How a learner's action becomes target weights: the weights themselves, a softmax of scores, or one of a few positions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from gymnasium import spaces

from markets.common.errors import InputError


class Actions:
    """How an action becomes target weights.

    Parameters
    ----------
    kind : {"box", "simplex", "discrete"}
        ``box``: the weights themselves. ``simplex``: A + 1 scores, whose softmax is the weights and (last) the share of
        cash. ``discrete``: for each symbol the number of one of `positions`, an A-th of which is its weight.
    positions : sequence of float
        For ``discrete``.
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

    def weights(self, action: np.ndarray, n: int) -> np.ndarray:
        """Target weights (n, A) from n actions.

        Raises
        ------
        ValueError
            Actions of another shape, not finite, or not among the positions; naming the environment.
        """
        shape = (n, *self.space.shape) if self.space.shape else (n,)
        action = np.asarray(action)
        if action.shape != shape:
            raise ValueError(f"actions have shape {action.shape}, but {shape} is needed")
        if self.kind == "discrete":
            wrong = (action < 0) | (action >= len(self.positions))
            if wrong.any():
                b = int(np.argwhere(wrong)[0][0])
                raise ValueError(f"action of environment {b} is {action[b]}; there are {len(self.positions)} positions")
            return (self.positions[action] / self.symbols).reshape(n, self.symbols)
        action = np.ascontiguousarray(action, dtype=np.float64)
        if not np.isfinite(action).all():
            b, i = np.argwhere(~np.isfinite(action))[0]
            raise ValueError(f"action of environment {b} at {i} is {action[b, i]}; it must be finite")
        if self.kind == "box":
            return action
        score = np.exp(action - action.max(axis=1, keepdims=True))
        return np.ascontiguousarray((score / score.sum(axis=1, keepdims=True))[:, :-1])
