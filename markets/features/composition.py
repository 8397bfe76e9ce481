"""What a policy sees: a handful of causal features of every symbol.

Row t is made of bars up to t, by one forward pass; there is nothing to fit and nothing to scale by the whole sample.

There are three ways to run the same fold (`markets.features.fold`): over a panel (`Features.compute`), block by block where
the panel's features would not fit into memory (`Features.blocks`), and bar by bar as they arrive (`Features.stream`). The
three agree to the bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from markets.bars.bars import Bars
from markets.common.errors import InputError
from markets.features.fold import BLOCK, FeatureStream, Fold
from markets.features.parts import AboveAverage, Part, Return, VolatilityRatio, check_fields, lookback, needs


@dataclass(frozen=True)
class Features:
    """A composition of features, in the order of its parts.

    Attributes
    ----------
    parts : tuple of Part
        By default momentum over five horizons, the volatility's ratio, and the distance from two averages.

    Raises
    ------
    InputError
        When there is no part, one stands twice, or one is not a feature.
    """

    parts: tuple[Part, ...] = (
        *(Return(h) for h in (1, 5, 21, 63, 252)), VolatilityRatio(), AboveAverage(50), AboveAverage(200)
    )  # fmt: skip

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", tuple(self.parts))
        for part in self.parts:
            if not isinstance(part, Part):
                raise InputError(
                    f"features: {part!r} is no feature; use Return(21), Trend(8, 24) and the like, or a function under @feature"
                )
        names = self.names
        if not names:
            raise InputError("features: there must be at least one part")
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise InputError(f"features: {twice} stands twice; keep one of the two")

    @classmethod
    def standard(
        cls,
        horizons: tuple[int, ...] = (1, 5, 21, 63, 252),
        volatility: int = 63,
        short_volatility: int = 10,
        averages: tuple[int, ...] = (50, 200),
    ) -> Features:
        """The default composition with other windows: a `Return` a horizon, a `VolatilityRatio`, an `AboveAverage` an average."""
        ratio = VolatilityRatio(short_volatility, volatility)
        returns = [Return(h, volatility) for h in horizons]
        return cls((*returns, ratio, *(AboveAverage(n, volatility) for n in averages)))

    @classmethod
    def from_dict(cls, config: dict[str, Any]) -> Features:
        """From what ``dataclasses.asdict`` and JSON made of it.

        Raises
        ------
        InputError
            When a part is of no known kind; a user's own must be defined before a model that reads it is loaded.
        """
        if "parts" not in config:  # models saved before features were composed
            return cls.standard(**_tuples(config))
        parts = []
        for part in config["parts"]:
            if part["kind"] not in Part.kinds:
                raise InputError(f"features: {part['kind']!r} is no kind of feature; there are {', '.join(Part.kinds)}")
            parts.append(Part.kinds[part["kind"]](**{k: v for k, v in _tuples(part).items() if k != "kind"}))
        return cls(tuple(parts))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the F columns."""
        return tuple(name for part in self.parts for name in part.names)

    @property
    def lookback(self) -> int:
        """Bars that must come before the first one that has all features."""
        return lookback(self.parts)

    @property
    def needs(self) -> set[str]:
        """What of the bars they read besides the closes: fields, and ``index`` for their times."""
        return needs(self.parts)

    def compute(self, bars: Bars, out: np.ndarray | None = None) -> np.ndarray:
        """Features of the visible rows; the history warms them up.

        Parameters
        ----------
        bars : Bars
        out : ndarray of shape (T, A, F), optional
            Where to write them, for instance a memory map.

        Returns
        -------
        ndarray of shape (T, A, F)
            Float64; NaN for a symbol's first `lookback` bars and while it is not listed. Over gaps the last close stands.

        Raises
        ------
        InputError
            When the bars lack a field that a feature reads.
        """
        shape = (*bars.shape, len(self.names))
        if out is None:
            out = np.empty(shape)
        elif out.shape != shape or out.dtype != np.float64:
            raise InputError(f"out is {out.dtype} of shape {out.shape}; these features are float64 of shape {shape}")
        for _ in Fold(self.parts, bars).blocks(bars, BLOCK, out):
            pass
        return out

    def blocks(self, bars: Bars, size: int = BLOCK) -> Iterator[np.ndarray]:
        """Features of the visible rows, in order, `size` rows at a time: what `compute` gives, in bounded memory.

        A user's own features are computed whole before the first block.

        Yields
        ------
        ndarray of shape (size or fewer, A, F)
        """
        if size < 1:
            raise InputError(f"size is {size}; a block has at least 1 row")
        yield from Fold(self.parts, bars).blocks(bars, size, None)

    def stream(self, bars: Bars) -> FeatureStream:
        """Go on from `bars` bar by bar as they arrive."""
        return FeatureStream(self.parts, bars)

    def require(self, bars: Bars, more: int = 0) -> None:
        """Raise `InputError` unless there are bars enough for `more` rows of features, and all fields."""
        held, needed = len(bars) + bars.past, self.lookback + 1 + more
        if held < needed:
            raise InputError(
                f"{bars.name} has {held} bars, but {needed} are needed ({self.lookback} warm the features up)"
            )
        check_fields(self.parts, bars)


def _tuples(config: dict[str, Any]) -> dict[str, Any]:
    """Lists back to the tuples that JSON made them of."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}
