"""The features themselves: small dataclasses, each with its parameters and its lookback.

Nearly all of them are in units of the symbol's own volatility, so that one policy reads a bank and a bitcoin alike. What
composes them is `markets.features.composition`, their arithmetic is in `markets.features.kernels`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar

import numpy as np

from markets.bars.bars import Bars
from markets.common.errors import InputError
from markets.features import kernels as kernel
from markets.features.program import Program

# No feature is larger, either way.
LARGEST = kernel.LARGEST


@dataclass(frozen=True)
class Part:
    """One feature. Its name is its kind and the parameters that have no default, or are not the default.

    Attributes
    ----------
    kind : str
        The class's name in names and saved models: ``VolatilityRatio`` is a ``volatility_ratio``.
    by_function : bool
        Whether it is computed by a function of whole panels rather than by the fold.
    """

    kind: str = field(init=False, repr=False)  # a field, since it tells parts of like parameters apart in a saved model
    by_function: ClassVar[bool] = False
    kinds: ClassVar[dict[str, type[Part]]] = {}

    def __init_subclass__(cls, abstract: bool = False) -> None:
        cls.kind = kind = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()
        if abstract:
            return
        other = Part.kinds.setdefault(kind, cls)
        if (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__):
            raise TypeError(
                f"there are two features called {kind}: {other.__module__}.{other.__qualname__} and "
                f"{cls.__module__}.{cls.__qualname__}; rename one, or a saved model would be read as the other"
            )
        Part.kinds[kind] = cls  # a cell of a notebook that ran again

    def __post_init__(self) -> None:
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


class ByFunction(Part, abstract=True):
    """A feature that a function of whole panels computes (`Part.values`)."""

    by_function: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Its parameters need not be windows."""

    def _plan(self, program: Program) -> None:
        program.add(kernel.CUSTOM, program.functions)
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
            kernel.RANGE, self.window, slot=program.volatility(self.window), place=program.reserve(1 + self.window)
        )


@dataclass(frozen=True)
class VolumeSurprise(Part):
    """``log(½ + ½ V_t / mean volume of the n bars before)``: zero as usual, −0.69 without any, a bar missed counting as none."""

    window: int = 63

    @property
    def needs(self) -> tuple[str, ...]:
        return ("volume",)

    def _plan(self, program: Program) -> None:
        program.add(kernel.VOLUME, self.window, place=program.reserve(1 + self.window))


@dataclass(frozen=True)
class Rank(Part):
    """Rank of the log return over h bars among the listed symbols, from −1 (lowest) to 1; ties share theirs.

    Cross-sectional momentum (Jegadeesh and Titman, "Returns to buying winners and selling losers", Journal of Finance 1993).
    A symbol alone is 0.
    """

    horizon: int

    def _plan(self, program: Program) -> None:
        program.reach(self.horizon)
        program.add(kernel.RANK, self.horizon, place=program.reserve(1))


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
        program.add(kernel.ABOVE, self.window, slot=program.volatility(self.volatility), place=program.reserve(1))


def lookback(parts: Sequence[Part]) -> int:
    """Bars that must come before the first one that has all features."""
    return max(part.lookback for part in parts)


def needs(parts: Sequence[Part]) -> set[str]:
    """What of the bars they read besides the closes: fields, and ``index`` for their times."""
    return {name for part in parts for name in part.needs} - {"close"}


def check_fields(parts: Sequence[Part], bars: Bars) -> None:
    """Raise `InputError` when the bars lack a field that a feature reads."""
    for part in parts:
        lacking = [name for name in part.needs if getattr(bars, name) is None]
        if lacking:
            raise InputError(
                f"the feature {part.names[0]} reads the {lacking[0]}, but {bars.name} has none; leave the feature out"
            )
