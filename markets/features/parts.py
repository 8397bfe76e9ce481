"""The built-in features: small dataclasses, each with its parameters and its lookback.

Nearly all are scaled by the symbol's own volatility, so that one policy can trade symbols of very different volatility.
`markets.features.composition` combines them; their arithmetic is in `markets.features.kernels`.

All bars are a symbol's own: bars on which it has a close. A gap is not a return of 0; in it, features keep their values. In
the formulas P_t is the close of own bar t, and σ_t the root mean square log return over the `volatility` own bars up to t.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar

import numpy as np

from markets.bars.bars import Bars
from markets.common.errors import InputError
from markets.common.kinds import register
from markets.features import kernels as kernel
from markets.features.program import Program

# Bound of the absolute value of all features.
LARGEST = kernel.LARGEST


@dataclass(frozen=True)
class Part:
    """Base class of a feature.

    Its name consists of its kind and its parameters, without those that have their default value.

    Attributes
    ----------
    kind : str
        Name of the class in column names and saved models: ``volatility_ratio`` for ``VolatilityRatio``.
    by_function : bool
        Whether the feature is computed by a function of whole panels rather than by the fold.
    remembers : bool
        Whether it is a memory: what a policy without a memory does not read.
    """

    kind: str = field(init=False, repr=False)  # a field, so that saved models store it along with the parameters
    by_function: ClassVar[bool] = False
    remembers: ClassVar[bool] = False
    kinds: ClassVar[dict[str, type[Part]]] = {}

    def __init_subclass__(cls, abstract: bool = False) -> None:
        cls.kind = kind = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()
        if abstract:
            return
        register(Part.kinds, kind, cls, "features")

    def __post_init__(self) -> None:
        for name, value in self._parameters.items():
            if not isinstance(value, (int, np.integer)) or value < 1:
                raise InputError(f"features: every window must be at least 1 bar; {self} has a {name} of {value!r}")

    @property
    def _parameters(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self) if f.init}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        words = [self.kind]
        for f in fields(self):
            if f.init and f.default is MISSING:
                words.append(str(getattr(self, f.name)))
            elif f.init and getattr(self, f.name) != f.default:
                words.append(f"{f.name}_{getattr(self, f.name)}")
        return ("_".join(words),)

    @property
    def lookback(self) -> int:
        """Number of own bars that a symbol needs before the first one on which the feature is defined."""
        return max(self._parameters.values(), default=0)

    @property
    def reach(self) -> int:
        """Number of own bars before a row that its value depends on; more than `lookback` if it is defined on fewer."""
        return self.lookback

    @property
    def needs(self) -> tuple[str, ...]:
        """What the feature reads besides the closes: names of fields, and ``"index"`` for the bar times."""
        return ()

    def values(self, bars: Bars) -> np.ndarray:
        """Values on `bars`, shape (T, A), or (T, A, C) of C columns; only for features with `by_function`."""
        raise NotImplementedError

    def _plan(self, program: Program) -> None:
        """Add the feature's steps to the program."""
        raise NotImplementedError


