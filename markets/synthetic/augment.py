"""Data augmentation: synthetic bars resampled or transformed from past bars, for training.

Each bar is expressed by its log ratios to the previous known close, ``log(open, high, low, close / P_{t−1})``. These are drawn,
scaled or mirrored for whole bars and all symbols together, which preserves the cross-section, the gaps, the volumes and the
quoted spreads of a bar. Prices are then rebuilt from the ratios, so low ≤ open, close ≤ high continues to hold.

===========  =================================================================================================
`bootstrap`  blocks of bars of one regime (stationary bootstrap: Politis and Romano, Journal of the American
             Statistical Association 1994)
`switching`  a regime path from a transition matrix, then blocks of bars of each regime
`garch`      a regime path, then single bars with volatility from a GARCH(1,1) fitted in each regime (filtered
             historical simulation: Barone-Adesi, Giannopoulos and Vosper, Journal of Futures Markets 1999)
`rescale`    all log ratios multiplied by one random factor, which changes the volatility
`stretch`    the same by a given factor
`flip`       price paths mirrored, so that rises become falls
===========  =================================================================================================

`bootstrap`, `switching` and `garch` draw from the visible bars only: from those with a close, and `garch` from sessions of the
market (`Bars.sessions`). Their result has no history and no dates of its own: it gets the dates of the bars, continued with the
same steps if it is longer. A symbol without a close in any drawn bar gets its
last mark as the close of the first bar. All randomness comes from `seed`, an int or a generator (which is advanced).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from markets.bars.bars import FIELDS, Bars
from markets.common.errors import InputError
from markets.regimes.base import RegimePath, market_returns

Seed = int | np.random.Generator

_PRICES = FIELDS[:4]
# Minimum number of bars of a regime, for drawing blocks and for fitting a GARCH.
FEWEST, FEWEST_GARCH = 20, 100


def bootstrap(
    bars: Bars, path: RegimePath, regime: str | int, *, length: int | None = None, block: float = 20, seed: Seed
) -> Bars:
    """Stationary bootstrap: concatenated blocks of random length from the bars of one regime.

    Parameters
    ----------
    bars : Bars
    path : RegimePath
        Regimes of these bars, from a detector's `filter`.
    regime : str or int
        Name or label.
    length : int, optional
        Number of bars to generate; by default the number of visible bars.
    block : float
        Mean length of a block; the length is geometrically distributed. Within a block the bars of the regime keep their
        order. A block continues from one stretch of the regime to the next, and from its last bar to its first.
    seed : int or Generator

    Returns
    -------
    Bars

    Raises
    ------
    InputError
        When the regime is unknown or has fewer than `FEWEST` bars.
    """
    rng = np.random.default_rng(seed)
    k = path.label(regime)
    labels = np.full(_length(bars, length), k)
    rows = _draw(_rows(bars, path, labels, FEWEST), labels, block, rng)
    return _strung(bars, rows, np.ones(len(rows)), f"{bars.name}, bootstrap of {path.names[k]}")


def switching(
    bars: Bars, path: RegimePath, transition: np.ndarray, *, length: int | None = None, block: float = 20, seed: Seed
) -> Bars:
    """Draw a regime path from a transition matrix, and along it blocks of bars of each regime.

    Parameters
    ----------
    bars : Bars
    path : RegimePath
        Regimes of these bars, from a detector's `filter`.
    transition : ndarray of shape (K, K)
        Transition matrix, such as that of the detector; row i holds the probabilities of going from i. The path starts in the
        regime of a random bar.
    length : int, optional
        Number of bars to generate; by default the number of visible bars.
    block : float
        Mean length of a block. A new block also begins at every change of regime.
    seed : int or Generator

    Returns
    -------
    Bars

    Raises
    ------
    InputError
        When the matrix is not a transition matrix of the path's regimes, or the path visits one with fewer than `FEWEST` bars.
    """
    rng = np.random.default_rng(seed)
    labels = _labels(path, transition, _length(bars, length), rng)
    rows = _draw(_rows(bars, path, labels, FEWEST), labels, block, rng)
    return _strung(bars, rows, np.ones(len(rows)), f"{bars.name}, switching")


def garch(bars: Bars, path: RegimePath, transition: np.ndarray, *, length: int | None = None, seed: Seed) -> Bars:
    """Draw a regime path, and along it single bars that are scaled to a GARCH volatility fitted in each regime.

    In each regime ``h_{t+1} = ω + α ε_t² + β h_t`` is fitted to the market's log return by quasi-maximum likelihood (library
    arch). A bar drawn from row r is scaled by ``sqrt(h_t / h_r)``, where h_r is the fitted variance of row r; ε_t is the scaled
    return of the market. When a regime begins, h is set to the mean of its fitted variances. Each fit treats the bars of its
    regime as consecutive.

    Parameters
    ----------
    bars : Bars
    path : RegimePath
        Regimes of these bars, from a detector's `filter`.
    transition : ndarray of shape (K, K)
        Transition matrix, as in `switching`.
    length : int, optional
        Number of bars to generate; by default the number of visible bars.
    seed : int or Generator

    Returns
    -------
    Bars

    Raises
    ------
    InputError
        As in `switching`, but for regimes with fewer than `FEWEST_GARCH` bars; and when a fit does not converge.
    """
    rng = np.random.default_rng(seed)
    labels = _labels(path, transition, _length(bars, length), rng)
    returns = np.log1p(market_returns(bars)) * 100
    there = _rows(bars, path, labels, FEWEST_GARCH, np.isfinite(returns))
    rows = _draw(there, labels, 1, rng)
    fits = {k: _fit_garch(returns[found], path.names[k]) for k, found in there.items()}
    fitted = np.full(len(bars), np.nan)
    for k, found in there.items():
        fitted[found] = fits[k][3]
    scale, h, before = np.empty(len(rows)), 0.0, -1
    for t, (row, k) in enumerate(zip(rows.tolist(), labels.tolist(), strict=True)):
        omega, alpha, beta, variances = fits[k]
        if k != before:
            h, before = float(variances.mean()), k
        scale[t] = np.sqrt(h / fitted[row])
        h = omega + alpha * (scale[t] * returns[row]) ** 2 + beta * h
    return _strung(bars, rows, scale, f"{bars.name}, GARCH")


def rescale(bars: Bars, *, widest: float = 2.0, seed: Seed) -> Bars:
    """The same bars with all log ratios multiplied by one random factor, log-uniform between ``1 / widest`` and `widest`.

    The factor is the same for all symbols and bars. It scales returns, ranges and drift alike, so the Sharpe ratio of log
    returns does not change.

    Parameters
    ----------
    bars : Bars
    widest : float
        Largest factor, at least 1.
    seed : int or Generator

    Returns
    -------
    Bars
    """
    if not 1 <= widest < np.inf:
        raise InputError(f"widest is {widest}; it must be at least 1")
    return stretch(bars, float(np.exp(np.random.default_rng(seed).uniform(-1, 1) * np.log(widest))))


def stretch(bars: Bars, factor: float) -> Bars:
    """The same bars, history included, with all log ratios multiplied by `factor`; see `rescale`.

    Parameters
    ----------
    bars : Bars
    factor : float
        Above 0.

    Returns
    -------
    Bars

    Raises
    ------
    InputError
        When `factor` is not above 0 and finite.
    """
    if not 0 < factor < np.inf:
        raise InputError(f"stretch: the factor is {factor}; it must be above 0 and finite")
    return _rebuilt(bars, factor, f"{bars.name}, volatility times {factor:.2f}")


def flip(bars: Bars, *, symmetric: bool, seed: Seed) -> Bars:
    """The bars or, with probability one half, their mirror image: every price P becomes ``P_0² / P``, and highs become lows.

    Parameters
    ----------
    bars : Bars
    symmetric : bool
        Confirms that rises and falls are equally plausible in this market. That holds for exchange rates (whose mirror image is
        the inverse rate), for spreads, and for synthetic families without drift. It does not hold for stocks and stock indices,
        which earn a risk premium and fall faster than they rise.
    seed : int or Generator

    Returns
    -------
    Bars

    Raises
    ------
    InputError
        Unless `symmetric`.
    """
    if not symmetric:
        raise InputError(
            "flip: the mirror image of stock prices is not a plausible market; "
            "set symmetric=True for exchange rates, spreads and the like"
        )
    if np.random.default_rng(seed).random() < 0.5:
        return bars
    return _rebuilt(bars, -1.0, f"{bars.name}, mirrored")


# ------------------------------------------------------------------------------------------------- drawing


def _length(bars: Bars, length: int | None) -> int:
    if length is not None and length < 2:
        raise InputError(f"length is {length}; at least 2 bars are needed for a return")
    return len(bars) if length is None else length


def _labels(path: RegimePath, transition: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """Path of the Markov chain, shape (length,), starting in the regime of a random bar."""
    matrix, k = np.asarray(transition, dtype=np.float64), len(path.names)
    if matrix.shape != (k, k) or not (matrix >= 0).all() or not np.allclose(matrix.sum(axis=1), 1, atol=1e-6):
        raise InputError(
            f"transition must be {k} x {k}, with one row of probabilities per regime; got {matrix.tolist()}"
        )
    upto = matrix.cumsum(axis=1)
    labels = np.empty(length, dtype=np.int64)
    labels[0] = rng.choice(path.labels)
    for t, chance in enumerate(rng.random(length - 1), start=1):
        labels[t] = min(np.searchsorted(upto[labels[t - 1]], chance, side="right"), k - 1)
    return labels


def _rows(
    bars: Bars, path: RegimePath, labels: np.ndarray, fewest: int, usable: np.ndarray | None = None
) -> dict[int, np.ndarray]:
    """Visible rows of each regime in `labels` that are `usable`; by default, those with a close and a row before them."""
    if not path.index.equals(bars.index):
        raise InputError(
            f"the regime path has {len(path.index)} bars that are not those of {bars.name}; pass the path of these bars"
        )
    if usable is None:
        usable = np.isfinite(bars.close).any(axis=1) & (np.arange(len(bars)) + bars.past > 0)
    rows = {int(k): np.flatnonzero((path.labels == k) & usable) for k in np.unique(labels)}
    for k, found in rows.items():
        if len(found) < fewest:
            raise InputError(
                f"regime {path.names[k]!r} has {len(found)} bars in {bars.name}, and {fewest} are needed; "
                "give more bars, or a detector with fewer regimes"
            )
    return rows


def _draw(there: dict[int, np.ndarray], labels: np.ndarray, block: float, rng: np.random.Generator) -> np.ndarray:
    """Rows in blocks of mean length `block`, each from the rows of its label; a block that reaches their end wraps around."""
    if not 1 <= block < np.inf:
        raise InputError(f"block is {block}; the mean length must be at least 1 bar")
    at = np.arange(len(labels))
    begins = rng.random(len(labels)) < 1 / block
    begins[0] = True
    begins[1:] |= labels[1:] != labels[:-1]
    begun = np.maximum.accumulate(np.where(begins, at, 0))
    start = rng.random(len(labels))[begun]
    rows = np.empty(len(labels), dtype=np.int64)
    for k, found in there.items():
        here = labels == k
        rows[here] = found[((start * len(found)).astype(np.int64) + at - begun)[here] % len(found)]
    return rows


def _fit_garch(returns: np.ndarray, name: str) -> tuple[float, float, float, np.ndarray]:
    """(ω, α, β, fitted variances) of a GARCH(1,1) with zero mean, for returns in per cent."""
    from arch import arch_model  # the import takes a second

    fit = arch_model(returns, mean="Zero", p=1, q=1, rescale=False).fit(disp="off", show_warning=False)
    if fit.convergence_flag:
        raise InputError(
            f"GARCH: the fit to the {len(returns)} bars of regime {name!r} does not converge; use switching"
        )
    omega, alpha, beta = (float(fit.params[p]) for p in ("omega", "alpha[1]", "beta[1]"))
    return omega, alpha, beta, np.asarray(fit.conditional_volatility) ** 2


# ------------------------------------------------------------------------------------------------ building


def _strung(bars: Bars, rows: np.ndarray, scale: np.ndarray, name: str) -> Bars:
    """Concatenate the visible `rows`, with their log ratios times `scale`, starting from the last marks."""
    held = bars.with_past()
    unmarked = np.isnan(bars.marks[-1])
    if unmarked.any():
        raise InputError(
            f"{bars.name} has no close of {bars.symbols[int(np.argmax(unmarked))]} in this span; leave it out"
        )
    rows = rows + bars.past
    before = np.log(held.marks[rows - 1])
    ratios = {f: scale[:, None] * (np.log(held.fields[f][rows]) - before) for f in _PRICES if f in held.fields}
    moves = np.vstack([np.log(bars.marks[-1]), np.nan_to_num(ratios["close"][:-1])])
    level = np.cumsum(moves, axis=0)
    fields = {f: np.exp(level + ratio) for f, ratio in ratios.items()}
    absent = np.isnan(fields["close"]).all(axis=0)  # `Bars` require at least one close per symbol
    fields["close"][0, absent] = bars.marks[-1, absent]
    if bars.volume is not None:
        fields["volume"] = held.fields["volume"][rows]
    if held.spread is not None:
        fields["spread"] = held.spread[rows]
    return _built_bars(
        _times(bars.index, len(rows)),
        bars.symbols,
        fields,
        held.tradable[rows],
        {},
        name,
    )


def _rebuilt(bars: Bars, factor: float, name: str) -> Bars:
    """Replace every price P, history included, by ``P_0 (P / P_0)^factor``, where P_0 is a symbol's first close."""
    held = bars.with_past()
    marks = held.marks
    first = marks[np.isfinite(marks).argmax(axis=0), np.arange(marks.shape[1])]
    swap = {"high": "low", "low": "high"} if factor < 0 else {}
    fields = {
        swap.get(f, f): first * (x / first) ** factor if f in _PRICES else x for f, x in held.fields.items()
    }  # fmt: skip
    if held.spread is not None:
        fields["spread"] = held.spread
    built = _built_bars(held.index, held.symbols, fields, held.tradable, held.delisted_from, name)
    return built.rows(bars.past, len(held))


def _built_bars(index, symbols, fields: dict[str, np.ndarray], tradable: np.ndarray, gone: dict, name: str) -> Bars:
    """Validated bars. Rounding may put an open or close outside high and low, which are then widened to include it."""
    traded = [fields[f] for f in ("open", "close") if f in fields]
    for f, furthest in (("high", np.fmax), ("low", np.fmin)):
        if f in fields:
            known = np.isfinite(fields[f])
            fields[f] = np.where(known, furthest.reduce([fields[f], *traded]), np.nan)
    rest: dict[str, Any] = {f: x for f, x in fields.items() if f != "close"}
    return Bars.make(index, symbols, fields["close"], **rest, tradable=tradable, delisted=gone, name=name)


def _times(index: pd.DatetimeIndex, length: int) -> pd.DatetimeIndex:
    """The first `length` times of the index; beyond its end, its time steps are repeated from the beginning."""
    steps = np.resize(np.diff(index.asi8), length - 1)
    ticks = index.asi8[0] + np.append(0, np.cumsum(steps))
    times = pd.DatetimeIndex(ticks.view(f"M8[{index.unit}]"))
    return times if index.tz is None else times.tz_localize("UTC").tz_convert(index.tz)
