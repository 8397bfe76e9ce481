"""How far a market may be from the one that was seen: an uncertainty set, and markets within it.

A policy that is trained on past bars alone trusts their drifts, their volatility and their costs. An `Uncertainty` says how wrong
each of them may be; `Perturbation` is one market within that distance. Uncertainty sets of this kind, a box around what was
estimated, are those of robust portfolio selection (Goldfarb and Iyengar, "Robust portfolio selection problems", Mathematics of
Operations Research 2003) and of robust Markov decision processes (Iyengar, "Robust dynamic programming", ibid. 2005).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from scipy.stats.qmc import LatinHypercube

from markets.bars.bars import Bars
from markets.common.errors import InputError
from markets.synthetic.augment import shift, stretch


@dataclass(frozen=True)
class Perturbation:
    """A market at a stated distance from the one that was seen.

    Attributes
    ----------
    shift : tuple of float
        Drift added to each symbol, in its volatilities per bar; see `markets.augment.shift`.
    volatility : float
        Factor on all log returns; see `markets.augment.stretch`.
    costs : float
        Factor on the costs of trading; those of holding stay as they are.
    """

    shift: tuple[float, ...] = ()
    volatility: float = 1.0
    costs: float = 1.0

    def __call__(self, bars: Bars) -> Bars:
        """The bars in that market, history included."""
        shifted = shift(bars, np.array(self.shift)) if any(self.shift) else bars
        return shifted if self.volatility == 1 else stretch(shifted, self.volatility)


@dataclass(frozen=True)
class Uncertainty:
    """The largest distance from the market that was seen; the defaults are none.

    Attributes
    ----------
    shift : float
        Largest drift added to a symbol or taken from it, in its volatilities per bar. In daily bars 0.05 is about 0.8 of annual
        Sharpe ratio.
    volatility : float
        Largest factor on returns; the smallest is ``1 / volatility``.
    costs : float
        Largest factor on the costs of trading; the smallest is 1.

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

    def sample(self, markets: int, symbols: int, seed: int | Sequence[int]) -> tuple[Perturbation, ...]:
        """Markets within the distance, spread out evenly; the first is the one that was seen.

        Shifts are uniform and independent between symbols, the logarithms of factors uniform. Each setting is sampled by Latin
        hypercube: one market lies in each of its ``markets - 1`` slices of equal probability (McKay, Beckman and Conover,
        Technometrics 1979).

        Parameters
        ----------
        markets : int
            At least 1.
        symbols : int
        seed : int or sequence of int

        Returns
        -------
        tuple of Perturbation, length `markets`
        """
        if markets < 1:
            raise InputError(f"uncertainty: {markets} markets; at least 1 is needed, the one that was seen")
        seen = Perturbation((0.0,) * symbols)
        if markets == 1:
            return (seen,)
        unit = LatinHypercube(symbols + 2, seed=np.random.default_rng(seed)).random(markets - 1)
        shifts = self.shift * (2 * unit[:, 2:] - 1)
        volatility = self.volatility ** (2 * unit[:, 0] - 1)
        costs = self.costs ** unit[:, 1]
        rows = zip(shifts.tolist(), volatility.tolist(), costs.tolist(), strict=True)
        return (seen, *(Perturbation(tuple(drifts), factor, dearer) for drifts, factor, dearer in rows))

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
                    f"{part.strip()!r}: write any of {', '.join(known)} with a number, as in "
                    "shift=0.05, volatility=1.5, costs=3"
                )
        return cls(**found)
