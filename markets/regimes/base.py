"""`RegimeDetector`, the base class of regime detectors, and `RegimePath`, their result.

A detector is fitted on past bars and then *filters*: row t of the result depends only on bars up to t. Regimes are ordered by
volatility, so that labels keep their meaning after a refit. Only `RegimeDetector.hindsight` uses the whole span. It serves to
measure how much lookahead would have improved results, and must never be used for decisions.
"""

from __future__ import annotations

import inspect
import json
import math
import sys
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import pandas as pd
from numba import njit

from markets.bars.bars import Bars
from markets.common.errors import InputError
from markets.common.files import replacing
from markets.common.formats import FORMAT, check_format
from markets.common.kinds import find, register
from markets.common.statistics import bars_per_year, deviation
from markets.common.words import count

# An hour of the day has a season of its own if the fit has this many returns in it; this share of the largest returns is cut.
SEASON_RETURNS = 20
RARE = 0.05
# A return of more than this many typical sizes is a bad price; the S&P 500 fell by 27 of them on 19 October 1987.
PLAUSIBLE = 40.0
# What the detectors here share of what `fit` sets; see `RegimeDetector`.
_SHARED: dict[str, tuple[int, ...]] = {"season": (24,), "largest": ()}
# `fit` warns of a regime whose episodes are shorter than this many bars on average, and of two whose quartiles are within this
# fraction of each other.
LONGER_THAN_A_BAR = 2
DIFFERENT = 0.2
_NAMES = {
    1: ("all",),
    2: ("calm", "crisis"),
    3: ("calm", "normal", "crisis"),
    4: ("calm", "normal", "nervous", "crisis"),
}


def regime_names(n_regimes: int) -> tuple[str, ...]:
    """Names of `n_regimes` regimes, in ascending order of volatility."""
    return _NAMES.get(n_regimes, tuple(f"regime {k}" for k in range(n_regimes)))


@dataclass(frozen=True, eq=False)
class RegimePath:
    """Regime probabilities at each bar.

    Attributes
    ----------
    index : DatetimeIndex of shape (T,)
    probabilities : ndarray of shape (T, K)
    names : tuple of str, length K
        Names of the regimes, in ascending order of volatility.
    sessions : ndarray of bool, shape (T,), optional
        Which bars are sessions of the market (`Bars.sessions`); by default all.
    bad : ndarray of bool, shape (T,), or None
        Bars whose return the detector took for a bad price; None is none.
    """

    index: pd.DatetimeIndex
    probabilities: np.ndarray
    names: tuple[str, ...]
    sessions: np.ndarray | None = None
    bad: np.ndarray | None = None

    @property
    def labels(self) -> np.ndarray:
        """Most probable regime of each bar; integers of shape (T,), 0 for the least volatile regime."""
        return self.probabilities.argmax(axis=1)

    def label(self, regime: str | int) -> int:
        """Label (an integer) of a regime, given its name or label.

        Raises
        ------
        InputError
            When there is no such regime.
        """
        if isinstance(regime, (int, np.integer)) and not isinstance(regime, bool) and 0 <= regime < len(self.names):
            return int(regime)
        if regime not in self.names:
            raise InputError(
                f"regime {regime!r} is unknown; the detector's are {', '.join(self.names)}, or 0 to {len(self.names) - 1}"
            )
        return self.names.index(str(regime))

    @property
    def transitions(self) -> np.ndarray:
        """Empirical transition matrix, shape (K, K): fraction of sessions in regime i before one in j; NaN if i never occurs."""
        k = len(self.names)
        labels = self.labels if self.sessions is None else self.labels[self.sessions]
        counts = np.zeros((k, k))
        np.add.at(counts, (labels[:-1], labels[1:]), 1)
        seen = counts.sum(axis=1, keepdims=True)
        return np.divide(counts, seen, out=np.full((k, k), np.nan), where=seen > 0)

    def table(self, bars: Bars) -> pd.DataFrame:
        """Statistics of the market in each regime, one row per regime.

        Only sessions of the market count (`Bars.sessions`): other bars carry no news, and keep the regime before them. Returns
        taken for `bad` prices are left out.

        Parameters
        ----------
        bars : Bars
            The bars of this path.

        Returns
        -------
        DataFrame
            Columns ``bars``, their number; ``share``, their fraction of all bars; ``mean`` and ``volatility`` of the market's
            return, annualised; ``drawdown``, the largest drawdown within an episode (a run of bars in one regime);
            ``episodes``, their number; and ``duration``, the expected number of bars of an episode,
            ``1 / (1 - transitions[k, k])``. Here and in `transitions`, bars are sessions.
        """
        here = bars.sessions
        path = RegimePath(self.index[here], self.probabilities[here], self.names)
        returns, labels = market_returns(bars), path.labels
        if self.bad is not None:
            returns = np.where(self.bad, np.nan, returns)
        returns = returns[here]
        per_year = bars_per_year(path.index)
        stay = np.diag(path.transitions)
        rows = {}
        for k, name in enumerate(self.names):
            known = returns[(labels == k) & np.isfinite(returns)]
            rows[name] = {
                "bars": int((labels == k).sum()),
                "share": float((labels == k).mean()) if len(labels) else np.nan,
                "mean": float(known.mean() * per_year) if len(known) else np.nan,
                "volatility": deviation(known) * np.sqrt(per_year),
                "drawdown": _deepest_fall(returns, labels == k) if len(known) else np.nan,
                "episodes": int(((labels == k) & (np.append(-1, labels[:-1]) != k)).sum()),
                "duration": float(1 / (1 - stay[k])) if stay[k] < 1 else np.nan,
            }
        return pd.DataFrame(rows).T.astype({"bars": int, "episodes": int})


