"""`Planted`: a signal of known strength, right in one hidden regime and wrong in the other, planted into real returns.

On real prices nobody knows what there is to be found, so a learner that finds nothing may be blind or right. Here the returns
are real, but a known part of them can be predicted. The trader sees an advice of +1 or −1, as of a trading rule. The returns
that follow lean in its direction while a hidden sign is +1, and against it while the sign is −1. Both are Markov chains. Whoever
does not adapt to the sign earns nothing.

Real returns are in units of the symbol's current volatility (`standardised`), so their heavy tails and what is left of the
clusters of volatility stay, and the planted part has the same annual Sharpe ratio in every symbol. Each stretch of real returns
is mirrored with probability one half, so that no constant position is paid, by drift or otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import pandas as pd

from markets.bars.bars import Bars
from markets.bars.frequency import DAILY_YEAR
from markets.common.errors import InputError
from markets.features.composition import Features
from markets.features.known_units import Followed
from markets.synthetic.family import SCALE, Episodes, Family, Seed


@dataclass(frozen=True, repr=False)
class Planted(Family):
    """A planted signal: ``r_{t+1} = z_{t+1} + a m_{t+1} s_t``, with real returns z, a hidden sign m and a visible advice s.

    ``a = sharpe / sqrt(252)``, so that the position ``m_{t+1} s_t`` has this annual Sharpe ratio before costs if z has a
    variance of 1. m and s are ±1, and change with probabilities ``1 − stay`` and ``1 − keep`` per bar. Weights are in [−1, 1].
    The reward is ``w_t r_{t+1} − cost |w_t − w_{t−1}|``.

    Attributes
    ----------
    source : Bars
        Real daily bars. An episode is a stretch of one symbol's own bars among the visible rows. History is read for
        volatilities alone, so that spans which follow one another share no returns.
    sharpes : tuple of float
        Annual Sharpe ratios of the planted part, of which each episode draws one.
    stay, keep : float
        Probability per bar that the sign, and the advice, remain as they are.
    cost : float
        Proportional cost in units of daily volatility; see `cost_in_units`.
    once : bool
        Plant once, as in a single history: every symbol has one path of advice and sign, one strength and one direction, and
        episodes are parts of it. By default every episode is planted anew, also where two of them share real returns.
    window : int
        Own bars of the volatility.

    Raises
    ------
    InputError
        When a parameter is out of range, or no symbol has enough bars for an episode.
    """

    source: Bars
    sharpes: tuple[float, ...] = (2.0,)
    stay: float = 0.998
    keep: float = 0.95
    cost: float = 0.05
    length: int = 504
    scale: float = SCALE
    once: bool = False
    window: int = 63
    name: ClassVar[str] = "planted"
    signals: ClassVar[int] = 1

    def __post_init__(self) -> None:
        self._require(
            (len(self.sharpes) > 0 and all(0 <= s < np.inf for s in self.sharpes), "sharpes must be at least 0"),
            (0.5 <= self.stay < 1, "stay must be in [0.5, 1)"),
            (0.5 <= self.keep < 1, "keep must be in [0.5, 1)"),
            (self.window >= 2, "window must be at least 2 bars"),
        )

    def __repr__(self) -> str:
        settings = {k: v for k, v in vars(self).items() if k in self.__dataclass_fields__ and k != "source"}
        return f"Planted({self.source.hash[:12]} from row {self.source.past}, {settings})"

    @cached_property
    def noise(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The real returns: z of all symbols one after another, the symbol of each, and the rows at which an episode may begin.

        Raises
        ------
        InputError
            When no symbol has enough bars for an episode.
        """
        found = standardised(self.source, self.window)
        traded = np.isfinite(self.source.close)
        z = np.concatenate([found[traded[:, i], i] for i in range(found.shape[1])])
        symbol = np.repeat(np.arange(found.shape[1]), traded.sum(axis=0))
        bars = self.length + 1
        last = np.arange(len(z)) + bars - 1
        whole = last < len(z)
        last = np.minimum(last, len(z) - 1)
        gaps = np.append(0, np.cumsum(~np.isfinite(z)))
        first = np.flatnonzero(whole & (symbol == symbol[last]) & (gaps[last + 1] == gaps[:-1]))
        if not len(first):
            raise InputError(
                f"{self.source.name}: no symbol has {bars} bars of known volatility among the {len(self.source)} visible ones; "
                "give more bars or a shorter length"
            )
        return z, symbol, first

    @property
    def features(self) -> Features:
        """Input of a policy: r_t, s_t, and what the advice has just earned, ``r_t s_{t−1}``."""
        return Features((*super().features.parts, Followed("signal 0", self.scale)))

    def sample(self, episodes: int, seed: Seed) -> Episodes:
        rng = np.random.default_rng(seed)
        z, symbol, first = self.noise
        start = first[rng.integers(len(first), size=episodes)]
        rows = start[:, None] + np.arange(self.length + 1)
        # which path, and which place on it, an episode gets: one of its own, or that of its symbol's history
        path, place = np.arange(episodes), np.arange(self.length + 1)[None].repeat(episodes, axis=0)
        paths, bars = episodes, self.length + 1
        if self.once:
            begins = np.searchsorted(symbol, np.arange(len(self.source.symbols)))
            path, place = symbol[start], rows - begins[symbol[start]][:, None]
            paths, bars = len(self.source.symbols), len(self.source)
        sign, advice = (_chain(rng, paths, bars, q)[path[:, None], place] for q in (self.stay, self.keep))
        mean = rng.choice(self.sharpes, size=paths)[path] / np.sqrt(DAILY_YEAR)
        returns = z[rows] * rng.choice([-1.0, 1.0], size=paths)[path, None]
        returns[:, 1:] += mean[:, None] * sign[:, 1:] * advice[:, :-1]
        return Episodes(self, returns[..., None], {"sign": sign, "mean": mean}, advice[..., None])