class ByFunction(Part, abstract=True):
    """Base class of features that are computed by a function of whole panels (`Part.values`).

    In a symbol's gaps the value of its last own bar is kept, unless the feature `follows` something else, such as another
    symbol, which may trade then.
    """

    by_function: ClassVar[bool] = True

    @property
    def follows(self) -> bool:
        """Whether the feature may move in a symbol's gaps."""
        return False

    def __post_init__(self) -> None:
        """Skip the check of `Part`: parameters need not be windows."""

    def _plan(self, program: Program) -> None:
        for _ in self.names:
            program.add(kernel.CUSTOM, program.functions, m=int(self.follows), place=program.reserve(1))
            program.functions += 1


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
    """Difference of a fast and a slow average of the log price (MACD), standardised twice.

    ``q = (m_fast − m_slow) / std_63(log P)``, then ``q / std_252(q)`` (Baz, Granger, Harvey, Le Roux and Rattray,
    "Dissecting investment strategies in the cross section and time series", 2015; Lim, Zohren and Roberts, "Enhancing
    time-series momentum strategies using deep neural networks", Journal of Financial Data Science 2019). The averages m are
    exponential with decay 1 − 1/n per bar, truncated after 4 n bars so that the lookback is finite.
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
        program.add(kernel.TREND, self.fast, self.slow, place=program.reserve(kernel.TREND_ROWS + kernel.SIGNALS))


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
        program.add(kernel.VOLATILITY, self.window, self.past, slot, program.reserve(1 + self.past))


@dataclass(frozen=True)
class VolatilityRatio(Part):
    """Short-term relative to long-term volatility, ``log(σ_short / σ_long)``."""

    short: int = 10
    long: int = 63

    def _plan(self, program: Program) -> None:
        program.add(kernel.RATIO, m=program.volatility(self.short), slot=program.volatility(self.long))


@dataclass(frozen=True)
class Drawdown(Part):
    """Drawdown from the highest close of the last n bars, ``log(P_t / max P) / (σ_t sqrt(n))``; 0 at a new high."""

    window: int
    volatility: int = 63

    def _plan(self, program: Program) -> None:
        program.reach(self.window)
        program.add(kernel.DRAWDOWN, self.window, slot=program.volatility(self.volatility), place=program.peaks)
        program.peaks += 1


@dataclass(frozen=True)
class Range(Part):
    """Intrabar (high–low) volatility relative to close-to-close volatility, ``log(σ_range / σ)``, both over n bars.

    ``σ_range² = mean of log(high / low)² / (4 log 2)`` (Parkinson, "The extreme value method for estimating the variance of
    the rate of return", Journal of Business 1980). Large when prices revert within bars, small when they jump between bars.
    """

    window: int = 21

    @property
    def needs(self) -> tuple[str, ...]:
        return ("high", "low")

    def _plan(self, program: Program) -> None:
        program.add(
            kernel.RANGE, self.window, slot=program.volatility(self.window), place=program.reserve(1 + self.window)
        )


@dataclass(frozen=True)
class VolumeSurprise(Part):
    """Volume relative to its recent mean, ``log(½ + ½ V_t / mean volume of the n bars before)``.

    It is 0 at the mean and −0.69 without any volume.
    """

    window: int = 63

    @property
    def needs(self) -> tuple[str, ...]:
        return ("volume",)

    def _plan(self, program: Program) -> None:
        program.add(kernel.VOLUME, self.window, place=program.reserve(2 + self.window))


@dataclass(frozen=True)
class Rank(Part):
    """Rank of the log return over h bars among the listed symbols, from −1 (lowest) to 1 (highest).

    Cross-sectional momentum (Jegadeesh and Titman, "Returns to buying winners and selling losers", Journal of Finance 1993).
    Ties get the mean of their ranks. With a single symbol the rank is 0. A symbol in a gap is ranked by its last return.
    """

    horizon: int

    def _plan(self, program: Program) -> None:
        program.reach(self.horizon)
        program.add(kernel.RANK, self.horizon, place=program.reserve(1))


@dataclass(frozen=True)
class Calendar(Part):
    """Month of the year and day of the week of the bar's time, each as sine and cosine."""

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
    """Distance from the moving average of the log price, ``(log P_t − mean of log P over n bars) / (σ_t sqrt(n))``."""

    window: int
    volatility: int = 63

    def _plan(self, program: Program) -> None:
        program.reach(self.window)
        program.add(kernel.ABOVE, self.window, slot=program.volatility(self.volatility), place=program.reserve(1))


def lookback(parts: Sequence[Part]) -> int:
    """Number of own bars that a symbol needs before the first one on which all features are defined."""
    return max(part.lookback for part in parts)


def needs(parts: Sequence[Part]) -> set[str]:
    """What the features read besides the closes: names of fields, and ``"index"`` for the bar times."""
    return {name for part in parts for name in part.needs} - {"close"}


def check_fields(parts: Sequence[Part], bars: Bars) -> None:
    """Raise `InputError` when the bars lack a field that a feature reads."""
    for part in parts:
        lacking = [name for name in part.needs if getattr(bars, name) is None]
        if lacking:
            raise InputError(
                f"the feature {part.names[0]} reads the {lacking[0]}, but {bars.name} has none; remove the feature"
            )