class Recovery(NamedTuple):
    """How well labels match the true regimes; see `recovery`."""

    accuracy: float
    delay: float
    missed: float


def recovery(labels: np.ndarray, truth: np.ndarray) -> Recovery:
    """Compare labels with the true regimes.

    Parameters
    ----------
    labels, truth : ndarray of int, shape (T,)

    Returns
    -------
    Recovery
        ``accuracy``: fraction of bars with the true label. ``delay``: mean number of bars from a true switch to the first
        bar labelled with the new regime, over the switches that were detected before the next switch; 0 means no delay.
        ``missed``: fraction of switches that were not detected.
    """
    labels, truth = np.asarray(labels), np.asarray(truth)
    edges = [*(np.flatnonzero(np.diff(truth)) + 1), len(truth)]
    delays = []
    for first, last in pairwise(edges):
        noticed = np.flatnonzero(labels[first:last] == truth[first])
        delays.append(noticed[0] if len(noticed) else np.nan)
    found = np.array(delays, dtype=np.float64)
    found = found[np.isfinite(found)]
    return Recovery(
        accuracy=float((labels == truth).mean()),
        delay=float(found.mean()) if len(found) else np.nan,
        missed=float(1 - len(found) / len(delays)) if delays else 0.0,
    )


class RegimeDetector(ABC):
    """Base class of regime detectors: fitted on past bars, then applied bar by bar.

    In a subclass, the constructor must store its parameters in attributes of the same names, `fit` must set the attributes
    listed by `_shapes`, and row t of `filter` may depend only on bars up to t. Saving and loading are then inherited.

    Detectors whose `_shapes` include `_SHARED`, as all here do, see the market's return in per cent, with two changes:

    - It is divided by its `season`, the typical absolute return in each hour of the day (in UTC if times have a zone)
      relative to the whole day, of shape (24,) (Andersen and Bollerslev, "Intraday periodicity and volatility persistence
      in financial markets", Journal of Empirical Finance 1997). Otherwise the regimes of intraday bars would be day and
      night. On daily bars it is 1.
    - A return beyond `largest` per cent, forty times the typical size, is taken for a split or a bad price, and the bar for one
      without a return. A bad price makes two such returns, out and back. A third in a row is news, and counts.

    Warns
    -----
    UserWarning
        `fit` of the detectors here warns, once, of returns taken for bad prices, and of regimes that last a single bar, are
        never seen live, or hardly differ.
    """

    _known: ClassVar[dict[str, type[RegimeDetector]]] = {}  # by class name, for `load`
    # what older files lack, and what it then was
    _unsaved: ClassVar[dict[str, dict[str, Any]]] = {
        "parameters": {},
        "fitted": {"season": [1.0] * 24, "largest": sys.float_info.max},
    }
    n_regimes: int
    season: np.ndarray = np.ones(24)
    largest: float = sys.float_info.max

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        register(RegimeDetector._known, cls.__name__, cls, "detectors")

    @abstractmethod
    def fit(self, bars: Bars) -> Self:
        """Fit on all rows of `bars`, history included; pass only past bars.

        Raises
        ------
        InputError
            When there are too few bars for the number of regimes, or prices do not move.
        """

    @abstractmethod
    def filter(self, bars: Bars) -> RegimePath:
        """Regime probabilities at each visible bar, from this and earlier bars only.

        Raises
        ------
        InputError
            When the detector is not fitted.
        """

    def hindsight(self, bars: Bars) -> RegimePath:
        """Regimes at each visible bar using all bars, later ones included; to measure lookahead, never for decisions."""
        raise InputError(f"{type(self).__name__} has no labels in hindsight")

    @abstractmethod
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every attribute that `fit` sets; () for a number."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the regimes, in ascending order of volatility."""
        return regime_names(self.n_regimes)

    @property
    def fitted(self) -> bool:
        """Whether it was fitted, or loaded."""
        return all(hasattr(self, name) for name in self._shapes())

    # ------------------------------------------------------------------ parameters

    def get_params(self) -> dict[str, Any]:
        """Parameters of the constructor, by name."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def set_params(self, **params: Any) -> Self:
        """Change parameters; this discards any fit.

        Raises
        ------
        InputError
            When a parameter is unknown or out of range; the detector is then unchanged.
        """
        known = self.get_params()
        unknown = [name for name in params if name not in known]
        if unknown:
            raise InputError(f"{type(self).__name__} has no parameter {unknown[0]!r}; it has {', '.join(known)}")
        self.__dict__ = type(self)(**known | params).__dict__
        return self

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.get_params().items())
        return f"{type(self).__name__}({given})"

    # ------------------------------------------------------------------ files

    def save(self, path: str | Path) -> None:
        """Write parameters and fit as JSON, with all numbers in full precision.

        Raises
        ------
        InputError
            When the detector is not fitted, or the file cannot be written.
        """
        self._require_fit()
        fitted = {name: np.asarray(getattr(self, name)).tolist() for name in self._shapes()}
        # JSON has no infinity, but constructors read "inf" as float does
        parameters = {name: str(value) if value == math.inf else value for name, value in self.get_params().items()}
        text = json.dumps(
            {"format": FORMAT, "detector": type(self).__name__, "parameters": parameters, "fitted": fitted}, indent=1
        )
        try:
            with replacing(path) as beside:
                beside.write_text(text + "\n")
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror}); choose another path") from None

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Load a detector from a file written by `save`.

        Raises
        ------
        InputError
            When the file cannot be read, is not a saved detector, or holds a detector of another class.
        """
        try:
            config = json.loads(Path(path).read_text())
            if "detector" not in config:  # old format, from before there were other detectors
                parameters = {"n_regimes": config.pop("n_regimes")}
                config = {"detector": "HiddenMarkovRegimes", "parameters": parameters, "fitted": config}
            if "format" in config:  # files without it are otherwise the same as format 1
                check_format(config, path, "fit the detector again")
            kind = find(RegimeDetector._known, config["detector"], f"{path}: detector")
            if not issubclass(kind, cls):
                raise InputError(f"{path}: holds a {config['detector']}, not a {cls.__name__}")
            detector = kind(**kind._unsaved["parameters"] | config["parameters"])
            fitted = kind._unsaved["fitted"] | config["fitted"]
            for name, shape in detector._shapes().items():
                value = np.array(fitted[name], dtype=np.float64)
                if value.shape != shape or not np.isfinite(value).all():
                    raise ValueError(f"{name} is not {shape} finite numbers")
                setattr(detector, name, value if shape else float(value))
        except InputError:
            raise
        except (OSError, KeyError, TypeError, AttributeError, ValueError) as error:
            raise InputError(f"{path}: not a saved regime detector ({error})") from None
        return detector

    # ------------------------------------------------------------------ helpers for subclasses

    def _require_fit(self) -> None:
        if not self.fitted:
            raise InputError("the detector is not fitted; call fit(bars) on the past first")

    def _returns_to_fit(self, bars: Bars, needed: int) -> np.ndarray:
        """Returns of the market over all rows, without NaN, in per cent of a typical hour; this sets `season`.

        Raises
        ------
        InputError
            When they cannot be fitted.
        """
        held = bars.with_past()
        returns = market_returns(held) * 100
        known = np.isfinite(returns)
        returns, hours, k = returns[known], _hours(held.index)[known], self.n_regimes
        if len(returns) < needed:
            wanted = count(k, "regime")
            raise InputError(f"{bars.name}: {len(returns)} returns are too few for {wanted}; give at least {needed}")
        if returns.std() < 1e-9:
            raise InputError(f"{bars.name}: prices do not move, so there are no regimes to find")
        if (different := len(np.unique(returns.round(9)))) < 2 * k:
            raise InputError(f"{bars.name}: only {different} different returns, which cannot tell {k} regimes apart")
        if _SHARED.keys() <= self._shapes().keys():
            self.season = _season(returns, hours)
            self.largest = PLAUSIBLE * _typical_size(returns)
        return (returns / self.season[hours])[~_bad_prices(returns, self.largest)]

    def _returns(self, bars: Bars) -> np.ndarray:
        """Returns of the market over all rows, in per cent of a typical hour; NaN where there are none or prices are bad.

        Raises
        ------
        InputError
            When the detector is not fitted.
        """
        self._require_fit()
        held = bars.with_past()
        returns = market_returns(held) * 100
        known = np.flatnonzero(np.isfinite(returns))
        returns[known[_bad_prices(returns[known], self.largest)]] = np.nan
        return returns / self.season[_hours(held.index)]

    def _news(self, bars: Bars) -> tuple[np.ndarray, np.ndarray]:
        """`_returns` without NaN, and for each row the number of the last one.

        That number is -1 before the first return. A bar without a return is no news: whatever a filter says of the last
        return holds there too.
        """
        returns = self._returns(bars)
        known = np.isfinite(returns)
        return returns[known], known.cumsum() - 1

    def left_out(self, path: RegimePath) -> str:
        """What `path.table` leaves out as bad prices, in words; empty if nothing."""
        bad = 0 if path.bad is None else int(path.bad.sum())
        what = "is left out as a bad price" if bad == 1 else "are left out as bad prices"
        return f"{count(bad, 'return')} beyond {self.largest:.3g} % {what}" if bad else ""

    def _path_of(self, bars: Bars, probabilities: np.ndarray) -> RegimePath:
        """Path of the visible bars, from probabilities of all rows."""
        bad = np.isfinite(market_returns(bars.with_past())) & ~np.isfinite(self._returns(bars))
        return RegimePath(bars.index, probabilities[bars.past :], self.names, bars.sessions, bad[bars.past :])

    def _warn_of_degenerate(self, bars: Bars, path: RegimePath) -> None:
        """Warn, in the name of the caller of `fit`, of regimes that are none in `path`, which is live, of all rows of `bars`."""
        returns, names = self._returns(bars), path.names
        table, found = path.table(bars.with_past()), []
        if left_out := self.left_out(path):
            found.append(left_out)
        for name, row in table.iterrows():
            if row["bars"] == 0:
                found.append(f"{name} is never seen live")
            elif row["bars"] < LONGER_THAN_A_BAR * row["episodes"]:
                found.append(
                    f"{name} is {row['bars']:,.0f} bars in {row['episodes']:,.0f} episodes: outliers, not a regime"
                )
        labels = np.where(np.isfinite(returns), path.labels, -1)
        for a, b in pairwise(range(len(names))):
            (low, centre, high), (other_low, other_centre, other_high) = (
                np.quantile(returns[labels == k], (0.25, 0.5, 0.75)) if (labels == k).any() else (np.nan,) * 3
                for k in (a, b)
            )
            width = high - low
            if other_high - other_low < (1 + DIFFERENT) * width and abs(other_centre - centre) < DIFFERENT * width:
                found.append(f"{names[a]} and {names[b]} hardly differ")
            elif table["volatility"].iloc[b] < table["volatility"].iloc[a]:
                found.append(f"outliers make {names[a]} more volatile than {names[b]}")
        if found:
            warnings.warn(
                f"{bars.name}: {'; '.join(found)}. Use fewer regimes (`supported_regimes` suggests how many), or look for bad "
                "prices (`regimeshift data check`)",
                stacklevel=3,
            )

    def _check_counts(self, **least: int) -> None:
        """Raise if a parameter is not a whole number or is below its given minimum; convert the others to int."""
        for name, smallest in least.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
                raise InputError(f"{name} is {value!r}; it must be a whole number")
            if value < smallest:
                raise InputError(f"{name} is {value}; it must be at least {smallest}")
            setattr(self, name, int(value))


