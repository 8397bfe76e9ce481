"""The torch policy, and the policy as a strategy.

A policy is a *tilt on a base*: ``aim = base · (1 + shrink · tanh(tilt))``, its head starting at zero, so that an untrained
policy aims at its base and every departure has to be earned; with ``shrink`` 0 it is the base, no-trade zone and all.
The weights are shared across symbols: one policy trades any universe.
"""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from markets import Bars, Features, InputError, Plan
from markets.accounting.differentiable import TensorPlan
from strategies import serialization as saving
from strategies.networks import Body, Shape
from strategies.rules import EqualWeight, InverseVolatility
from strategies.strategy import Strategy

# Half-width of each base's own no-trade zone, as a share of an equal weight.
BASES = {"inverse_volatility": 0.1, "equal_weight": 0.0, "flat": 0.0}
_CHUNK = 256  # bars a forward pass: bounds memory on long spans


@dataclass(frozen=True)
class PolicySettings(Shape):
    """Shape of a policy: that of its network, and what it sees and tilts.

    Attributes
    ----------
    base : {"inverse_volatility", "equal_weight", "flat"}
        What is tilted. ``flat`` is nothing: ``aim = limit · tanh(tilt) / A``, long or short.
    trades : {"band", "rate", "at_once"}
        What it decides besides the aim: a no-trade zone (proportional costs), the share of the way to go each bar
        (quadratic costs), or nothing (no costs).
    limit : float
        Largest gross weight.
    shrink : float
        In [0, 1], the share of the tilt at first; training leaves what validation supports in `Policy.shrink`.
    features : Features
    """

    base: Literal["inverse_volatility", "equal_weight", "flat"] = "inverse_volatility"
    trades: Literal["band", "rate", "at_once"] = "band"
    limit: float = 1.0
    shrink: float = 1.0
    features: Features = field(default_factory=Features)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.base not in BASES:
            raise InputError(f"base {self.base!r} is unknown; use {', '.join(BASES)}")
        if self.trades not in _START:
            raise InputError(f"trades {self.trades!r} is unknown; use {', '.join(_START)}")
        if not 0 <= self.shrink <= 1 or self.limit <= 0:
            raise InputError(f"shrink must be in [0, 1] and limit above 0; got {self.shrink} and {self.limit}")


# A wide no-trade zone has no gradient: start with a narrow one, 5 % of an equal weight. A rate starts at one half.
_START = {"band": [0.0, -3.0], "rate": [0.0, 0.0], "at_once": [0.0]}


