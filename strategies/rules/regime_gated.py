"""`RegimeGated`: strategies weighted by what the filter says of the regime."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from markets import Bars, InputError, Plan, RegimeDetector
from strategies.rules.gate import Gate
from strategies.strategy import Strategy, check_average, latest, planned


class RegimeGated(Strategy):
    """A strategy for each regime: the plan is ``Σ_k P(regime k | bars so far) · plan of strategy k``.

    Weights by probability change smoothly where a switch by the most probable regime would trade the whole book (Guidolin and
    Timmermann, "Asset allocation under multivariate regime switching", Journal of Economic Dynamics and Control 2007; Ang and
    Bekaert, "How regimes affect asset allocation", Financial Analysts Journal 2004). Aims, no-trade bands and rates are all
    averaged so. A `Gate` maps the probabilities to other weights.

    `adapt` fits a copy of the detector on the bars so far, at most the last `window`. With fewer than `warmup` bars there is
    no fit yet: the strategies are held in equal parts. What `fit` warns of, such as regimes that hardly differ, is left out
    here, where it would come with every fit; fit the detector once to see it.

    Parameters
    ----------
    detector : RegimeDetector
        Fitted or not; it is not changed.
    strategies : sequence of Strategy
        One for each regime, in ascending order of volatility: the calm one first.
    window : int
        Bars to fit on.
    refit : bool
        Whether `adapt` fits the detector. If not, it must have been fitted, on bars before those to be traded.
    warmup : int
        Fewest bars to fit on.
    gate : Gate, optional
        From the probabilities to the weights of the strategies, which need not be as many as the regimes then.

    Raises
    ------
    InputError
        When there are not as many strategies as regimes, or as the gate has, or `window` is below `warmup`; in `plan`, when plans
        of regimes that are possible on a bar have no average: they have stops, or one leaves a position alone that another one
        trades.
    """

    fitted_until: pd.Timestamp | None = None  # last bar that `adapt` has seen
    endless = True  # what the filter believes began at the first bar held

    def __init__(
        self,
        detector: RegimeDetector,
        strategies: Sequence[Strategy],
        *,
        window: int = 2520,
        refit: bool = True,
        warmup: int = 252,
        gate: Gate | None = None,
    ):
        self.name = "regime gated"
        if gate is None and len(strategies) != len(detector.names):
            raise InputError(
                f"{self.name}: there are {len(strategies)} strategies for {len(detector.names)} regimes; give one for each, the "
                "calm regime's first"
            )
        if gate is not None and gate.mix.shape != (len(detector.names), len(strategies)):
            raise InputError(
                f"{self.name}: the gate is for {gate.mix.shape[0]} regimes and {gate.mix.shape[1]} strategies; there are "
                f"{len(detector.names)} and {len(strategies)}"
            )
        if not 1 <= warmup <= window:
            raise InputError(f"{self.name}: window is {window}; it must be at least the warm-up of {warmup} bars")
        self.detector, self.strategies, self.window, self.refit = detector, tuple(strategies), window, refit
        self.gate, self.least = gate, warmup
        self.warmup = max(warmup, *(part.warmup for part in strategies))
        self.adapts = refit or any(part.adapts for part in strategies)
        self.fitted = not refit

    @property
    def arguments(self) -> dict[str, Any]:
        """What it is built again with; once its detector is fitted, it trades as it is."""
        gate = {} if self.gate is None else {"gate": self.gate}  # without one, it is known by the files of before
        return {
            "detector": self.detector, "strategies": self.strategies, "window": self.window, "refit": not self.fitted,
            "warmup": self.least, **gate,
        }  # fmt: skip

    @property
    def seen_until(self) -> pd.Timestamp | None:
        """Last bar used to train, select or adapt a strategy; None if none says."""
        return latest(getattr(part, "seen_until", None) for part in self.strategies)

    def adapt(self, bars: Bars) -> Strategy:
        """The same with a detector fitted on `bars`, and adapted strategies; itself if nothing adapts."""
        if not self.adapts:
            return self
        adapted = copy.copy(self)
        adapted.fitted_until = bars.index[-1]
        adapted.strategies = tuple(part.adapt(bars) for part in self.strategies)
        if self.refit:
            held = bars.with_past()
            adapted.detector = copy.deepcopy(self.detector)
            adapted.fitted = len(held) >= self.least
            if adapted.fitted:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", UserWarning)
                    adapted.detector.fit(held.rows(max(len(held) - self.window, 0), len(held)).without_past())
        return adapted

    def weights(self, bars: Bars) -> np.ndarray:
        """Weight of each strategy at the visible rows, shape (T, E)."""
        if not self.fitted:
            return np.full((len(bars), len(self.strategies)), 1 / len(self.strategies))
        chance = self.detector.filter(bars).probabilities
        return chance if self.gate is None else self.gate.weights(chance)

    def plan(self, bars: Bars) -> Plan:
        plans = [planned(part, bars) for part in self.strategies]
        chance = self.weights(bars)
        check_average(self.name, self.strategies, plans, chance, "RegimeGated(...)")
        aim = _mixed([plan.aim for plan in plans], chance)
        band = rate = None
        if any(plan.band is not None for plan in plans):
            band = _mixed([np.zeros(bars.shape) if plan.band is None else plan.band for plan in plans], chance)
        if any(plan.rate is not None for plan in plans):
            rate = _mixed([np.ones(bars.shape) if plan.rate is None else plan.rate for plan in plans], chance)
            rate = np.minimum(rate, 1.0)  # chances may add up to a rounding more
        return Plan(aim, band, rate)


def _mixed(values: Sequence[np.ndarray], chance: np.ndarray) -> np.ndarray:
    """Sum of arrays (T, A) weighted by chances (T, E); an infinite band of a part without chance is none."""
    out = np.zeros(values[0].shape)
    for array, weight in zip(values, chance.T, strict=True):
        out += np.where(weight[:, None] > 0, array, 0.0) * weight[:, None]
    return out
