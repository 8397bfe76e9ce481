"""Regimes without look-ahead: what every detector of them can do, and what it hands on.

A detector is fitted on the past and then *filters*: row t of its answer is made of bars up to t, to the bit. States are
ordered by volatility, so that a label means the same after every refit. `hindsight` is the one method that reads the
whole span; it is there to measure how much look-ahead would have flattered, and nothing that decides may call it.
"""

from __future__ import annotations

import inspect
import json
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
from markets.common.formats import FORMAT, check_format

_NAMES = {
    1: ("all",),
    2: ("calm", "crisis"),
    3: ("calm", "normal", "crisis"),
    4: ("calm", "normal", "nervous", "crisis"),
}


def regime_names(n_regimes: int) -> tuple[str, ...]:
    """Names from the calmest to the wildest."""
    return _NAMES.get(n_regimes, tuple(f"regime {k}" for k in range(n_regimes)))


@dataclass(frozen=True, eq=False)
class RegimePath:
    """What a detector knew at each bar, at that bar.

    Attributes
    ----------
    index : DatetimeIndex of shape (T,)
    probabilities : ndarray of shape (T, K)
    names : tuple of str, length K
        From the calmest regime to the wildest.
    """

    index: pd.DatetimeIndex
    probabilities: np.ndarray
    names: tuple[str, ...]

    @property
    def labels(self) -> np.ndarray:
        """Most probable regime of each bar, shape (T,), integers from 0 (calmest)."""
        return self.probabilities.argmax(axis=1)

    def label(self, regime: str | int) -> int:
        """Label of a regime by its name, or the label itself.

        Raises
        ------
        InputError
            When there is no such regime.
        """
        if isinstance(regime, (int, np.integer)) and 0 <= regime < len(self.names):
            return int(regime)
        if regime not in self.names:
            raise InputError(
                f"regime {regime!r} is unknown; the detector's are {', '.join(self.names)}, or 0 to {len(self.names) - 1}"
            )
        return self.names.index(str(regime))

    @property
    def transitions(self) -> np.ndarray:
        """Share of the bars of regime i after which regime j follows, shape (K, K); NaN where i is not seen."""
        k = len(self.names)
        counts = np.zeros((k, k))
        np.add.at(counts, (self.labels[:-1], self.labels[1:]), 1)
        seen = counts.sum(axis=1, keepdims=True)
        return np.divide(counts, seen, out=np.full((k, k), np.nan), where=seen > 0)

    def table(self, bars: Bars) -> pd.DataFrame:
        """What the market did in each regime, a row a regime.

        ``bars`` and ``share`` of time; yearly ``mean`` and ``volatility`` of the market's return; ``drawdown``, the deepest
        fall of the market from its highest point since an episode began; ``episodes``; and ``duration``, the bars that an
        episode is expected to last, ``1 / (1 - transitions[k, k])``.
        """
        returns, labels = market_returns(bars), self.labels
        per_year = len(bars) / bars.years
        stay = np.diag(self.transitions)
        rows = {}
        for k, name in enumerate(self.names):
            here = returns[(labels == k) & np.isfinite(returns)]
            std = here.std(ddof=1) if len(here) > 1 else np.nan
            rows[name] = {
                "bars": int((labels == k).sum()),
                "share": float((labels == k).mean()),
                "mean": float(here.mean() * per_year) if len(here) else np.nan,
                "volatility": float(std * np.sqrt(per_year)),
                "drawdown": _deepest_fall(returns, labels == k) if len(here) else np.nan,
                "episodes": int(((labels == k) & (np.append(-1, labels[:-1]) != k)).sum()),
                "duration": float(1 / (1 - stay[k])) if stay[k] < 1 else np.nan,
            }
        return pd.DataFrame(rows).T.astype({"bars": int, "episodes": int})


