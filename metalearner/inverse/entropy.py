"""Maximum-entropy inverse reinforcement learning: the preferences that make a trader's decisions most likely.

The likelihood is that of `metalearner.inverse.soft`, in which a decision depends on the signal's level and the position alone; so
counts of decisions are all that is needed of a history, however long. It is maximised by Fisher scoring in the logarithms of risk
aversion γ, cost c and temperature τ; the inverse of the Fisher information at the maximum are the variances.

The units are those of the P&L, whose coefficient is 1: γ and c are in the market's units, and τ is the P&L per bar that he lets
go by in carelessness. Rewards are known up to what no choice shows (Cao, Cohen and Szpruch, "Identifiability in inverse
reinforcement learning", 2021): different regimes, as several markets, tell more than one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from markets import Costs, InputError
from metalearner.inverse.inferred import UNKNOWN, Inferred, Parameter
from metalearner.inverse.soft import NAMES, SignalMarket, Soft, soft_values

DISCOUNT = 0.99
_STEPS = 100
_GAIN = 1e-9  # of the log-likelihood per decision, at which the maximum is found
_FARTHEST = 1.0  # of a logarithm in one step


@dataclass(frozen=True, eq=False)
class Decisions:
    """What a trader did in one market.

    Attributes
    ----------
    market : SignalMarket
    counts : ndarray of shape (Z, P, P)
        How often he went from position p to p' at level z.
    """

    market: SignalMarket
    counts: np.ndarray

    @classmethod
    def of(cls, market: SignalMarket, levels: np.ndarray, positions: np.ndarray, places: int) -> Decisions:
        """Decisions in order of time.

        Parameters
        ----------
        market : SignalMarket
        levels : ndarray of int, shape (T,)
            Level of the signal at each decision.
        positions : ndarray of int, shape (T + 1,)
            Place on the grid before the first decision, and after each.
        places : int
            P, size of the grid.

        Raises
        ------
        InputError
            When shapes do not fit, or a level or place does not exist.
        """
        levels, positions = np.asarray(levels), np.asarray(positions)
        if positions.shape != (len(levels) + 1,):
            raise InputError(f"{len(levels)} levels and {len(positions)} positions: give one more position than levels")
        bad = (levels.min(initial=0) < 0, levels.max(initial=0) >= len(market.mean)), (
            positions.min() < 0, positions.max() >= places,
        )  # fmt: skip
        if any(map(any, bad)):
            raise InputError(f"levels must be from 0 to {len(market.mean) - 1}, and positions from 0 to {places - 1}")
        counts = np.zeros((len(market.mean), places, places))
        np.add.at(counts, (levels, positions[:-1], positions[1:]), 1)
        return cls(market, counts)


@dataclass(frozen=True, eq=False)
class MaximumEntropy(Inferred):
    """Preferences found by maximum entropy.

    Attributes
    ----------
    grid : ndarray of shape (P,)
    discount : float
    log_likelihood : float
        Of all decisions; with a prior, the log-posterior up to a constant.
    log : ndarray of shape (3,)
        Logarithms of the preferences at the maximum, identified or not.
    information : ndarray of shape (3, 3)
        Fisher information of the logarithms there.
    """

    grid: np.ndarray
    discount: float
    log_likelihood: float
    log: np.ndarray
    information: np.ndarray

    @property
    def costs(self) -> Costs:
        """The cost that he acts as if he paid, as a commission per side, for any learner or backtest."""
        return Costs(commission=self["cost"].value)

    def policy(self, market: SignalMarket) -> np.ndarray:
        """What he would do in another market, shape (Z, P, P): probability of the next position.

        Raises
        ------
        InputError
            When a preference is not identified.
        """
        found = np.array([self[name].value for name in NAMES])
        if not self.identified:
            raise InputError(
                f"what he would do elsewhere is not known: {next(p.reason for p in self.parameters if p.reason)}"
            )
        return np.exp(soft_values(market, self.grid, found, self.discount).log_policy)


def infer(
    decisions: Sequence[Decisions],
    grid: np.ndarray,
    *,
    discount: float = DISCOUNT,
    start: Sequence[float] | None = None,
    prior: tuple[np.ndarray, np.ndarray] | None = None,
) -> MaximumEntropy:
    """The preferences that make decisions most likely.

    Parameters
    ----------
    decisions : sequence of Decisions
        In one market or several, such as regimes.
    grid : ndarray of shape (P,)
        Positions, in ascending order.
    discount : float
        β, in [0, 1): how far he looks ahead, ``1 / (1 − β)`` bars.
    start : sequence of three floats, optional
        Risk aversion, cost and temperature to begin with.
    prior : pair of ndarray, optional
        Mean (3,) and covariance (3, 3) of the logarithms, as from `metalearner.inverse.hierarchy`.

    Returns
    -------
    MaximumEntropy

    Raises
    ------
    InputError
        When there are no decisions, or shapes do not fit.
    """
    grid = np.asarray(grid, dtype=np.float64)
    if grid.ndim != 1 or len(grid) < 2 or not (np.diff(grid) > 0).all():
        raise InputError("grid must be two or more positions in ascending order")
    if not 0 <= discount < 1:
        raise InputError(f"discount is {discount}; it must be at least 0 and below 1")
    if not decisions or not sum(d.counts.sum() for d in decisions):
        raise InputError("there are no decisions to learn from")
    fit = _Fit(tuple(decisions), grid, discount, prior)
    log, value, information = fit.maximum(np.log(fit.start if start is None else np.asarray(start, dtype=np.float64)))
    return fit.result(log, value, information)


class _Fit:
    """One maximisation of the likelihood."""

    def __init__(self, decisions, grid, discount, prior):
        self.decisions, self.grid, self.discount = decisions, grid, discount
        self.total = float(sum(d.counts.sum() for d in decisions))
        self._last: list[np.ndarray | None] = [None] * len(decisions)
        mean, covariance = (np.zeros(3), None) if prior is None else prior
        self.mean, self.precision = mean, np.zeros((3, 3)) if covariance is None else np.linalg.inv(covariance)

    @property
    def start(self) -> np.ndarray:
        """Preferences of the right order: half of the largest position would be optimal at a mean of one deviation."""
        market = self.decisions[0].market
        size_of_means = max(float(np.sqrt(np.mean([np.mean(d.market.mean**2) for d in self.decisions]))), 1e-12)
        largest = float(np.abs(self.grid).max())
        return np.array(
            [2 * size_of_means / (largest * float(market.variance.mean())), size_of_means, size_of_means * largest]
        )

    def at(self, log: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Log-posterior, its gradient and the information, by the logarithms of the preferences."""
        preferences = np.exp(log)
        off = log - self.mean
        value, gradient = float(-0.5 * off @ self.precision @ off), -self.precision @ off
        information = self.precision.copy()
        for k, each in enumerate(self.decisions):
            soft = soft_values(each.market, self.grid, preferences, self.discount, self._last[k])
            self._last[k] = soft.values
            slope = soft.slope * preferences[:, None, None, None]
            value += float((each.counts * soft.log_policy).sum())
            gradient = gradient + np.einsum("zpq,kzpq->k", each.counts, slope)
            visits = each.counts.sum(axis=-1)[:, :, None] * np.exp(soft.log_policy)
            information = information + np.einsum("zpq,kzpq,lzpq->kl", visits, slope, slope)
        return value, gradient, information

    def maximum(self, log: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
        """Fisher scoring, with steps that are halved until they gain."""
        value, gradient, information = self.at(log)
        damping = 1e-6
        for _ in range(_STEPS):
            scale = np.diag(np.maximum(np.diag(information), 1e-12))
            step = np.linalg.solve(information + damping * scale, gradient)
            step *= min(1.0, _FARTHEST / max(float(np.abs(step).max()), 1e-12))
            tried = self.at(log + step)
            if tried[0] >= value:
                gain = tried[0] - value
                log = log + step
                value, gradient, information = tried
                damping = max(damping / 10, 1e-9)
                if gain <= _GAIN * self.total:
                    break
            elif damping > 1e6:
                break
            else:
                damping *= 10
        return log, value, information

    def result(self, log: np.ndarray, value: float, information: np.ndarray) -> MaximumEntropy:
        reasons = self._reasons(information)
        covariance = np.linalg.pinv(information, hermitian=True)
        parameters = []
        for k, name in enumerate(NAMES):
            error = float(np.sqrt(covariance[k, k]))
            reason = reasons.get(name, "")
            parameters.append(
                Parameter(name, np.nan if reason else float(np.exp(log[k])), np.inf if reason else error, reason)
            )
        return MaximumEntropy(tuple(parameters), covariance, self.grid, self.discount, value, log, information)

    def _reasons(self, information: np.ndarray) -> dict[str, str]:
        """Why a parameter is not identified, by its name: what is plain to see, then what the Fisher information says."""
        counts = sum(each.counts.sum(axis=0) for each in self.decisions)
        assert isinstance(counts, np.ndarray)
        found: dict[str, str] = {}
        if not (self.precision > 0).any():
            if counts.sum() == np.trace(counts):
                return dict.fromkeys(NAMES, "he never trades: the cost may be anything from some size on")
            if len(self.decisions) == 1 and np.ptp(self.decisions[0].market.mean) == 0:
                found["cost"] = "the signal is constant in the one regime that there is: nothing makes him trade"
        # a direction of the logarithms that is not known to a factor of e makes all that have a part in it unknown
        sizes, directions = np.linalg.eigh(information)
        for size, direction in zip(sizes, directions.T, strict=True):
            if size < 1 / UNKNOWN**2:
                for k, name in enumerate(NAMES):
                    if abs(direction[k]) > 0.3:
                        others = [NAMES[j] for j in range(3) if j != k and abs(direction[j]) > 0.3]
                        what = f" apart from {' and '.join(others)}" if others else ""
                        found.setdefault(name, f"these decisions do not tell it{what} to a factor of e")
        return found


def cloned(decisions: Sequence[Decisions], smoothing: float = 1.0) -> np.ndarray:
    """Behaviour cloning, the baseline: how often he went from p to p' at each level, shape (Z, P, P).

    Parameters
    ----------
    decisions : sequence of Decisions
        Of markets with as many levels.
    smoothing : float
        Decisions that are added to each level and position: to stay where he is.
    """
    counts = np.sum([each.counts for each in decisions], axis=0)
    counts = counts + smoothing * np.eye(counts.shape[1])
    return counts / counts.sum(axis=-1, keepdims=True)


__all__ = ["DISCOUNT", "Decisions", "MaximumEntropy", "Soft", "cloned", "infer"]
