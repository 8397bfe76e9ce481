"""`Features`: a composition of causal features, the input of a policy for each symbol.

Row t is computed from bars up to t in one forward pass. Nothing is fitted, and nothing is scaled by whole-sample statistics.

The same fold (`markets.features.fold`) runs over a panel (`Features.compute`), in blocks if the features of the panel do not
fit into memory (`Features.blocks`), or bar by bar as bars arrive (`Features.stream`). The three results are bit-identical.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from markets.bars.bars import Bars
from markets.bars.frequency import DAILY_YEAR
from markets.common.errors import InputError
from markets.common.kinds import find
from markets.features.fold import BLOCK, FeatureStream, Fold
from markets.features.parts import AboveAverage, Part, Return, VolatilityRatio, check_fields, lookback, needs


@dataclass(frozen=True)
class Features:
    """A composition of features, with columns in the order of its parts.

    Attributes
    ----------
    parts : tuple of Part
        By default: momentum over five horizons, the ratio of short to long volatility, and the distance from two moving
        averages.

    Raises
    ------
    InputError
        When there are no parts, one is duplicated, or one is not a feature.
    """

    parts: tuple[Part, ...] = (
        *(Return(h) for h in (1, 5, 21, 63, 252)), VolatilityRatio(), AboveAverage(50), AboveAverage(200)
    )  # fmt: skip

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", tuple(self.parts))
        for part in self.parts:
            if not isinstance(part, Part):
                raise InputError(
                    f"features: {part!r} is not a feature; use Return(21), Trend(8, 24) or the like, or a function under @feature"
                )
        names = self.names
        if not names:
            raise InputError("features: there must be at least one part")
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise InputError(f"features: {twice} appears twice; keep one of the two")

    @classmethod
    def standard(
        cls,
        horizons: tuple[int, ...] = (1, 5, 21, 63, 252),
        volatility: int = 63,
        short_volatility: int = 10,
        averages: tuple[int, ...] = (50, 200),
    ) -> Features:
        """The default composition with other windows.

        Parameters
        ----------
        horizons : tuple of int
            Horizons in bars, one `Return` each.
        volatility, short_volatility : int
            Windows of the long and the short volatility, in bars.
        averages : tuple of int
            Windows of the moving averages in bars, one `AboveAverage` each.
        """
        ratio = VolatilityRatio(short_volatility, volatility)
        returns = [Return(h, volatility) for h in horizons]
        return cls((*returns, ratio, *(AboveAverage(n, volatility) for n in averages)))

    @classmethod
    def scaled(cls, lookback: int) -> Features:
        """The default composition with all windows shortened (or lengthened) alike, so that `lookback` is the longest.

        Parameters
        ----------
        lookback : int
            In bars, at least 4, such as `markets.bars.frequency.bars_in_year`. 252 gives the default composition. With 12:
            returns over 1, 3 and 12 bars, volatilities over 3 and 12, averages over 3 and 10.

        Raises
        ------
        InputError
            When `lookback` is below 4.
        """
        if lookback < 4:
            raise InputError(f"features: lookback is {lookback}; it must be at least 4 bars")

        def windows(daily: tuple[int, ...], least: int) -> tuple[int, ...]:
            return tuple(sorted({max(round(n * lookback / DAILY_YEAR), least) for n in daily}))

        (volatility,), (short,) = windows((63,), min(12, lookback)), windows((10,), 3)
        return cls.standard(windows((1, 5, 21, 63, 252), 1), volatility, short, windows((50, 200), 3))

    @classmethod
    def from_dict(cls, config: dict[str, Any]) -> Features:
        """Inverse of ``dataclasses.asdict``, also after a round trip through JSON.

        Raises
        ------
        InputError
            When the kind of a part is unknown. User-defined features must be defined before a model that uses them is loaded.
        """
        parts = []
        for part in config["parts"]:
            settings = _tuples(part)
            parts.append(find(Part.kinds, settings.pop("kind"), "feature")(**settings))
        return cls(tuple(parts))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the F columns."""
        return tuple(name for part in self.parts for name in part.names)

    @property
    def lookback(self) -> int:
        """Number of own bars that a symbol needs before the first one on which all features are defined."""
        return lookback(self.parts)

    @property
    def reach(self) -> int:
        """Number of own bars before a row that its features depend on; see `Part.reach`."""
        return max(part.reach for part in self.parts)

    def without_memory(self) -> Features:
        """The features that are no memory (`Part.remembers`).

        Raises
        ------
        InputError
            When there are none.
        """
        return Features(tuple(part for part in self.parts if not part.remembers))

    @property
    def needs(self) -> set[str]:
        """What the features read besides the closes: names of fields, and ``"index"`` for the bar times."""
        return needs(self.parts)

    def compute(self, bars: Bars, out: np.ndarray | None = None) -> np.ndarray:
        """Compute the features of the visible rows; the history serves as warm-up.

        Parameters
        ----------
        bars : Bars
        out : ndarray of float64, shape (T, A, F), optional
            Output array, for instance a memory map.

        Returns
        -------
        ndarray of float64, shape (T, A, F)
            NaN for a symbol's first `lookback` own bars and while it is not listed. In its gaps a symbol's features keep their
            values, so that a closed market is no news.

        Raises
        ------
        InputError
            When the bars lack a field that a feature reads, or `out` has the wrong shape or type.
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
        """The result of `compute` in blocks of `size` rows, in bounded memory.

        User-defined features are computed for the whole panel before the first block.

        Yields
        ------
        ndarray of shape (size or fewer, A, F)
        """
        if size < 1:
            raise InputError(f"size is {size}; it must be at least 1")
        yield from Fold(self.parts, bars).blocks(bars, size, None)

    def stream(self, bars: Bars) -> FeatureStream:
        """A `FeatureStream` that continues after `bars`, bar by bar as they arrive."""
        return FeatureStream(self.parts, bars)

    def require(self, bars: Bars, more: int = 0) -> None:
        """Raise `InputError` unless `bars` have all fields, and enough rows for one row of features and `more` after it."""
        needed, held = self.lookback + 1 + more, int(np.isfinite(bars.with_past().close).sum(axis=0).max())
        if (
            held > self.lookback
        ):  # rows that passed before the features of some symbol were known count as its own bars do
            held = len(bars) + bars.past - bars.warm_from(self.lookback + 1) + self.lookback + 1
        if held < needed:
            raise InputError(
                f"{bars.name} has {held} bars, but {needed} are needed ({self.lookback} to warm up the features)"
            )
        check_fields(self.parts, bars)


def _tuples(config: dict[str, Any]) -> dict[str, Any]:
    """Convert the lists that JSON returns back to tuples."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}
