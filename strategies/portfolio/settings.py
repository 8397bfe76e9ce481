"""`PortfolioSettings`: what a portfolio policy estimates, builds and may learn."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from markets import Bars, InputError
from strategies.portfolio.estimates import Pool

KINDS = ("minimum_variance", "risk_parity", "inverse_volatility", "equal_weight", "mean_variance")
EXPOSURES = ("full", "target")
SIGNALS = ("long", "trend")


@dataclass(frozen=True)
class PortfolioSettings:
    """Settings of a portfolio policy.

    Attributes
    ----------
    kind : {"minimum_variance", "risk_parity", "inverse_volatility", "equal_weight", "mean_variance"}
        The layer that makes weights of the covariance; see `strategies.portfolio.layers`. For ``mean_variance`` each symbol is
        expected to earn `signal` times its volatility, so that with all correlations shrunk to 0 each position is sized by its
        volatility alone.
    exposure : {"full", "target"}
        ``full``: weights sum to 1, which ``mean_variance`` does not have. ``target``: they are scaled, and the policy learns how
        much, and how closely the volatility is held at `target`.
    signal : {"long", "trend"}
        Of ``mean_variance``. ``long``: the same for all symbols, none of which is sold short. ``trend``: the mean of the returns
        over 21, 63, 126 and 252 sessions in units of their volatility, of which the weights are learnt; long and short. It
        follows the market whether `adapts` or not.
    target : float
        Volatility per year of an untrained policy with exposure ``target``; of ``mean_variance`` that of its book if all signals
        are 1 and uncorrelated.
    limit : float
        Largest gross weight; more than 1 needs an account that may borrow.
    volatility : float or None
        Largest volatility per year of the weights, by the estimates; None is no limit. It binds what training may learn from a
        good decade.
    pool : Pool
        The estimates.
    adapts : bool
        Whether estimates follow the market and the gates its state. If not, the estimates are those of one bar (at training that
        of each task's cut), and only what does not depend on the state is learnt: the control in comparisons.
    shrink : float
        Initial factor on all that is learnt, in [0, 1]; at 0 the policy is the static pool. After training, the factor selected
        on validation tasks is in `PortfolioPolicy.shrink`.

    Raises
    ------
    InputError
        When a value is unknown or out of range.
    """

    kind: Literal["minimum_variance", "risk_parity", "inverse_volatility", "equal_weight", "mean_variance"] = (
        "minimum_variance"
    )
    exposure: Literal["full", "target"] = "full"
    signal: Literal["long", "trend"] = "long"
    target: float = 0.1
    limit: float = 1.0
    volatility: float | None = None
    pool: Pool = field(default_factory=Pool)
    adapts: bool = True
    shrink: float = 1.0

    memory = "none"  # of a network; the pool's windows are its memory

    def __post_init__(self) -> None:
        for what, value, known in (
            ("kind", self.kind, KINDS),
            ("exposure", self.exposure, EXPOSURES),
            ("signal", self.signal, SIGNALS),
        ):
            if value not in known:
                raise InputError(f"portfolio: {what} {value!r} is unknown; use {', '.join(known)}")
        if not 0 < self.target < float("inf") or not 0 < self.limit < float("inf"):
            raise InputError(
                f"portfolio: target is {self.target} and limit {self.limit}; both must be above 0 and finite"
            )
        if self.kind == "mean_variance" and self.exposure == "full":
            raise InputError("portfolio: the weights of mean_variance have no given sum; use exposure='target'")
        if self.volatility is not None and not self.volatility > 0:
            raise InputError(f"portfolio: volatility is {self.volatility}; it must be above 0, or None")
        if not 0 <= self.shrink <= 1:
            raise InputError(f"portfolio: shrink is {self.shrink}; it must be in [0, 1]")

    @property
    def lookback(self) -> int:
        """Bars that the estimates of a row read before it."""
        return self.pool.lookback

    @property
    def fewest(self) -> int:
        """Own bars of a symbol before which it takes no part."""
        return self.pool.shortest

    def require(self, bars: Bars, more: int = 0) -> None:
        """Raise `InputError` unless `bars` are enough for one estimate and `more` bars after it."""
        closes = int(np.isfinite(bars.with_past().close).sum(axis=0).max())
        if closes < self.fewest + more:
            raise InputError(
                f"{bars.name} has {closes} bars, but {self.fewest + more} are needed ({self.fewest} for the first estimate)"
            )

    def restated(self, bars_for_each: float) -> PortfolioSettings:
        """The settings for bars of another length; see `Pool.restated`. All else is per year or free of scale."""
        return self if bars_for_each == 1 else replace(self, pool=self.pool.restated(bars_for_each))

    @property
    def follows(self) -> bool:
        """Whether its direction is a signal that follows the market."""
        return self.kind == "mean_variance" and self.signal == "trend"

    @property
    def base_name(self) -> str:
        """What the policy is when nothing is learnt, in words."""
        kind = self.kind.replace("_", " ")
        return f"{kind} by the static pool" if self.adapts else f"{kind} by a frozen pool"

    @classmethod
    def from_dict(cls, config: dict[str, Any]) -> PortfolioSettings:
        """Rebuild from ``dataclasses.asdict`` after a round trip through JSON."""
        return cls(**{**config, "pool": Pool(**config["pool"])})