class Policy(nn.Module):
    """From features to a plan.

    Parameters
    ----------
    settings : PolicySettings

    Attributes
    ----------
    shrink : Tensor of float64, shape ()
        In [0, 1], the share of the tilt that stands.
    """

    def __init__(self, settings: PolicySettings):
        super().__init__()
        self.settings = settings
        seen = 2 * len(settings.features.names)  # of the symbol, and of the market
        start = torch.tensor(_START[settings.trades])
        # Aims of zero, within their zone, trade nothing and have no gradient: without a base some must stand out at first.
        initial_std = (0.3 if settings.trades == "band" else 0.1) if settings.base == "flat" else 0.0
        self.body = Body(seen, len(start), settings, start, initial_std)
        # What validation leaves standing of the tilt; no parameter, but saved and copied with them.
        self.shrink: Tensor
        self.register_buffer("shrink", torch.tensor(settings.shrink, dtype=torch.float64))

    def forward(self, features: Tensor, base: Tensor, last: int | None = None, truncate: int = 0) -> TensorPlan:
        """The plan along B paths.

        Parameters
        ----------
        features : Tensor of shape (B, T, A, F)
            NaN where not known: there the base stands.
        base : Tensor of shape (B, T, A)
            Weights to tilt.
        last : int, optional
            Only this many last bars are wanted; memory runs over all.
        truncate : int
            See `Body.forward`.
        """
        settings, shrink, paths, n = self.settings, self.shrink, *features.shape[0:3:2]
        seen, known = self.sequences(features)
        out, _ = self.body(seen, last, truncate=truncate)
        tilt, *rest = out.unflatten(0, (paths, n)).transpose(1, 2).unbind(-1)
        if last is not None:
            known, base = known[:, -last:], base[:, -last:]
        tilt = torch.where(known, torch.tanh(tilt) * shrink, 0.0)
        aim = settings.limit * tilt / n if settings.base == "flat" else base * (1 + tilt)
        # What is not borrowed cannot be held: a book of more than the limit is scaled to it.
        aim = aim / (aim.abs().sum(-1, keepdim=True) / settings.limit).clamp(min=1)
        band = rate = None
        if settings.trades == "band":
            width, base_band = nn.functional.softplus(rest[0]), BASES[settings.base]
            band = (shrink * width + (1 - shrink) * base_band) / n
        elif settings.trades == "rate":
            rate = torch.sigmoid(rest[0])
            if settings.base != "flat":
                rate = shrink * rate + (1 - shrink)  # a base goes all the way
        return TensorPlan(aim, band, rate)

    def sequences(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """What the network reads: of each symbol alone, and of the market.

        Parameters
        ----------
        features : Tensor of shape (B, T, A, F)

        Returns
        -------
        seen : Tensor of shape (B·A, T, 2F)
        known : Tensor of bool, shape (B, T, A)
        """
        known = torch.isfinite(features).all(-1)
        features = torch.where(known[..., None], features, 0.0)
        count = known.sum(-1, keepdim=True).clamp(min=1)
        market = (features.sum(2) / count)[:, :, None].expand_as(features)
        return torch.cat([features, market], -1).transpose(1, 2).flatten(0, 1), known


def base_weights(settings: PolicySettings, bars: Bars) -> np.ndarray:
    """The weights that the policy tilts, shape (T, A), within its limit."""
    if settings.base == "flat":
        return np.zeros(bars.shape)
    rule = (
        InverseVolatility(band=BASES["inverse_volatility"]) if settings.base == "inverse_volatility" else EqualWeight()
    )
    aim = rule.plan(bars).aim
    return aim / np.maximum(np.abs(aim).sum(axis=1, keepdims=True) / settings.limit, 1.0)


class PolicyStrategy(Strategy):
    """A trained policy with a definite memory: row t is the policy run over the last `context` bars up to t.

    So a row depends on a fixed stretch of the past and nothing else: the backtest and the deployed signal agree whatever
    bars they were started from.

    Parameters
    ----------
    policy : Policy
    context : int
        Bars of memory; 1 is none. Rows with a shorter past hold the base.
    name : str
    seen_until : Timestamp, optional
        Last bar that its weights were learnt or chosen on: what comes before is no test.
    """

    def __init__(self, policy: Policy, context: int, name: str = "policy", seen_until: pd.Timestamp | None = None):
        if context < 1:
            raise InputError(f"context is {context}; it must be at least 1")
        self.policy, self.context, self.name, self.seen_until = policy, context, name, seen_until
        base_warmup = 0 if policy.settings.base == "flat" else InverseVolatility().warmup
        self.warmup = max(policy.settings.features.lookback + context, base_warmup)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the settings, the context and the weights."""
        return saving.fingerprint([asdict(self.policy.settings), self.context], self.policy)

    def plan(self, bars: Bars) -> Plan:
        settings = self.policy.settings
        held = bars.without_past(keep=self.warmup)
        grown = held.with_past()
        features = torch.from_numpy(settings.features.compute(grown)).float()
        base = torch.from_numpy(base_weights(settings, grown))
        device = next(self.policy.parameters()).device
        band, rate = torch.full_like(base, BASES[settings.base] / len(bars.symbols)), torch.ones_like(base)
        plan = TensorPlan(
            base.clone(), band if settings.trades == "band" else None, rate if settings.trades == "rate" else None
        )
        # rows with too short a past for any memory stay as they are
        first = max(held.past, self.context - 1)
        # (rows, A, F, context) -> (rows, context, A, F), without a copy
        windows = features.unfold(0, self.context, 1).permute(0, 3, 1, 2) if first < len(grown) else features
        with torch.no_grad():
            for row in range(first, len(grown), _CHUNK):
                rows = slice(row, min(row + _CHUNK, len(grown)))
                seen = windows[rows.start - self.context + 1 : rows.stop - self.context + 1]
                chosen = base[rows, None].expand(-1, self.context, -1).to(device)
                found = self.policy(seen.to(device), chosen, last=1)
                for whole, part in zip(plan, found, strict=True):
                    if whole is not None:
                        whole[rows] = part[:, 0].to(whole)
        aim, *rest = (None if x is None else x[held.past :].numpy() for x in plan)
        return Plan(aim, *rest)  # type: ignore[arg-type]

    def save(self, folder: str | Path) -> Path:
        """Write ``strategy.json`` and ``weights.safetensors``."""
        seen = None if self.seen_until is None else str(self.seen_until)
        config = {
            "name": self.name,
            "context": self.context,
            "seen_until": seen,
            "policy": asdict(self.policy.settings),
        }
        return saving.write(folder, "strategy.json", config, self.policy)

    @classmethod
    def load(cls, folder: str | Path) -> PolicyStrategy:
        """Read what `save` wrote.

        Raises
        ------
        InputError
            When the files are missing or do not belong together.
        """
        with saving.reading(folder, "strategy.json", "strategy") as config:
            policy = Policy(settings_from(config["policy"]))
            policy.load_state_dict(saving.weights(folder))
            seen = config["seen_until"]
            return cls(policy.eval(), config["context"], config["name"], None if seen is None else pd.Timestamp(seen))


def settings_from(config: dict) -> PolicySettings:
    """`PolicySettings` from what ``dataclasses.asdict`` and JSON made of it."""
    return PolicySettings(**{**config, "features": Features.from_dict(config["features"])})


def with_shrink(policy: Policy, shrink: float) -> Policy:
    """The same weights, the tilt shrunk."""
    other = copy.deepcopy(policy)
    other.shrink.fill_(shrink)
    return other
