"""The nearest counterfactual: the smallest change of a symbol's features at the decision's bar that would have turned it.

Features are measured in their standard deviations over the last year. The nearest point at which the decision turns is found as
structural reliability finds its design point: each step goes to the nearest point of the tangent plane (Hasofer and Lind, "Exact
and invariant second-moment code format", Journal of the Engineering Mechanics Division 1974; Rackwitz and Fiessler, "Structural
reliability under combined random load sequences", Computers & Structures 1978), from several starts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from backtests.explain.decisions import Decisions, shares
from backtests.explain.explanation import prepared
from markets import Bars, InputError
from markets.features.parts import LARGEST
from strategies import PolicyStrategy, Strategy
from strategies.strategy import planned

_SCANNED, _STARTS, _STEPS, _HALVINGS, _BEYOND = 256, 8, 40, 30, 1e-3
_YEAR = 252  # bars of the deviations where a year cannot be counted


@dataclass(frozen=True, eq=False)
class Counterfactual:
    """A decision that would have turned.

    Attributes
    ----------
    symbol : str
    turns : str
        What would have turned: ``the tilt``, from more to less than the base or back, or ``the position``, from long to short or
        back.
    features : tuple of str
    was, would : ndarray of shape (F,)
        The symbol's features at the bar, and those with which it turns.
    deviations : ndarray of shape (F,)
        By how much they differ, in standard deviations of each feature over the last year.
    weight, turned : float
        Target weight before limits, as it was and as it would have been.
    """

    symbol: str
    turns: str
    features: tuple[str, ...]
    was: np.ndarray
    would: np.ndarray
    deviations: np.ndarray
    weight: float
    turned: float

    @property
    def distance(self) -> float:
        """Length of the change, in standard deviations."""
        return float(np.linalg.norm(self.deviations))


def counterfactual(strategy: Strategy, bars: Bars, symbol: str, largest: float = 5.0) -> Counterfactual | None:
    """The smallest change of one symbol's features at the last bar with which the decision on it turns.

    The market's mean features move with it. A book that tilts long weights turns where the weight crosses that of the base; one
    that may go short, where it crosses 0.

    Parameters
    ----------
    strategy, bars
        As of `backtests.explain.explain`.
    symbol : str
    largest : float
        In standard deviations, above 0.

    Returns
    -------
    Counterfactual or None
        None if no change up to `largest` turns it, or nothing is tilted: the symbol's features are unknown, for one.

    Raises
    ------
    InputError
        When there is no such symbol, or `largest` is not above 0.
    """
    if not largest > 0:
        raise InputError(f"counterfactual: largest is {largest}; it must be above 0 standard deviations")
    strategy, bars = prepared(strategy, bars)
    if symbol not in bars.symbols:
        raise InputError(f"{strategy.name} has no symbol {symbol!r}; it trades {', '.join(bars.symbols)}")
    varied = _Varied(strategy, bars, bars.symbols.index(symbol))
    margin = varied.margin(torch.zeros(1, len(varied.features), dtype=torch.float64)).item()
    nearest = _nearest(varied.margin, margin, len(varied.features), largest) if margin else None
    if nearest is None:
        return None
    would = varied.changed(nearest[None])[0]
    return Counterfactual(
        symbol, varied.turns, varied.features, varied.was.numpy(), would.numpy(),
        np.divide((would - varied.was).numpy(), varied.scale.numpy(), where=varied.scale.numpy() > 0, out=np.zeros(len(would))),
        margin + varied.threshold, varied.margin(nearest[None]).item() + varied.threshold,
    )  # fmt: skip


class _Varied:
    """One symbol's weight before limits, as a function of its features at the last bar, in deviations from what they were."""

    def __init__(self, strategy: Strategy, bars: Bars, column: int):
        found = list(shares(strategy, bars[-1:]))
        self.column, self.fixed, base, sides = column, 0.0, 0.0, False
        self.members: list[tuple[Decisions, float, list[int]]] = []
        values: dict[str, tuple[float, float]] = {}
        for part, weight in found:
            if not isinstance(part, PolicyStrategy):
                self.fixed += float(weight[0] * planned(part, bars[-1:]).aim[0, column])
                continue
            settings, decisions = part.policy.settings, Decisions(part, bars[-1:])
            sides |= settings.base == "flat" or settings.tilt == "position"
            base += float(weight[0] * decisions.base_weight[0, column])
            year = bars.bars_per_year
            held = bars.with_past()
            recent = held.rows(max(len(held) - round(year if year > 0 else _YEAR), 0), len(held))
            past = settings.features.compute(recent)[:, column]
            deviation = past[np.isfinite(past).all(axis=1)].std(axis=0) if np.isfinite(past[-1]).all() else 0 * past[-1]
            values |= dict(
                zip(decisions.features, zip(past[-1].tolist(), deviation.tolist(), strict=True), strict=True)
            )
            self.members.append((decisions, float(weight[0]), []))
        self.features = tuple(values)
        for decisions, _, columns in self.members:
            columns += [self.features.index(name) for name in decisions.features]
        was, scale = np.nan_to_num(np.array(list(values.values())).reshape(-1, 2)).T
        self.was, self.scale = torch.from_numpy(was.copy()), torch.from_numpy(scale.copy())
        self.turns = "the position" if sides else "the tilt"
        self.threshold = 0.0 if sides else base + self.fixed

    def changed(self, deviations: Tensor) -> Tensor:
        """The features (M, F) so many deviations (M, F) from what they were, within what a feature can be."""
        return (self.was + deviations * self.scale).clamp(-LARGEST, LARGEST)

    def margin(self, deviations: Tensor) -> Tensor:
        """By how much the weight is above where the decision turns, shape (M,)."""
        moved = self.changed(deviations) - self.was
        total = torch.full((len(moved),), self.fixed - self.threshold, dtype=torch.float64)
        for decisions, weight, columns in self.members:
            f, known = len(decisions.features), decisions.known[0, -1]
            if not known[self.column]:
                total = total + weight * decisions.base_weight[0, self.column]
                continue
            change = torch.zeros(len(moved), *decisions.seen.shape[1:], dtype=torch.float64)
            change[:, self.column, -1, :f] = moved[:, columns]
            change[:, :, -1, f:] = (moved[:, columns] / known.sum())[:, None]
            aim = decisions.aim(decisions.output(decisions.seen + change), torch.zeros(len(moved), dtype=torch.long))
            total = total + weight * aim[:, self.column]
        return total


