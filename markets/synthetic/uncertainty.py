"""How far a market may be from the one that was seen: an uncertainty set, and markets within it.

A policy that is trained on past bars alone trusts their drifts, their volatility and their costs. An `Uncertainty` says how wrong
each of them may be, and has markets at growing distance, up to the worst one.

The return r of each symbol over each bar may be off by up to s volatilities σ, whichever way hurts. For a given weight w the
worst of these is known, so that no adversary has to be searched for::

    min over |δ| ≤ s:   w (r + δ σ)   =   w r − s σ |w|

(a box as uncertainty set: Tütüncü and Koenig, "Robust asset allocation", Annals of Operations Research 2004; robust Markov
decision processes: Iyengar, "Robust dynamic programming", Mathematics of Operations Research 2005). What the policy sees stays as
it was.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import pandas as pd

from markets.bars.bars import Bars
from markets.bars.traded import TradedBars
from markets.common.errors import InputError


@dataclass(frozen=True)
class Uncertainty:
    """A distance from the market that was seen; the defaults are none.

    Attributes
    ----------
    shift : float
        Drift against whatever is held, in the symbol's volatilities per bar. In daily bars 0.05 takes about 0.8 off the annual
        Sharpe ratio of every position.
    volatility : float
        Largest factor on returns; the smallest is ``1 / volatility``.
    costs : float
        Largest factor on the costs of trading; those of holding stay as they are.

    Raises
    ------
    InputError
        When a value is out of range.
    """

    shift: float = 0.0
    volatility: float = 1.0
    costs: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.shift < np.inf:
            raise InputError(
                f"uncertainty: shift is {self.shift}; it must be at least 0 volatilities per bar, such as 0.05"
            )
        for name in ("volatility", "costs"):
            if not 1 <= getattr(self, name) < np.inf:
                raise InputError(f"uncertainty: {name} is {getattr(self, name)}; it is the largest factor, at least 1")

    def markets(self, number: int) -> tuple[Perturbation, ...]:
        """Markets at evenly growing distance: the first is the one that was seen, the last as far as can be.

        Volatility is larger in every other of them, and smaller in the others.

        Parameters
        ----------
        number : int
            At least 2.

        Raises
        ------
        InputError
            When `number` is below 2.
        """
        if number < 2:
            raise InputError(
                f"uncertainty: {number} markets; there must be at least 2, the one that was seen and the furthest"
            )
        way = [k / (number - 1) for k in range(number)]
        return tuple(
            Perturbation(u * self.shift, self.volatility ** (u if k % 2 else -u), self.costs**u)
            for k, u in enumerate(way)
        )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a text such as ``"shift=0.05, volatility=1.5, costs=3"``; what is left out is certain.

        Raises
        ------
        InputError
            When it cannot be read.
        """
        known = [field.name for field in fields(cls)]
        found: dict[str, float] = {}
        for part in text.split(","):
            name, _, value = (word.strip() for word in part.partition("="))
            try:
                found[name] = float(value)
            except ValueError:
                name = ""
            if name not in known:
                raise InputError(
                    f"{part.strip()!r}: write any of {', '.join(known)} with a number, as in shift=0.05, volatility=1.5, costs=3"
                )
        return cls(**found)


@dataclass(frozen=True)
class Perturbation:
    """One market of an `Uncertainty`.

    Attributes
    ----------
    shift : float
        Drift against whatever is held, in volatilities per bar.
    volatility : float
        Factor on all log returns; see `markets.augment.stretch`.
    costs : float
        Factor on the costs of trading.
    """

    shift: float = 0.0
    volatility: float = 1.0
    costs: float = 1.0


_HALFLIFE = 60.0


def trailing_volatility(bars: Bars) -> np.ndarray:
    """Volatility per bar of each symbol, as known at each visible bar, shape (T, A).

    The root of the exponentially weighted mean square of its log returns so far, with a half-life of 60 bars, on the bars on
    which it trades; in a gap that of the last of them. 0 before its second.
    """
    held = bars.with_past()
    traded = TradedBars(held.close)
    squares = pd.DataFrame(np.diff(np.log(traded.packed(held.close)), axis=0, prepend=np.nan) ** 2)
    mean = squares.ewm(halflife=_HALFLIFE, ignore_na=True).mean().to_numpy()
    return np.nan_to_num(np.sqrt(traded.unpacked(mean)))[bars.past :]