class Recovery(NamedTuple):
    """How well labels find the true regimes; see `recovery`."""

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
        ``accuracy``: share of bars with the true label. ``delay``: mean number of bars from a true switch to the first
        bar that is labelled with the new regime, over the switches that were noticed before the next one; 0 is at once.
        ``missed``: share of switches that were not.
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
    """What is fitted on past bars and then says, bar by bar, which regime the market is in.

    A detector of your own subclasses this: its constructor keeps its parameters under their own names, `fit` sets what
    `_shapes` lists, and row t of `filter` is made of bars up to t. Reading and writing then come with it.
    """

    _known: ClassVar[dict[str, type[RegimeDetector]]] = {}  # by class name: what a file may ask for
    n_regimes: int

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        RegimeDetector._known[cls.__name__] = cls

    @abstractmethod
    def fit(self, bars: Bars) -> Self:
        """Fit on all that `bars` holds, history included; give it the past.

        Raises
        ------
        InputError
            Too few bars for the number of regimes, or prices that do not move.
        """

    @abstractmethod
    def filter(self, bars: Bars) -> RegimePath:
        """Regimes at each visible bar, from that bar and earlier ones alone.

        Raises
        ------
        InputError
            When the detector is not fitted.
        """

    def hindsight(self, bars: Bars) -> RegimePath:
        """Regimes at each visible bar with every later bar known. For measuring look-ahead; never for a decision."""
        raise InputError(f"{type(self).__name__} has no labels in hindsight")

    @abstractmethod
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every array that `fit` sets, by attribute; () for a number."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the regimes, from the calmest to the wildest."""
        return regime_names(self.n_regimes)

    # ------------------------------------------------------------------ parameters

    def get_params(self) -> dict[str, Any]:
        """What the constructor was given, by name."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def set_params(self, **params: Any) -> Self:
        """Change parameters; a fit is void after it.

        Raises
        ------
        InputError
            A parameter that is unknown or out of range; nothing is changed then.
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
        """Write parameters and fit as JSON, every number to its last bit.

        Raises
        ------
        InputError
            When the detector is not fitted, or the file cannot be written.
        """
        self._require_fit()
        fitted = {name: np.asarray(getattr(self, name)).tolist() for name in self._shapes()}
        text = json.dumps(
            {"format": FORMAT, "detector": type(self).__name__, "parameters": self.get_params(), "fitted": fitted},
            indent=1,
        )
        try:
            Path(path).write_text(text + "\n")
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror}); choose another place") from None

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote.

        Raises
        ------
        InputError
            When the file is none, or holds a detector of another kind.
        """
        try:
            config = json.loads(Path(path).read_text())
            if "detector" not in config:  # as hidden Markov models were written before there were other detectors
                parameters = {"n_regimes": config.pop("n_regimes")}
                config = {"detector": "HiddenMarkovRegimes", "parameters": parameters, "fitted": config}
            if "format" in config:  # files without one differ from format 1 in nothing else
                check_format(config, path, "fit the detector again")
            kind = RegimeDetector._known.get(config["detector"])
            if kind is None or not issubclass(kind, cls):
                raise InputError(f"{path}: holds a {config['detector']}, not a {cls.__name__}")
            detector = kind(**config["parameters"])
            for name, shape in detector._shapes().items():
                value = np.array(config["fitted"][name], dtype=np.float64)
                if value.shape != shape or not np.isfinite(value).all():
                    raise ValueError(f"{name} is not {shape} finite numbers")
                setattr(detector, name, value if shape else float(value))
        except InputError:
            raise
        except (OSError, KeyError, TypeError, AttributeError, ValueError) as error:
            raise InputError(f"{path}: not a saved regime detector ({error})") from None
        return detector

    # ------------------------------------------------------------------ what fits share

    def _require_fit(self) -> None:
        if not all(hasattr(self, name) for name in self._shapes()):
            raise InputError("the detector is not fitted; call fit(bars) on the past first")

    def _returns_to_fit(self, bars: Bars, needed: int) -> np.ndarray:
        """The market's returns in per cent, of all that is held, without gaps."""
        returns = market_returns(bars.with_past()) * 100
        returns = returns[np.isfinite(returns)]
        k = self.n_regimes
        if len(returns) < needed:
            raise InputError(f"{bars.name}: {len(returns)} returns are too few for {k} regimes; give at least {needed}")
        if returns.std() < 1e-9:
            raise InputError(f"{bars.name}: prices do not move, so there are no regimes to find")
        if (different := len(np.unique(returns.round(9)))) < 2 * k:
            raise InputError(f"{bars.name}: only {different} different returns, which cannot tell {k} regimes apart")
        return returns

    def _check_counts(self, **least: int) -> None:
        """Raise on the first parameter that is not a whole number of at least so much; keep the others as int."""
        for name, smallest in least.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
                raise InputError(f"{name} is {value!r}; it must be a whole number")
            if value < smallest:
                raise InputError(f"{name} is {value}; it must be at least {smallest}")
            setattr(self, name, int(value))


def load_detector(path: str | Path) -> RegimeDetector:
    """Read a detector of any kind, as `RegimeDetector.save` wrote it."""
    return RegimeDetector.load(path)


def market_returns(bars: Bars) -> np.ndarray:
    """Mean simple return over the symbols that are listed, shape (T,); NaN on the first bar held."""
    held = bars.with_past()
    return _mean_returns(held.marks, held.listed)[bars.past :]


@njit(cache=True, nogil=True)
def _mean_returns(marks, listed):
    out = np.full(marks.shape[0], np.nan)
    for t in range(1, marks.shape[0]):
        total, count = 0.0, 0
        for a in range(marks.shape[1]):
            if listed[t, a] and marks[t - 1, a] > 0:  # false for NaN
                total += marks[t, a] / marks[t - 1, a] - 1
                count += 1
        if count:
            out[t] = total / count
    return out


@njit(cache=True, nogil=True)
def _deepest_fall(returns, inside):
    """Deepest fall from the highest point since the run of `inside` bars began, zero or below."""
    deepest, level, top = 0.0, 1.0, 1.0
    for t in range(returns.size):
        if not inside[t]:
            level, top = 1.0, 1.0
        elif not np.isnan(returns[t]):
            level *= 1 + returns[t]
            top = max(top, level)
            deepest = min(deepest, level / top - 1)
    return deepest
