"""The torch policy, and the strategy that runs it.

A policy tilts a base strategy, by ``τ = shrink · tanh(tilt)`` in (−1, 1)::

    weight     aim = base · (1 + τ)                 more or less of what the base holds, never the other side of it
    position   aim = base · (1 − |τ|) + budget · τ  towards long or short the symbol's risk budget, whatever the base holds

The output layer starts at zero, so an untrained policy aims at its base. With ``shrink`` 0 the policy equals its base, including
the base's no-trade zone. Network weights are shared across symbols, so one policy trades any universe.
"""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from markets import Bars, Features, InputError, Plan
from markets.accounting.differentiable import TensorPlan
from markets.features import Part
from strategies import serialization as saving
from strategies.learned import LearnedStrategy
from strategies.named import strategy_from_name
from strategies.networks import Body, Shape
from strategies.rules import InverseVolatility, inverse_volatility
from strategies.strategy import Strategy

# Rules that remember from the first bar on, so that no row depends on a fixed number of past bars.
_ENDLESS = ("buy_and_hold", "donchian", "minimum_variance_expanding", "regime_gated", "random_weights")
# Settings that earlier versions did not have, as they were then: left out of fingerprints, by which registered models are known.
_LATER = {"tilt": "weight", "band": None}
_CHUNK = 256  # bars per forward pass, which bounds memory use on long spans


@dataclass(frozen=True)
class PolicySettings(Shape):
    """Settings of a policy: the architecture of its network (see `Shape`), its features and its base.

    Attributes
    ----------
    base : str
        Base strategy that is tilted, by its name: ``inverse_volatility``, ``equal_weight``, ``trend_following:252`` or another
        rule of `strategy_from_name` with a memory of fixed length. ``flat`` has no base, so that the tilt alone is held, long or
        short.
    base_window : int
        Bars of the volatility of the base ``inverse_volatility`` and of risk budgets; at least 2.
    tilt : {"weight", "position"}
        ``weight`` multiplies the base's weights, by 0 to 2, and ``flat`` holds ``limit · τ / A``. ``position`` moves towards long
        or short the symbol's risk budget, its share of `limit` in inverse proportion to its volatility; the no-trade zone is then
        a fraction of the budget. Use it where positions may change sides, as on futures.
    trades : {"band", "rate", "at_once"}
        What the policy outputs besides the aim. ``band``: the half-width of a no-trade zone, for proportional costs. ``rate``:
        the fraction of the distance to the aim traded per bar, for quadratic costs. ``at_once``: nothing, for no costs.
    band : float, optional
        Half-width of the no-trade zone where it is given and not learnt, as a fraction of 1 / A or, for ``position``, of the
        budget. In training (`torch.nn.Module.train`) there is none then, so that the policy pays for every change of its mind; a
        learnt zone is as wide as pays on bars that the policy may know by heart.
    limit : float
        Largest gross weight, as a multiple of equity.
    shrink : float
        Initial factor on the tilt, in [0, 1]. After training, the factor selected on validation tasks is in `Policy.shrink`.
    features : Features
        Inputs of the network. A single part, such as ``External(frame)``, is added to the default ones.

    Raises
    ------
    InputError
        When a value is unknown or out of range.
    """

    base: str = "inverse_volatility"
    base_window: int = 63
    tilt: Literal["weight", "position"] = "weight"
    trades: Literal["band", "rate", "at_once"] = "band"
    band: float | None = None
    limit: float = 1.0
    shrink: float = 1.0
    features: Features = field(default_factory=Features)

    @property
    def lookback(self) -> int:
        """Own bars of a symbol that its features, and the volatility of its base, read before a row."""
        return max(self.features.reach, self.base_window)

    @property
    def fewest(self) -> int:
        """Own bars of a symbol before which no features are known."""
        return self.features.lookback

    def require(self, bars: Bars, more: int = 0) -> None:
        """Raise `InputError` unless `bars` are enough for one row of features and `more` after it."""
        self.features.require(bars, more)

    def restated(self, bars_for_each: float) -> PolicySettings:
        """The settings for bars of another length, of which `bars_for_each` cover the time of one bar before.

        What a network has learnt is about bars, so its features and its memory keep theirs. The volatility of the base is not
        learnt, and is of the same time, but of at least 12 bars.
        """
        window = max(round(self.base_window * bars_for_each), min(self.base_window, 12))
        return self if window == self.base_window else replace(self, base_window=window)

    @property
    def base_name(self) -> str:
        """The base in words."""
        return "cash" if self.base == "flat" else self.base.replace("_", " ").replace(":", " ")

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.features, Part):
            object.__setattr__(self, "features", Features((*Features().parts, self.features)))
        if self.base.split(":")[0] in _ENDLESS or ".py:" in self.base:
            raise InputError(
                f"base {self.base!r}: a base is a rule by its name, of which each row depends on a fixed number of past "
                "bars; use another one, such as inverse_volatility or trend_following"
            )
        if self.tilt not in ("weight", "position"):
            raise InputError(f"tilt {self.tilt!r} is unknown; use weight or position")
        if self.trades not in _START:
            raise InputError(f"trades {self.trades!r} is unknown; use {', '.join(_START)}")
        if self.band is not None and (self.trades != "band" or not self.band >= 0):
            raise InputError(f"band is {self.band}; it must be at least 0, and trades 'band'")
        if self.base_window < 2:
            raise InputError(f"base_window is {self.base_window}; it must be at least 2")
        if not 0 <= self.shrink <= 1 or self.limit <= 0:
            raise InputError(f"shrink must be in [0, 1] and limit above 0; got {self.shrink} and {self.limit}")
        try:
            base_rule(self)
        except InputError as error:
            raise InputError(f"base {self.base!r} is unknown; use flat, or a rule: {error}") from None


