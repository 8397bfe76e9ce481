"""What a policy sees: a handful of causal features of every symbol.

Row t is made of bars up to t, by one forward pass; there is nothing to fit and nothing to scale by the whole sample.
Nearly everything is in units of the symbol's own volatility, so that one policy reads a bank and a bitcoin alike.

Each feature is a small dataclass with its lookback, `Features` composes them, and there are three ways to run the same fold
(`markets.features.program`, its arithmetic in `markets.features.kernels`): over a panel (`Features.compute`), block by block
where the panel's features would not fit into memory (`Features.blocks`), and bar by bar as they arrive (`Features.stream`).
The three agree to the bit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar

import numpy as np

from markets.bars.bars import Bars
from markets.common.errors import InputError
from markets.features import kernels as kernel
from markets.features.program import BLOCK, FeatureStream, Fold, Program

# No feature is larger, either way.
LARGEST = kernel.LARGEST


@dataclass(frozen=True)
class Part:
    """One feature. Its name is its kind and the parameters that it cannot do without, or that are not the default.

    Attributes
    ----------
    kind : str
    by_function : bool
        Whether it is computed by a function of whole panels rather than by the fold.
    """

    kind: str = field(init=False, repr=False)  # tells parts of like parameters apart in a saved model
    by_function: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", kind_of(type(self)))
        for name, value in self._parameters.items():
            if not isinstance(value, (int, np.integer)) or value < 1:
                raise InputError(f"features: every window must be at least 1 bar; {self} has a {name} of {value!r}")

    @property
    def _parameters(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self) if f.init}

    @property
    def names(self) -> tuple[str, ...]:
        """A name for each column."""
        words = [self.kind]
        for f in fields(self):
            if f.init and f.default is MISSING:
                words.append(str(getattr(self, f.name)))
            elif f.init and getattr(self, f.name) != f.default:
                words.append(f"{f.name}_{getattr(self, f.name)}")
        return ("_".join(words),)

    @property
    def lookback(self) -> int:
        """Bars that must come before the first one that has the feature."""
        return max(self._parameters.values(), default=0)

    @property
    def needs(self) -> tuple[str, ...]:
        """What of the bars it reads besides the closes: fields, and ``index`` for their times."""
        return ()

    def values(self, bars: Bars) -> np.ndarray:
        """What its function makes of `bars`, shape (T, A)."""
        raise NotImplementedError

    def _plan(self, program: Program) -> None:
        """Add its steps."""
        raise NotImplementedError


class ByFunction:
    """What makes a `Part` one that a function of whole panels computes (`Part.values`)."""

    by_function: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", kind_of(type(self)))

    def _plan(self, program: Program) -> None:
        program.add(kernel.CUSTOM, program.functions)
        program.functions += 1


def kind_of(part: type) -> str:
    """What the class is called in names and saved models: ``VolatilityRatio`` is a ``volatility_ratio``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", part.__name__).lower()


@dataclass(frozen=True)
class Return(Part):
    """Volatility-scaled return, ``log(P_t / P_{t-h}) / (σ_t sqrt(h))``.

    σ is the root mean square log return over `volatility` bars (Moskowitz, Ooi and Pedersen, "Time series momentum",
    Journal of Financial Economics 2012).
    """

    horizon: int
    volatility: int = 63

    def _plan(self, program: Program) -> None:
        program.reach(self.horizon)
        program.add(kernel.RETURN, self.horizon, slot=program.volatility(self.volatility))


@dataclass(frozen=True)
class Trend(Part):
    """Difference of a fast and a slow average of the log price, twice standardised (MACD).

    ``q = (m_fast − m_slow) / std_63(log P)``, then ``q / std_252(q)`` (Baz, Granger, Harvey, Le Roux and Rattray,
    "Dissecting investment strategies in the cross section and time series", 2015; Lim, Zohren and Roberts, "Enhancing
    time-series momentum strategies using deep neural networks", Journal of Financial Data Science 2019). The averages m
    decay by 1 − 1/n a bar and are cut after 4 n bars, so that a row reads a definite stretch of the past.
    """

    fast: int = 8
    slow: int = 24

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fast >= self.slow:
            raise InputError(f"features: {self} must have a fast average shorter than its slow one")

    @property
    def names(self) -> tuple[str, ...]:
        return (f"trend_{self.fast}_{self.slow}",)

    @property
    def lookback(self) -> int:
        return max(kernel.CUT * self.slow, kernel.PRICES) - 1 + kernel.SIGNALS - 1

    def _plan(self, program: Program) -> None:
        program.reach(max(kernel.CUT * self.slow, kernel.PRICES))
        program.add(kernel.TREND, self.fast, self.slow, place=program.room(kernel.TREND_ROWS + kernel.SIGNALS))


@dataclass(frozen=True)
class Volatility(Part):
    """Level of the volatility against the symbol's own past, ``log σ_n − mean of log σ_n over `past` bars``."""

    window: int = 21
    past: int = 504

    @property
    def lookback(self) -> int:
        return self.window + self.past - 1

    def _plan(self, program: Program) -> None:
        slot = program.volatility(self.window)
        program.add(kernel.VOLATILITY, self.window, self.past, slot, program.room(1 + self.past))


