"""Statistical jump model: clustering in time with a fixed penalty for each change of state.

States s_t and centres c minimise ``Σ_t ½ |z_t − c_{s_t}|² + λ Σ_t 1[s_t ≠ s_{t−1}]`` (Bemporad et al., "Fitting jump models",
Automatica 2018; Nystrup, Lindström and Madsen, "Learning hidden Markov models with persistent states by penalizing jumps",
Expert Systems with Applications 2020). Fit and prediction are those of the library `jumpmodels`. Online, ``V_t(k) =
½ |z_t − c_k|² + min_j (V_{t−1}(j) + λ 1[j ≠ k])`` and the regime is the k with the smallest V_t, which uses nothing after
bar t.

The features z are exponentially weighted with half-lives in bars: the log of the downside deviation, and the Sortino ratio
(mean over downside deviation) (Shu, Yu and Mulvey, "Downside risk reduction using regime-switching signals: a statistical jump
model approach", Journal of Asset Management 2024). Their model of bull and bear markets is ``JumpRegimes(2, penalty=50,
deviations=(10,), sortinos=(20, 60))``. The default uses downside deviations only, because the regimes should be volatility
levels and the noisy Sortino ratio would separate the centres by something else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numba import njit

from markets.bars.bars import Bars
from markets.common.errors import InputError
from markets.regimes.base import _SHARED, RegimeDetector, RegimePath, market_returns

if TYPE_CHECKING:
    from jumpmodels.jump import JumpModel

# Standardised features are clipped at this many standard deviations.
CLIP = 3.0
# Floor of the downside deviation as a fraction of the market's volatility, so that its log stays finite.
SMALLEST_DEVIATION = 0.01


class JumpRegimes(RegimeDetector):
    """Statistical jump model with online prediction; probabilities are 0 or 1.

    Features are standardised with mean and standard deviation of the fitted span and clipped at three standard deviations. For
    the first `warmup` returns, the probabilities are the regimes' frequencies in the fitted span. A bar without a return
    changes nothing.

    Parameters
    ----------
    n_regimes : int
        At least 2.
    penalty : float
        λ, the cost of a jump; the larger it is, the fewer the jumps.
    deviations : tuple of int
        Half-lives of the log downside deviations, in bars.
    sortinos : tuple of int
        Half-lives of the Sortino ratios, in bars.
    restarts : int
        Number of initialisations of the fit; the best result is kept.
    seed : int

    Attributes
    ----------
    centers : ndarray of shape (K, F)
        Cluster centres of the standardised features. Set by `fit`, as are the following attributes.
    location, scale : ndarray of shape (F,)
        Mean and standard deviation of the features.
    shares : ndarray of shape (K,)
        Frequency of each regime in the fitted span.
    smallest : float
        Floor of the downside deviation, in per cent per bar.
    """

    centers: np.ndarray
    location: np.ndarray
    scale: np.ndarray
    shares: np.ndarray
    smallest: float

    def __init__(
        self,
        n_regimes: int = 3,
        *,
        penalty: float = 20.0,
        deviations: tuple[int, ...] = (5, 20),
        sortinos: tuple[int, ...] = (),
        restarts: int = 10,
        seed: int = 0,
    ):
        self.n_regimes = n_regimes
        self.penalty = penalty
        self.deviations = tuple(int(h) for h in deviations)
        self.sortinos = tuple(int(h) for h in sortinos)
        self.restarts = restarts
        self.seed = seed
        self._check_counts(n_regimes=1, restarts=1, seed=0)
        if self.n_regimes == 1:
            raise InputError("n_regimes is 1; a jump model needs at least 2, or there is no jump")
        if not (np.isfinite(penalty) and penalty >= 0):
            raise InputError(f"penalty is {penalty}; it must be a number of at least 0")
        half_lives = self.deviations + self.sortinos
        if not half_lives or not all(np.isfinite(h) and h > 0 for h in half_lives):
            raise InputError(
                f"deviations {deviations} and sortinos {sortinos}: half-lives must be above 0, and at least one is needed"
            )

    @property
    def warmup(self) -> int:
        """Number of returns before the first prediction: the longest half-life."""
        return int(np.ceil(max(self.deviations + self.sortinos)))

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        k, f = self.n_regimes, len(self.deviations) + len(self.sortinos)
        return _SHARED | {"centers": (k, f), "location": (f,), "scale": (f,), "shares": (k,), "smallest": ()}

    def fit(self, bars: Bars) -> JumpRegimes:
        """Fit on all rows of `bars`, history included.

        Raises
        ------
        InputError
            When there are too few bars for the number of regimes, prices do not move, or a regime has no bars.
        """
        k = self.n_regimes
        returns = self._returns_to_fit(bars, self.warmup + 20 * k)
        self.smallest = float(SMALLEST_DEVIATION * returns.std())
        features = self._features(returns)[self.warmup :]
        self.location, self.scale = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-12)
        model = self._model()
        with np.errstate(divide="ignore", invalid="ignore"):  # as the library would set for the whole process
            model.fit(self._standardised(features), ret_ser=returns[self.warmup :], sort_by="vol")
        labels = np.asarray(model.labels_)
        held = np.bincount(labels, minlength=k)
        if not held.all() or not np.isfinite(model.centers_).all():
            raise InputError(
                f"{bars.name}: at a penalty of {self.penalty:g} only {(held > 0).sum()} of {k} regimes have any bars; use "
                "fewer regimes or a smaller penalty"
            )
        self.centers, self.shares = np.array(model.centers_), held / held.sum()
        # Centres are features. Names go by the volatility that the table will show: live, or in hindsight if never seen live.
        whole = bars.with_past()
        market = pd.Series(np.where(np.isfinite(self._returns(whole)), market_returns(whole), np.nan))
        paths = self.filter(whole), self.hindsight(whole)
        live, after = (market.groupby(path.labels).std().reindex(range(k)) for path in paths)
        order = np.argsort(live.fillna(after).to_numpy())
        self.centers, self.shares = self.centers[order], self.shares[order]
        self._warn_of_degenerate(bars, self.filter(whole))
        return self

    def filter(self, bars: Bars) -> RegimePath:
        """Regime of each visible bar, from this and earlier bars only (the library's online prediction)."""
        return self._path(bars, online=True)

    def hindsight(self, bars: Bars) -> RegimePath:
        """The sequence of regimes that minimises the objective over the whole span."""
        return self._path(bars, online=False)

    def _path(self, bars: Bars, online: bool) -> RegimePath:
        returns, seen = self._news(bars)
        warm = seen >= self.warmup
        probabilities = np.broadcast_to(self.shares, (len(seen), self.n_regimes)).copy()
        if warm.any():
            features = self._standardised(self._features(returns)[self.warmup :])
            model = self._model()
            model.centers_, model.feat_weights = self.centers, None
            model.check_jump_penalty_mx()
            with np.errstate(divide="ignore", invalid="ignore"):
                found = model.predict_online(features) if online else model.predict(features)
            probabilities[warm] = np.eye(self.n_regimes)[np.asarray(found)[seen[warm] - self.warmup]]
        return self._path_of(bars, probabilities)

    def _model(self) -> JumpModel:
        # Imported here, since it brings scikit-learn and matplotlib; and it sets numpy's and pandas' options at import.
        with np.errstate(), pd.option_context("display.width", pd.get_option("display.width")):
            from jumpmodels.jump import JumpModel

        return JumpModel(self.n_regimes, self.penalty, n_init=self.restarts, random_state=self.seed)

    def _standardised(self, features: np.ndarray) -> np.ndarray:
        return np.clip((features - self.location) / self.scale, -CLIP, CLIP)

    def _features(self, returns: np.ndarray) -> np.ndarray:
        """Features of returns without NaN, shape (T, F)."""
        half_lives = np.array(self.deviations + self.sortinos, dtype=np.float64)
        return _features(returns, half_lives, len(self.deviations), self.smallest)


@njit(cache=True, nogil=True)
def _features(returns, half_lives, deviations, smallest):
    """Exponentially weighted features with normalised weights; row t uses returns up to t."""
    out = np.empty((returns.size, half_lives.size))
    for f in range(half_lives.size):
        keep = 0.5 ** (1 / half_lives[f])
        total, below, weight = 0.0, 0.0, 0.0
        for t in range(returns.size):
            weight = keep * weight + 1
            total = keep * total + returns[t]
            below = keep * below + min(returns[t], 0.0) ** 2
            deviation = max(np.sqrt(below / weight), smallest)
            out[t, f] = np.log(deviation) if f < deviations else total / weight / deviation
    return out