def load_detector(path: str | Path) -> RegimeDetector:
    """Load a detector of any class from a file written by `RegimeDetector.save`."""
    return RegimeDetector.load(path)


def market_returns(bars: Bars, *, log: bool = False) -> np.ndarray:
    """Return of the market at its sessions, shape (T,): since the session before, the mean over the symbols that traded.

    Of the listed symbols, simple or log returns. A symbol that missed sessions counts with what its return has in excess of the
    market's over these, which would otherwise be counted twice. NaN where the market has no session (`Bars.sessions`), which is
    no news and not a return of 0, and at the first session of the history.
    """
    held = bars.with_past()
    return _mean_returns(held.close, held.marks, held.listed, held.sessions, log)[bars.past :]


def _typical_size(returns: np.ndarray) -> float:
    """Distance of the quartiles over that of a standard normal, which no few returns can move; unchanged prices do not count."""
    moves = returns[returns != 0]
    low, high = np.quantile(moves, (0.25, 0.75))
    return float(high - low) / 1.35 or float(np.abs(moves).mean())


def _bad_prices(returns: np.ndarray, largest: float) -> np.ndarray:
    """Whether each return is beyond `largest`, and the two before it are not both."""
    beyond = np.abs(returns) > largest
    before = np.concatenate([np.zeros(2, dtype=bool), beyond])
    return beyond & ~(before[1:-1] & before[:-2])