@dataclass(frozen=True)
class VolatilityRatio(Part):
    """``log(σ_short / σ_long)``: is it wilder than usual."""

    short: int = 10
    long: int = 63

    def _plan(self, program: Program) -> None:
        program.add(kernel.RATIO, m=program.volatility(self.short), slot=program.volatility(self.long))


@dataclass(frozen=True)
class Drawdown(Part):
    """``log(P_t / highest close of the last n bars) / (σ_t sqrt(n))``; zero at a high."""

    window: int
    volatility: int = 63

    def _plan(self, program: Program) -> None:
        program.reach(self.window)
        program.add(kernel.DRAWDOWN, self.window, slot=program.volatility(self.volatility), place=program.peaks)
        program.peaks += 1


@dataclass(frozen=True)
class Range(Part):
    """Volatility within bars against volatility between them, ``log(σ_range / σ)``, both over n bars.

    ``σ_range² = mean of log(high / low)² / (4 log 2)`` (Parkinson, "The extreme value method for estimating the variance of
    the rate of return", Journal of Business 1980). High where prices swing and come back, low where they jump.
    """

    window: int = 21

    @property
    def needs(self) -> tuple[str, ...]:
        return ("high", "low")

    def _plan(self, program: Program) -> None:
        program.add(
            kernel.RANGE, self.window, slot=program.volatility(self.window), place=program.room(1 + self.window)
        )


@dataclass(frozen=True)
class VolumeSurprise(Part):
    """``log(½ + ½ V_t / mean volume of the n bars before)``: zero as usual, −0.69 without any, a bar missed counting as none."""

    window: int = 63

    @property
    def needs(self) -> tuple[str, ...]:
        return ("volume",)

    def _plan(self, program: Program) -> None:
        program.add(kernel.VOLUME, self.window, place=program.room(1 + self.window))


@dataclass(frozen=True)
class Rank(Part):
    """Rank of the log return over h bars among the listed symbols, from −1 (lowest) to 1; ties share theirs.

    Cross-sectional momentum (Jegadeesh and Titman, "Returns to buying winners and selling losers", Journal of Finance 1993).
    A symbol alone is 0.
    """

    horizon: int

    def _plan(self, program: Program) -> None:
        program.reach(self.horizon)
        program.add(kernel.RANK, self.horizon, place=program.room(1))


@dataclass(frozen=True)
class Calendar(Part):
    """Month of the year and day of the week of the bar's time, each as a sine and a cosine."""

    @property
    def names(self) -> tuple[str, ...]:
        return ("month_sine", "month_cosine", "weekday_sine", "weekday_cosine")

    @property
    def needs(self) -> tuple[str, ...]:
        return ("index",)

    def _plan(self, program: Program) -> None:
        program.add(kernel.CALENDAR, columns=4)


@dataclass(frozen=True)
class AboveAverage(Part):
    """``(log P_t − mean of log P over n bars) / (σ_t sqrt(n))``."""

    window: int
    volatility: int = 63

    def _plan(self, program: Program) -> None:
        program.reach(self.window)
        program.add(kernel.ABOVE, self.window, slot=program.volatility(self.volatility), place=program.room(1))


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
    def from_dict(cls, about: dict[str, Any]) -> Features:
        """From what ``dataclasses.asdict`` and JSON made of it.

        Raises
        ------
        InputError
            When a part is of no known kind; a user's own must be defined before a model that reads it is loaded.
        """
        if "parts" not in about:  # models saved before features were composed
            return cls.standard(**_tuples(about))
        kinds = {kind_of(part): part for part in Part.__subclasses__()}
        parts = []
        for part in about["parts"]:
            if part["kind"] not in kinds:
                raise InputError(f"features: {part['kind']!r} is no kind of feature; there are {', '.join(kinds)}")
            parts.append(kinds[part["kind"]](**{k: v for k, v in _tuples(part).items() if k != "kind"}))
        return cls(tuple(parts))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the F columns."""
        return tuple(name for part in self.parts for name in part.names)

    @property
    def lookback(self) -> int:
        """Bars that must come before the first one that has all features."""
        return max(part.lookback for part in self.parts)

    @property
    def needs(self) -> set[str]:
        """What of the bars they read besides the closes: fields, and ``index`` for their times."""
        return {name for part in self.parts for name in part.needs} - {"close"}

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
        for _ in Fold(self, bars).blocks(bars, BLOCK, out):
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
        yield from Fold(self, bars).blocks(bars, size, None)

    def stream(self, bars: Bars) -> FeatureStream:
        """Go on from `bars` bar by bar as they arrive."""
        return FeatureStream(self, bars)

    def require(self, bars: Bars, more: int = 0) -> None:
        """Raise `InputError` unless there are bars enough for `more` rows of features, and all fields."""
        held, needed = len(bars) + bars.past, self.lookback + 1 + more
        if held < needed:
            raise InputError(
                f"{bars.name} has {held} bars, but {needed} are needed ({self.lookback} warm the features up)"
            )
        self.check_fields(bars)

    def check_fields(self, bars: Bars) -> None:
        """Raise `InputError` when the bars lack a field that a feature reads."""
        for part in self.parts:
            lacking = [name for name in part.needs if getattr(bars, name) is None]
            if lacking:
                raise InputError(
                    f"the feature {part.names[0]} reads the {lacking[0]}, but {bars.name} has none; leave the feature out"
                )


def _tuples(about: dict[str, Any]) -> dict[str, Any]:
    """Lists back to the tuples that JSON made them of."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in about.items()}