def _nearest(margin: Callable[[Tensor], Tensor], at_zero: float, features: int, largest: float) -> Tensor | None:
    """The point (F,) nearest to 0 at which the margin has the other sign, within `largest`; None if none is found."""
    rng = np.random.default_rng(0)
    scanned = rng.standard_normal((_SCANNED, features))
    scanned *= largest * rng.uniform(0, 1, (_SCANNED, 1)) / np.linalg.norm(scanned, axis=1, keepdims=True)
    points = torch.from_numpy(scanned)
    with torch.no_grad():
        beyond = torch.cat([margin(some) * at_zero < 0 for some in points.split(_STARTS * 4)])
    # start from where it has turned, the nearest first, and from 0
    order = (points.norm(dim=1) + largest * ~beyond).argsort(stable=True)
    at = torch.cat([torch.zeros(1, features, dtype=torch.float64), points[order[: _STARTS - 1]]])
    turned = [points[beyond]]
    for _ in range(_STEPS):
        at.requires_grad_()
        value = margin(at)
        (slope,) = torch.autograd.grad(value.sum(), at)
        at, value = at.detach(), value.detach()
        turned.append(at[value * at_zero < 0])
        flat = (slope**2).sum(1, keepdim=True).clamp(min=1e-300)
        aimed_at = -_BEYOND * at_zero  # a little beyond, since from this side it would only ever be approached
        onto = ((slope * at).sum(1) - value + aimed_at)[:, None] * slope / flat
        at = (at + onto) / 2  # half way, since whole steps may circle
        at = at * (largest / at.norm(dim=1, keepdim=True).clamp(min=largest))
    found = torch.cat(turned)
    if not len(found):
        return None
    # the nearest ones, drawn back towards 0 to where they just turn
    ends = found[found.norm(dim=1).argsort(stable=True)[:_STARTS]]
    low, high = (torch.full((len(ends), 1), value, dtype=torch.float64) for value in (0, 1))
    with torch.no_grad():
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            beyond = (margin(ends * middle) * at_zero < 0)[:, None]
            low, high = torch.where(beyond, low, middle), torch.where(beyond, middle, high)
    ends = ends * high
    return ends[ends.norm(dim=1).argmin()]