# A wide no-trade zone has no gradient, so start with a narrow one: softplus(−3), 5 % of an equal weight. A rate starts at ½.
_START = {"band": [0.0, -3.0], "rate": [0.0, 0.0], "at_once": [0.0]}


class Policy(nn.Module):
    """Torch module from features to a plan.

    Parameters
    ----------
    settings : PolicySettings

    Attributes
    ----------
    shrink : Tensor of float64, shape ()
        Factor on the tilt, in [0, 1].
    """

    def __init__(self, settings: PolicySettings):
        super().__init__()
        self.settings = settings
        seen = 2 * len(settings.features.names)  # the symbol's features and the market's
        start = torch.tensor([0.0] if settings.band is not None else _START[settings.trades])
        # Without a base all aims would start at zero, inside their no-trade zone, where nothing trades and no gradient exists;
        # so start from random output weights.
        initial_std = (0.3 if settings.trades == "band" else 0.1) if settings.base == "flat" else 0.0
        self.body = Body(seen, len(start), settings, start, initial_std)
        # Selected on validation tasks, not trained: a buffer, so that it is saved and copied with the parameters.
        self.shrink: Tensor
        self.register_buffer("shrink", torch.tensor(settings.shrink, dtype=torch.float64))

    def forward(self, features: Tensor, base: Tensor, last: int | None = None, truncate: int = 0) -> TensorPlan:
        """The plan along B paths.

        Parameters
        ----------
        features : Tensor of shape (B, T, A, F)
            NaN where unknown; the aim is the base there.
        base : Tensor of shape (B, T, A, 3)
            The base, the budgets and the base's no-trade zone, as `base_book` returns them.
        last : int, optional
            Return only this many last bars. The memory still runs over all of them.
        truncate : int
            Length in bars of truncated backpropagation through time; see `Body.forward`.

        Returns
        -------
        TensorPlan
            Aim, and band or rate if the policy has one, each of shape (B, T or last, A).
        """
        seen, known = self.sequences(features)
        out, _ = self.body(seen, last, truncate=truncate)
        if last is not None:
            known, base = known[:, -last:], base[:, -last:]
        return self.trades(out, known, base)

    def trades(self, out: Tensor, known: Tensor, base: Tensor) -> TensorPlan:
        """The plan that outputs of the network stand for.

        Parameters
        ----------
        out : Tensor of shape (B·A, T, outputs)
        known : Tensor of bool, shape (B, T, A)
            Where all features of the symbol are finite.
        base : Tensor of shape (B, T, A, 3)

        Returns
        -------
        TensorPlan of shape (B, T, A)
        """
        settings, shrink, paths, n = self.settings, self.shrink, *known.shape[0:3:2]
        tilt, *rest = out.unflatten(0, (paths, n)).transpose(1, 2).unbind(-1)
        weight, budget, base_band = base.unbind(-1)
        tilt = torch.where(known, torch.tanh(tilt) * shrink, 0.0)
        if settings.tilt == "position":
            aim = weight * (1 - tilt.abs()) + budget * tilt
        else:
            aim = settings.limit * tilt / n if settings.base == "flat" else weight * (1 + tilt)
        # Scale books whose gross weight exceeds the limit down to it.
        aim = aim / (aim.abs().sum(-1, keepdim=True) / settings.limit).clamp(min=1)
        band = rate = None
        if settings.trades == "band":
            width: Any = 0.0 if self.training else settings.band
            if settings.band is None:
                width = nn.functional.softplus(rest[0])
            band = shrink * width * (budget if settings.tilt == "position" else 1 / n) + (1 - shrink) * base_band
        elif settings.trades == "rate":
            rate = torch.sigmoid(rest[0])
            if settings.base != "flat":
                rate = shrink * rate + (1 - shrink)  # a base trades all the way to its aim: rate 1
        return TensorPlan(aim, band, rate)

    def sequences(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs of the network: each symbol's features, and their mean over the symbols ("the market").

        Parameters
        ----------
        features : Tensor of shape (B, T, A, F)

        Returns
        -------
        seen : Tensor of shape (B·A, T, 2F)
            One sequence per path and symbol.
        known : Tensor of bool, shape (B, T, A)
            Where all features of the symbol are finite.
        """
        known = torch.isfinite(features).all(-1)
        features = torch.where(known[..., None], features, 0.0)
        count = known.sum(-1, keepdim=True).clamp(min=1)
        market = (features.sum(2) / count)[:, :, None].expand_as(features)
        return torch.cat([features, market], -1).transpose(1, 2).flatten(0, 1), known


def base_rule(settings: PolicySettings) -> Strategy | None:
    """The rule whose weights the policy tilts; None for the base ``flat``."""
    if settings.base == "inverse_volatility":
        return InverseVolatility(settings.base_window)
    return None if settings.base == "flat" else strategy_from_name(settings.base)


def base_book(settings: PolicySettings, bars: Bars) -> np.ndarray:
    """What a policy tilts, shape (T, A, 3): weights of the base, risk budgets, and half-widths of the base's no-trade zone.

    Books whose gross weight exceeds the limit are scaled down to it. Where weights are tilted, the budgets are their sizes.
    """
    rule = base_rule(settings)
    plan = Plan(np.zeros(bars.shape)) if rule is None else rule.plan(bars)
    band = np.zeros(bars.shape) if plan.band is None else plan.band
    gross = np.maximum(np.abs(plan.aim).sum(axis=1, keepdims=True) / settings.limit, 1.0)
    weight = plan.aim / gross
    risk = settings.tilt == "position"
    budget = settings.limit * inverse_volatility(bars, settings.base_window) if risk else np.abs(weight)
    return np.stack([weight, budget, band], axis=-1)


class TiltInputs:
    """What a `Policy` reads of some bars: features, and the base that it tilts, of shape (T, A, F) and (T, A, 3).

    Parameters
    ----------
    settings : PolicySettings
    bars : Bars

    Attributes
    ----------
    features : Tensor of float32
    base : Tensor of float64
    known : ndarray of bool, shape (T, A)
        Whether all features of a symbol are known at the rows of ``bars.with_past()``.
    symbols : int
    flat : bool
        Whether there are neither a base nor budgets.
    missing : str
        Why nothing is known in the ``{part}`` of a task, and what to do.
    """

    def __init__(self, settings: PolicySettings, bars: Bars):
        held = bars.with_past()
        self.features = torch.from_numpy(settings.features.compute(held)).float()
        self.base = torch.from_numpy(base_book(settings, held))
        self.known = torch.isfinite(self.features).all(-1).numpy()
        self.symbols = len(held.symbols)
        self.flat = settings.base == "flat" and settings.tilt == "weight"
        self.missing = (
            f"no features are known in its {{part}}, since they look back {settings.features.lookback} bars; cut the tasks with "
            "TaskSet.from_regimes or from_windows(..., features=...), which begin after that"
        )

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of the policy that are the same for all paths."""
        return {}

    def along(self, rows: Tensor, cut: np.ndarray, universe: np.ndarray | None) -> tuple[Tensor, Tensor]:
        """Features (B, T, A, F) and the base (B, T, A, 3); see `Inputs.along`."""
        if universe is None:
            return self.features[rows], self.base[rows]
        few = rows[:, :, None], torch.from_numpy(universe)[:, None]
        return self.features[few], self.base[few] * self.scale(rows, universe)[..., None]

    def scale(self, rows: Tensor, universe: np.ndarray | None) -> Tensor:
        """Factor (B, T, 1) on weights in a book of few symbols, since a policy's weights depend on the number of symbols.

        By it the budgets of the few add up to what they add up to in all; without a base, each symbol known is one budget.
        """
        if universe is None:
            return torch.ones(1, 1, 1, dtype=self.base.dtype)
        budget = torch.from_numpy(self.known).to(self.base) if self.flat else self.base[..., 1]
        few = budget[rows[:, :, None], torch.from_numpy(universe)[:, None]]
        return (budget[rows].sum(-1) / few.sum(-1).clamp(min=1e-12))[..., None]


class PolicyStrategy(LearnedStrategy, file="strategy.json", settings=PolicySettings):
    """A trained policy as a strategy, with a finite memory: row t is the policy run over the last `context` bars up to t.

    Each row depends on a fixed number of past bars, so the backtest and the deployed signal agree whatever bar they start
    from.

    Parameters
    ----------
    policy : Policy
    context : int
        Bars of memory; 1 is none. Rows with fewer past bars hold the base.
    name : str
        Label in tables and plots.
    seen_until : Timestamp, optional
        Last bar used to train or select the weights. Results up to this bar are in sample.

    Raises
    ------
    InputError
        When `context` is below 1.
    """

    def __init__(self, policy: Policy, context: int, name: str = "policy", seen_until: pd.Timestamp | None = None):
        if context < 1:
            raise InputError(f"context is {context}; it must be at least 1")
        self.policy, self.context, self.name, self.seen_until = policy, context, name, seen_until
        base = base_rule(policy.settings)
        budget = policy.settings.base_window + 1 if policy.settings.tilt == "position" else 0
        self.warmup = max(policy.settings.features.reach + context, 0 if base is None else base.warmup, budget)

    @staticmethod
    def build(settings: PolicySettings) -> Policy:
        return Policy(settings)

    @staticmethod
    def inputs(settings: PolicySettings, bars: Bars) -> TiltInputs:
        return TiltInputs(settings, bars)

    @classmethod
    def of(cls, policy: Policy, context: int, name: str, seen_until: pd.Timestamp | None) -> PolicyStrategy:
        return cls(policy, context, name, seen_until)

    @property
    def remark(self) -> str:
        """Says so where the policy holds its base; else empty."""
        base = self.policy.settings.base_name
        return "" if self.policy.shrink else f"{self.name} holds its base ({base}): the factor on its tilt is 0."

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the settings, the context and the weights."""
        settings = {k: v for k, v in asdict(self.policy.settings).items() if _LATER.get(k, ...) != v}
        return saving.fingerprint([settings, self.context], self.policy)

    @property
    def features(self) -> tuple[Part, ...]:
        return self.policy.settings.features.parts

    @property
    def described(self) -> dict[str, Any]:
        settings = self.policy.settings
        return {
            "context": self.context,
            "policy.memory": settings.memory,
            "policy.hidden": settings.hidden,
            "policy.base": settings.base,
            "policy.trades": settings.trades,
            "policy.shrink": float(self.policy.shrink),
        }

    def plan(self, bars: Bars) -> Plan:
        traded = np.isfinite(bars.with_past().close).any(axis=1)
        if traded.all():
            return self._plan(bars)
        # Rows without any close are no bars to the memory either: the decision of the row before stands.
        last = np.maximum(traded.cumsum()[bars.past :] - 1, 0)
        held = bars.without_empty().with_past()
        plan, rows = self._plan(held.rows(int(last[0]), len(held))), last - last[0]
        return plan.map(lambda part: part[rows])

    def _plan(self, bars: Bars) -> Plan:
        settings = self.policy.settings
        held = self.trimmed(bars)
        grown = held.with_past()
        # In float32 a row would depend, in its last digits, on how many rows are computed at once.
        policy = copy.deepcopy(self.policy).double()
        features = torch.from_numpy(settings.features.compute(grown))
        base = torch.from_numpy(base_book(settings, grown))
        device = next(self.policy.parameters()).device
        aim, _, band = (part.clone() for part in base.unbind(-1))
        rate = torch.ones_like(aim)
        plan = TensorPlan(aim, band if settings.trades == "band" else None, rate if settings.trades == "rate" else None)
        # rows before `first` have too few past bars and keep the base
        first = max(held.past, self.context - 1)
        # (rows, A, F, context) -> (rows, context, A, F), without a copy
        windows = features.unfold(0, self.context, 1).permute(0, 3, 1, 2) if first < len(grown) else features
        with torch.no_grad():
            for row in range(first, len(grown), _CHUNK):
                rows = slice(row, min(row + _CHUNK, len(grown)))
                seen = windows[rows.start - self.context + 1 : rows.stop - self.context + 1]
                chosen = base[rows, None].expand(-1, self.context, -1, -1).to(device)
                found = policy(seen.to(device), chosen, last=1)
                for whole, part in zip(plan, found, strict=True):
                    if whole is not None:
                        whole[rows] = part[:, 0].to(whole)
        wanted, *rest = (None if x is None else x[held.past :].numpy() for x in plan)
        return Plan(wanted, *rest)  # type: ignore[arg-type]

    def save(self, folder: str | Path) -> Path:
        """Write ``strategy.json`` and ``weights.safetensors``."""
        seen = None if self.seen_until is None else str(self.seen_until)
        config = {
            "name": self.name,
            "context": self.context,
            "seen_until": seen,
            "policy": asdict(self.policy.settings),
        }
        return saving.write(folder, self.file, config, self.policy)

    @classmethod
    def load(cls, folder: str | Path) -> PolicyStrategy:
        """Read a strategy written by `save`.

        Raises
        ------
        InputError
            When files are missing or inconsistent with each other.
        """
        with saving.reading(folder, cls.file, "strategy") as config:
            policy = Policy(settings_from(config["policy"]))
            policy.load_state_dict(saving.weights(folder))
            seen = config["seen_until"]
            return cls(policy.eval(), config["context"], config["name"], None if seen is None else pd.Timestamp(seen))


def settings_from(config: dict) -> PolicySettings:
    """`PolicySettings` from its ``dataclasses.asdict`` after a round trip through JSON."""
    return PolicySettings(**{**config, "features": Features.from_dict(config["features"])})


def with_shrink(policy: Policy, shrink: float) -> Policy:
    """A copy of `policy` with another factor on its tilt."""
    other = copy.deepcopy(policy)
    other.shrink.fill_(shrink)
    return other
