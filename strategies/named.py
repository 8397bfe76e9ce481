"""`strategy_from_name`: strategies by their names on the command line, and from a user's own file."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from markets import HiddenMarkovRegimes, InputError
from markets.bars.frequency import DAILY_YEAR
from strategies.limits import VolatilityTarget
from strategies.rules import (
    BuyAndHold,
    CrossSectionalMomentum,
    Donchian,
    EqualWeight,
    ExpandingCovariance,
    ExponentialCovariance,
    InverseVolatility,
    LedoitWolfCovariance,
    MaximumSharpe,
    MinimumVariance,
    Momentum,
    MomentumBlend,
    MovingAverageCross,
    Pairs,
    PooledCovariance,
    RandomWeights,
    RegimeAdjustedCovariance,
    RegimeGated,
    ResidualMomentum,
    Reversal,
    RiskParity,
    TrendFollowing,
)
from strategies.strategy import Strategy
from strategies.user_file import load_strategy

_FIT = 60  # fewest bars of a fit by default: a year of monthly bars is none


class Named(NamedTuple):
    """What a name stands for.

    Attributes
    ----------
    make : callable
        The strategy of the whole numbers after the name.
    words : tuple of str
        What these numbers are.
    usual : callable
        The numbers where there are none, from the bars in a year and the bars of a volatility.
    """

    make: Callable[..., Strategy]
    words: tuple[str, ...] = ()
    usual: Callable[[int, int], tuple[int, ...]] = lambda year, volatility: ()


def _of(year: int, daily: int, least: int = 1) -> int:
    """A window of so many daily bars, on bars of which a year has `year`."""
    return max(round(daily * year / DAILY_YEAR), least)


def _month(year: int) -> int:
    return round(year / 12)


def _fit(year: int, volatility: int) -> tuple[int]:
    return (max(year, _FIT),)


def _parts(year: int, *parts: float) -> list[int]:
    """Fractions of a year of bars, each once."""
    return sorted({max(round(year / n), 1) for n in parts})


def _pool(year: int) -> MinimumVariance:
    pool = PooledCovariance(tuple(_parts(year, 12, 6, 4, 2, 1, 0.5)), cut=5 * year)
    return MinimumVariance(year, covariance=pool)


def _regime_gated(year: int) -> RegimeGated:
    parts = (EqualWeight(), Momentum(year))  # in crises only what still rises
    return RegimeGated(HiddenMarkovRegimes(2), parts, window=max(10 * year, _FIT), warmup=max(year, _FIT))


NAMES: dict[str, Named] = {
    "equal_weight": Named(EqualWeight),
    "buy_and_hold": Named(BuyAndHold),
    "inverse_volatility": Named(InverseVolatility, ("WINDOW",), lambda year, volatility: (volatility,)),
    "momentum": Named(Momentum, ("WINDOW",), lambda year, volatility: (year,)),
    "momentum_blend": Named(
        lambda year: MomentumBlend(_parts(year, 12, 4, 2, 1)), ("WINDOW",), lambda year, volatility: (year,)
    ),
    "trend_following": Named(
        lambda year, halflife: TrendFollowing(_parts(year, 12, 4, 2, 1), halflife),
        ("WINDOW", "HALFLIFE"),
        lambda year, volatility: (year, max(volatility, 2)),
    ),
    "moving_average_cross": Named(
        MovingAverageCross, ("FAST", "SLOW"), lambda year, volatility: (_of(year, 50), _of(year, 200, least=2))
    ),
    "donchian": Named(Donchian, ("WINDOW",), lambda year, volatility: (_of(year, 20, least=2),)),
    "cross_sectional_momentum": Named(
        CrossSectionalMomentum, ("WINDOW", "SKIP"), lambda year, volatility: (year, _month(year))
    ),
    "winners_minus_losers": Named(
        lambda window, skip: CrossSectionalMomentum(window, skip, losers=True),
        ("WINDOW", "SKIP"),
        lambda year, volatility: (year, _month(year)),
    ),
    "reversal": Named(Reversal),
    "residual_momentum": Named(
        ResidualMomentum, ("WINDOW", "SKIP"), lambda year, volatility: (max(year, 2), _month(year))
    ),
    "volatility_target": Named(
        lambda percent, halflife: VolatilityTarget(EqualWeight(), percent / 100, halflife),
        ("PERCENT", "HALFLIFE"),
        lambda year, volatility: (10, max(volatility // 3, 1)),
    ),
    "pairs": Named(Pairs, ("WINDOW", "PAIRS"), lambda year, volatility: (max(year, _FIT), 5)),
    "minimum_variance": Named(MinimumVariance, ("WINDOW",), _fit),
    "minimum_variance_ewma": Named(
        lambda halflife, window: MinimumVariance(window, covariance=ExponentialCovariance(halflife)),
        ("HALFLIFE", "WINDOW"),
        lambda year, volatility: (volatility, *_fit(year, volatility)),
    ),
    "minimum_variance_expanding": Named(
        lambda window: MinimumVariance(window, covariance=ExpandingCovariance()), ("WINDOW",), _fit
    ),
    "minimum_variance_ledoit_wolf": Named(
        lambda window: MinimumVariance(window, covariance=LedoitWolfCovariance()), ("WINDOW",), _fit
    ),
    "minimum_variance_regime": Named(
        lambda halflife, correlation, window: MinimumVariance(
            window, covariance=RegimeAdjustedCovariance(halflife, correlation)
        ),
        ("HALFLIFE", "CORRELATION", "WINDOW"),
        lambda year, volatility: (_of(year, 40), _of(year, 120), *_fit(year, volatility)),
    ),
    "minimum_variance_pool": Named(_pool, ("WINDOW",), _fit),
    "risk_parity": Named(RiskParity, ("WINDOW",), _fit),
    "maximum_sharpe": Named(MaximumSharpe, ("WINDOW",), _fit),
    "regime_gated": Named(_regime_gated, ("YEAR",), lambda year, volatility: (year,)),
    "random_weights": Named(
        lambda seed, window: RandomWeights(Momentum(window), seed), ("SEED", "WINDOW"), lambda year, volatility: (0, year)
    ),
}  # fmt: skip
ALL = tuple(NAMES)
RULES = ", ".join(":".join((name, *named.words)) for name, named in NAMES.items())


def strategy_from_name(text: str, year: int = 252, volatility: int = 63) -> Strategy:
    """Build a strategy from its name.

    Parameters
    ----------
    text : str
        A rule, such as ``equal_weight`` or ``momentum:252``, or a class in a file, ``my_strategy.py:MyStrategy``. Numbers
        that are left out at the end are the usual ones.
    year, volatility : int
        Bars in a year and of a volatility, which the usual windows are.

    Raises
    ------
    InputError
        When the rule is unknown, its window is not a number, or the file has no such strategy.
    """
    if ".py:" in text:
        return load_strategy(text)()
    name, *given = text.split(":")
    if any(not (word.isascii() and word.isdecimal()) for word in given):
        raise InputError(f"rule {text!r}: a window must be a whole number, as in momentum:252")
    found = NAMES.get(name)
    if found is None or len(given) > len(found.words):
        raise InputError(
            f"rule {text!r} is unknown; use {RULES}, or a class in your own file, as in my_strategy.py:MyStrategy"
        )
    values = tuple(int(word) for word in given)
    return found.make(*values, *found.usual(year, volatility)[len(values) :])
