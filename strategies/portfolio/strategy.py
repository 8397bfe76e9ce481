"""`PortfolioStrategy`: a portfolio policy as a strategy, and what it adapted, as a table."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file

from markets import Bars, InputError, Plan
from markets.bars.time_spans import moment
from strategies import serialization as saving
from strategies.learned import LearnedStrategy
from strategies.portfolio.estimates import Estimates, estimate
from strategies.portfolio.inputs import PortfolioInputs
from strategies.portfolio.policy import Decisions, PortfolioPolicy
from strategies.portfolio.settings import PortfolioSettings
from strategies.portfolio.state import STATES
from strategies.rules.schedule import DAYS
from strategies.rules.simple import shared

_FROZEN = "estimates.safetensors"
_CHUNK = 128  # decisions at once, which bounds memory use


class PortfolioStrategy(LearnedStrategy, file="portfolio.json", settings=PortfolioSettings):
    """A portfolio policy as a strategy: it decides on the first bar of each period, and holds that until the next.

    Each row depends on a fixed number of past bars. Between decisions the no-trade zone is kept daily, and a symbol that is no
    longer listed is left out. Before there are estimates, weights are equal, and sum to at most 1.

    Parameters
    ----------
    policy : PortfolioPolicy
    name : str
        Label in tables and plots.
    seen_until : Timestamp, optional
        Last bar used to train or select the weights. Results up to this bar are in sample.
    frozen : Estimates, optional
        The one decision row whose estimates are always taken, for a policy that does not adapt; see `frozen_at`. Without it they
        are those at `seen_until`, from the history of the bars that are planned.

    Raises
    ------
    InputError
        In `plan`, when a policy that does not adapt has no estimates, or some of other symbols.
    """

    context = 1

    def __init__(
        self,
        policy: PortfolioPolicy,
        name: str = "portfolio",
        seen_until: pd.Timestamp | None = None,
        frozen: Estimates | None = None,
    ):
        self.policy, self.name, self.seen_until, self.frozen = policy, name, seen_until, frozen
        pool = policy.settings.pool
        moves = policy.settings.adapts or policy.settings.follows
        self.warmup = pool.lookback + DAYS[pool.every] if moves else 0

    @staticmethod
    def build(settings: PortfolioSettings) -> PortfolioPolicy:
        return PortfolioPolicy(settings)

    @staticmethod
    def inputs(settings: PortfolioSettings, bars: Bars) -> PortfolioInputs:
        return PortfolioInputs(settings, bars)

    @classmethod
    def of(cls, policy: PortfolioPolicy, context: int, name: str, seen_until: pd.Timestamp | None) -> PortfolioStrategy:
        return cls(policy, name, seen_until)

    def trimmed(self, bars: Bars) -> Bars:
        pool = self.policy.settings.pool
        return bars.without_past(keep=max(self.warmup, pool.reach(bars)) + 1) if self.warmup else super().trimmed(bars)

    @property
    def remark(self) -> str:
        """Says so where nothing learnt is kept; else empty."""
        settings = self.policy.settings
        return "" if self.policy.shrink else f"{self.name} is {settings.base_name}: the factor on what it learnt is 0."

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the settings, the weights and the frozen estimates."""
        frozen = {name: part.tolist() for name, part in _parts(self.frozen).items()}
        return saving.fingerprint([asdict(self.policy.settings), frozen], self.policy)

    @property
    def described(self) -> dict[str, Any]:
        settings = self.policy.settings
        return {
            "policy.kind": settings.kind,
            "policy.exposure": settings.exposure,
            "policy.limit": settings.limit,
            "policy.adapts": settings.adapts,
            "policy.shrink": float(self.policy.shrink),
        }

    def frozen_at(self, bars: Bars) -> PortfolioStrategy:
        """The same strategy with the estimates of the last decision in `bars`; itself if it adapts.

        Raises
        ------
        InputError
            When there are too few bars for an estimate.
        """
        if self.policy.settings.adapts:
            return self
        held = bars.with_past()
        found = estimate(held, self.policy.settings.pool, len(held) - 1)
        if not len(found):
            raise InputError(
                f"{self.name}: {bars.name} has no {self.policy.settings.pool.shortest} sessions to estimate on; use more bars"
            )
        return PortfolioStrategy(self.policy, self.name, self.seen_until, found[-1:])

    def plan(self, bars: Bars) -> Plan:
        decisions, which, listed = self._decisions(bars)
        aim, band = shared(listed.astype(np.float64)), np.zeros(bars.shape)
        limit = self.policy.settings.limit
        aim *= min(limit, 1.0)
        decided = which >= 0
        aim[decided] = decisions.weights.numpy()[which[decided]] * listed[decided]
        band[decided] = decisions.band.numpy()[which[decided]]
        return Plan(aim, band)

    def _decisions(self, bars: Bars) -> tuple[Decisions, np.ndarray, np.ndarray]:
        """The decisions that hold at the visible rows, which of them at each (−1 for none), and what is listed there."""
        settings, frozen = self.policy.settings, self.frozen
        if frozen is None and not settings.adapts:
            frozen = self._before(bars)
        if frozen is not None and frozen.symbols != bars.symbols:
            raise InputError(
                f"{self.name}: its estimates are of other symbols than {bars.name} has, or in another order; take them from "
                "these bars, by strategy.frozen_at(bars)"
            )
        if frozen is None or settings.follows:
            found = estimate(bars, settings.pool, bars.past)
            which = found.before(np.arange(bars.past, bars.past + len(bars)))
        else:
            found, which = frozen, np.zeros(len(bars), dtype=np.int64)
        parts = []
        with torch.no_grad():
            for first in range(0, max(len(found), 1), _CHUNK):
                at = torch.arange(first, min(first + _CHUNK, len(found)))
                parts.append(
                    self.policy.decide(found, at, risk=None if frozen is None else (frozen, torch.zeros_like(at)))
                )
        return Decisions(*(torch.cat(each) for each in zip(*parts, strict=True))), which, bars.listed

    def _before(self, bars: Bars) -> Estimates:
        """The estimates at `seen_until`, from the history of `bars`; those at the first visible bar if that is earlier."""
        held, rows = bars.with_past(), 0
        if self.seen_until is not None:
            until = moment(f"{self.name}: seen_until", self.seen_until, held.index.tz)
            rows = min(int(held.index.searchsorted(until, side="right")), bars.past + 1)
        if rows < self.policy.settings.pool.shortest:
            raise InputError(
                f"{self.name}: it has no estimates; take them from bars first, by strategy.frozen_at(bars)"
            )
        frozen = self.frozen_at(held.rows(0, rows)).frozen
        assert frozen is not None
        return frozen

    def adapted(self, bars: Bars) -> pd.DataFrame:
        """What was adapted, one row for each decision in the visible bars.

        Returns
        -------
        DataFrame
            ``volatility halflife`` and ``correlation halflife``: mean half-life in sessions under the gates, by logarithms;
            ``shrinkage``: share of constant or no correlation; ``exposure``: sum of the absolute weights; ``positions``: the
            number of equal ones that would be as concentrated; ``band``: mean half-width of the no-trade zone; the market's
            state (``volatility``, ``correlation``, ``trend``); and the weight of each half-life, the policy's belief.
        """
        decisions, which, _ = self._decisions(bars)
        first = np.flatnonzero((which >= 0) & np.append(True, which[1:] != which[:-1]))
        rows, pool = which[first], self.policy.settings.pool
        moves = self.policy.settings.adapts or self.policy.settings.follows
        state = estimate(bars, pool, bars.past).state if moves else (self.frozen or self._before(bars)).state
        gates = decisions.volatility_gate.numpy()[rows], decisions.correlation_gate.numpy()[rows]
        weights = decisions.weights.numpy()[rows]
        gross = np.abs(weights).sum(axis=1)
        columns = {
            "volatility halflife": np.exp(gates[0] @ np.log(pool.volatilities)),
            "correlation halflife": np.exp(gates[1] @ np.log(pool.correlations)),
            "shrinkage": 1 - decisions.shares.numpy()[rows, 0],
            "exposure": gross,
            "positions": gross**2 / np.maximum((weights**2).sum(axis=1), 1e-300),
            "band": decisions.band.numpy()[rows].mean(axis=1),
        }
        columns |= {name: state[rows, k] for k, name in enumerate(STATES)}
        columns |= {f"volatility {halflife}": gates[0][:, k] for k, halflife in enumerate(pool.volatilities)}
        columns |= {f"correlation {halflife}": gates[1][:, k] for k, halflife in enumerate(pool.correlations)}
        return pd.DataFrame(columns, index=bars.index[first])

    def save(self, folder: str | Path) -> Path:
        """Write ``portfolio.json``, ``weights.safetensors``, and ``estimates.safetensors`` if there are frozen ones."""
        config = {
            "name": self.name,
            "seen_until": None if self.seen_until is None else str(self.seen_until),
            "symbols": None if self.frozen is None else list(self.frozen.symbols),
            "policy": asdict(self.policy.settings),
        }
        with saving.replacing_files(folder) as beside:
            saving.write(beside, self.file, config, self.policy)
            if self.frozen is not None:
                parts = {name: torch.from_numpy(part.copy()) for name, part in _parts(self.frozen).items()}
                saving.write_tensors(beside / _FROZEN, parts)
        return Path(folder)

    @classmethod
    def load(cls, folder: str | Path) -> PortfolioStrategy:
        with saving.reading(folder, cls.file, "strategy") as config:
            policy = PortfolioPolicy(PortfolioSettings.from_dict(config["policy"]))
            policy.load_state_dict(saving.weights(folder))
            seen, symbols, frozen = config["seen_until"], config["symbols"], None
            if symbols is not None:
                parts = load_file(Path(folder) / _FROZEN)
                frozen = Estimates(tuple(symbols), **{name: part.numpy() for name, part in parts.items()})
            return cls(policy.eval(), config["name"], None if seen is None else pd.Timestamp(seen), frozen)


def _parts(estimates: Estimates | None) -> dict[str, np.ndarray]:
    """The arrays of some estimates, by name."""
    if estimates is None:
        return {}
    return {f.name: getattr(estimates, f.name) for f in fields(estimates) if f.name != "symbols"}