def _hours(index: pd.DatetimeIndex) -> np.ndarray:
    """Hour of the day of each time: in UTC if the times have a zone, so that the same bars in another zone are the same."""
    return np.asarray((index if index.tz is None else index.tz_convert("UTC")).hour)


def _season(returns: np.ndarray, hours: np.ndarray) -> np.ndarray:
    """Mean absolute return in each hour of the day over that of all, 1 where returns are few; large returns are cut."""
    size = np.abs(returns)
    size = np.minimum(size, np.quantile(size, 1 - RARE))
    count = np.bincount(hours, minlength=24)
    mean = np.bincount(hours, size, 24) / np.maximum(count, 1)
    known = (count >= SEASON_RETURNS) & (count < len(returns)) & (mean > 0)
    return np.where(known, mean / size.mean() if size.any() else 1.0, 1.0)


@njit(cache=True, nogil=True)
def _mean_returns(close, marks, listed, sessions, log):
    out = np.full(close.shape[0], np.nan)
    before = -1  # row of the session before
    last = np.full(close.shape[1], -1)  # row of each symbol's last close
    missed = np.ones(close.shape[1])  # growth of the market over the sessions that a symbol missed since
    for t in range(close.shape[0]):
        total, count = 0.0, 0
        for a in range(close.shape[1]):
            if not np.isnan(close[t, a]):
                last[a] = t
            if sessions[t] and before >= 0 and listed[t, a] and last[a] > before and marks[before, a] > 0:  # no NaN
                growth = marks[t, a] / marks[before, a] / missed[a]
                total += np.log(growth) if log else growth - 1
                count += 1
        if count:
            out[t] = total / count
        if sessions[t]:
            for a in range(close.shape[1]):
                if last[a] > before:
                    missed[a] = 1.0
                elif count:
                    missed[a] *= np.exp(out[t]) if log else 1 + out[t]
            before = t
    return out


@njit(cache=True, nogil=True)
def _deepest_fall(returns, inside):
    """Largest drawdown within any run of `inside` bars, zero or negative."""
    deepest, level, top = 0.0, 1.0, 1.0
    for t in range(returns.size):
        if not inside[t]:
            level, top = 1.0, 1.0
        elif not np.isnan(returns[t]):
            level *= 1 + returns[t]
            top = max(top, level)
            deepest = min(deepest, level / top - 1)
    return deepest