def standardised(bars: Bars, window: int = 63) -> np.ndarray:
    """Simple returns in units of the volatility before them: ``(P_t / P_{t−1} − 1) / σ_{t−1}`` over a symbol's own bars.

    Parameters
    ----------
    bars : Bars
    window : int
        σ_{t−1} is the root mean square log return over this many own bars up to t − 1.

    Returns
    -------
    ndarray of shape (T, A)
        For the visible rows. NaN in gaps, and where σ is unknown or zero.
    """
    close = bars.with_past().close
    out = np.full(close.shape, np.nan)
    for i in range(close.shape[1]):
        rows = np.flatnonzero(np.isfinite(close[:, i]))
        if len(rows) < 2:
            continue
        moves = np.log(close[rows[1:], i] / close[rows[:-1], i])
        sigma = np.sqrt(pd.Series(moves**2).rolling(window).mean().shift(1).to_numpy())
        with np.errstate(divide="ignore", invalid="ignore"):
            out[rows[1:], i] = np.where(sigma > 0, np.expm1(moves) / sigma, np.nan)
    return out[bars.past :]


def cost_in_units(bars: Bars, rate: float, window: int = 63) -> float:
    """A cost per side (0.001 is 10 basis points) in units of the median daily volatility of `bars`."""
    close = bars.marks
    moves = pd.DataFrame(np.log(close)).diff() ** 2
    return rate / float(np.nanmedian(np.sqrt(moves.rolling(window).mean().to_numpy())))


def _chain(rng: np.random.Generator, paths: int, bars: int, stay: float) -> np.ndarray:
    """Markov chains of ±1 that keep their value with probability `stay`, shape (paths, bars)."""
    flips = rng.random((paths, bars)) >= stay
    flips[:, 0] = rng.random(paths) < 0.5
    return 1.0 - 2.0 * (np.cumsum(flips, axis=1) % 2)
