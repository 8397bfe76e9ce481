"""The hidden Markov fit against its peers, how well known regimes are recovered, and what is called a crisis on real data.

With Gaussian states and no prior, ours is the model of statsmodels and hmmlearn. All three fit three such regimes to 5,030
returns of the S&P 500 from ten starts, and all fits are scored by the same function, ours. Statsmodels fixes the initial
distribution to the stationary one, while ours and hmmlearn's are free, so its fit is scored from its best first regime. hmmlearn
runs in its faster implementation until its likelihood converges; its default fits, which stop after ten EM steps, are shown as
well.
"""

from __future__ import annotations

import logging
import math
import statistics
import subprocess
import time
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

import markets
from benchmarks.common import finish, options
from benchmarks.public_sets import PUBLIC
from markets import (
    Bars,
    ChangePoints,
    HiddenMarkovRegimes,
    JumpRegimes,
    RegimeDetector,
    RegimePath,
    VolatilityTrendRegimes,
)
from markets.regimes.base import market_returns, recovery

K = 3
GAUSSIAN = {"degrees_of_freedom": math.inf, "persistence": 0.0}
# Simulated regimes; means and volatilities in per cent per day. The calm regime lasts about a year on average.
TRANSITION = np.array([[0.996, 0.003, 0.001], [0.008, 0.988, 0.004], [0.004, 0.016, 0.98]])
MEAN, VOLATILITY = np.array([0.08, 0.0, -0.1]), np.array([0.55, 1.15, 2.7])


def model(start: np.ndarray, transition: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> HiddenMarkovRegimes:
    """Our detector with a peer's parameters, so that all fits are scored by the same function."""
    detector = HiddenMarkovRegimes(len(mean), **GAUSSIAN)
    order = np.argsort(variance)
    detector.start, detector.transition = start[order], np.ascontiguousarray(transition[np.ix_(order, order)])
    detector.mean, detector.volatility, detector.log_likelihood = mean[order], np.sqrt(variance[order]), 0.0
    return detector


def score(detector: HiddenMarkovRegimes, returns: np.ndarray) -> float:
    """Log-likelihood of `returns`, which are in per cent."""
    return detector.score(bars_of(returns))


def bars_of(returns: np.ndarray) -> Bars:
    """Bars of one symbol with these returns, in per cent; the first bar has no return."""
    close = 100 * np.append(1.0, np.cumprod(1 + returns / 100))
    return Bars.make(pd.date_range("1900-01-01", periods=len(close), freq="D"), ["x"], close[:, None])


def fits(quick: bool, seed: int) -> dict[str, float]:
    """Times and likelihoods of the three implementations, run alternately after a warm-up of each on little data."""
    from hmmlearn.hmm import GaussianHMM
    from statsmodels.tsa.regime_switching.markov_regression import MarkovRegression

    logging.getLogger("hmmlearn").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")  # statsmodels warns on import, and when it does not converge
    bars = markets.load("sp500")
    bars = bars[:1501] if quick else bars
    starts, rounds = (2, 1) if quick else (10, 5)

    def ours(bars: Bars, round_: int) -> HiddenMarkovRegimes:
        return HiddenMarkovRegimes(K, restarts=starts, tolerance=1e-12, seed=seed + round_, **GAUSSIAN).fit(bars)

    def statsmodels(bars: Bars, round_: int):
        peer = MarkovRegression(market_returns(bars)[1:] * 100, k_regimes=K, trend="c", switching_variance=True)
        return peer.fit(search_reps=starts, rng=seed + round_, disp=False)

    def hmmlearn(bars: Bars, round_: int, **settings) -> GaussianHMM:
        x = market_returns(bars)[1:, None] * 100
        built = [
            GaussianHMM(K, random_state=seed + starts * round_ + i, implementation="scaling", **settings).fit(x)
            for i in range(starts)
        ]
        return max(built, key=lambda one: one.score(x))

    runs: dict[str, Callable] = {
        "ours": ours,
        "statsmodels": statsmodels,
        "hmmlearn": lambda bars, round_: hmmlearn(bars, round_, n_iter=1000, tol=1e-3),
        "hmmlearn, ten steps": hmmlearn,
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    found: dict[str, list] = {name: [] for name in runs}
    with threadpool_limits(1):  # hmmlearn starts from k-means, whose threads block each other on a busy machine
        for run in runs.values():
            run(bars[:400], 0)
        for round_ in range(rounds):
            for name, run in runs.items():
                begun = time.perf_counter()
                found[name].append(run(bars, round_))
                times[name].append(time.perf_counter() - begun)
    took = {name: statistics.median(values) for name, values in times.items()}

    returns = market_returns(bars)[1:] * 100

    def of_statsmodels(result) -> float:
        return max(score(model(start, *_parts(result.params)), returns) for start in np.eye(K))

    def of_hmmlearn(result) -> float:
        variance = result.covars_[:, 0, 0]
        return score(model(result.startprob_, result.transmat_, result.means_[:, 0], variance), returns)

    def of_ours(result: HiddenMarkovRegimes) -> float:
        return score(result, returns)

    scorers = {"ours": of_ours, "statsmodels": of_statsmodels}
    reached = {name: [scorers.get(name, of_hmmlearn)(one) for one in found[name]] for name in runs}
    for name in runs:
        reach = f"{min(reached[name]):.6f} to {max(reached[name]):.6f}"
        print(f"{name:22} {took[name]:8.3f} s   log-likelihood {reach} in {rounds} run(s)")
    best = max(max(values) for name, values in reached.items() if name != "ours")
    return {
        "hmm_seconds": took["ours"],
        "hmm_ratio_statsmodels": took["statsmodels"] / took["ours"],
        "hmm_ratio_hmmlearn": took["hmmlearn"] / took["ours"],
        "hmm_ratio_hmmlearn_ten_steps": took["hmmlearn, ten steps"] / took["ours"],
        "hmm_loglik": min(reached["ours"]),
        "hmm_loglik_gap": min(reached["ours"]) - best,  # our worst run minus their best
        "hmm_loglik_gap_hmmlearn_ten_steps": min(reached["ours"]) - max(reached["hmmlearn, ten steps"]),
        "filter_max_abs_diff": filter_difference(bars, found["ours"][0]),
    }


def _parts(parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(transition, mean, variance) from statsmodels' vector: transitions to all regimes but the last, means, variances."""
    moves, mean, variance = np.split(np.asarray(parameters), [K * (K - 1), K * K])
    moves = moves.reshape(K - 1, K).T
    return np.column_stack([moves, 1 - moves.sum(axis=1)]), mean, variance


def filter_difference(bars: Bars, fitted: HiddenMarkovRegimes) -> float:
    """Largest difference between our filtered probabilities and statsmodels', at the same parameters."""
    from statsmodels.tsa.regime_switching.markov_regression import MarkovRegression

    peer = MarkovRegression(market_returns(bars)[1:] * 100, k_regimes=K, trend="c", switching_variance=True)
    parameters = np.concatenate([fitted.transition[:, :-1].T.ravel(), fitted.mean, fitted.volatility**2])
    theirs = peer.filter(parameters, return_raw=True)
    same = model(theirs.initial_probabilities, fitted.transition, fitted.mean, fitted.volatility**2)
    return float(np.abs(same.filter(bars).probabilities[1:] - theirs.filtered_marginal_probabilities.T).max())


def simulated(length: int, rng: np.random.Generator) -> tuple[Bars, np.ndarray]:
    """(bars, true regimes) simulated from the hidden Markov model above."""
    states = np.zeros(length + 1, dtype=np.int64)
    steps = TRANSITION.cumsum(axis=1)
    for t, u in enumerate(rng.random(length), start=1):
        states[t] = min(np.searchsorted(steps[states[t - 1]], u), K - 1)
    return bars_of(MEAN[states[1:]] + VOLATILITY[states[1:]] * rng.standard_normal(length)), states


def recoveries(quick: bool, seed: int) -> dict[str, dict[str, float]]:
    """Accuracy, delay in bars and fraction of missed switches; detectors are fitted on one half and evaluated on the other."""
    length, seeds = (4000, 2) if quick else (10_000, 10)
    detectors: dict[str, Callable[[], RegimeDetector]] = {
        "hmm": lambda: HiddenMarkovRegimes(K),
        "hmm, Gaussian": lambda: HiddenMarkovRegimes(K, **GAUSSIAN),
        "volatility": lambda: VolatilityTrendRegimes(K, trend=0),
        "jump": lambda: JumpRegimes(K),
        "changepoints": lambda: ChangePoints(K),
    }
    rows: dict[str, list[tuple[float, ...]]] = {}
    for number in range(seeds):
        bars, truth = simulated(length, np.random.default_rng([seed, number]))
        past, rest = bars[: length // 2], bars[length // 2 :]
        truth = truth[length // 2 :]
        known = model(np.full(K, 1 / K), TRANSITION, MEAN, VOLATILITY**2)
        rows.setdefault("known", []).append(recovery(known.filter(rest).labels, truth))
        for name, make in detectors.items():
            detector = make().fit(past)
            rows.setdefault(name, []).append(recovery(detector.filter(rest).labels, truth))
            rows.setdefault(f"{name}, hindsight", []).append(recovery(detector.hindsight(rest).labels, truth))
    table = pd.DataFrame({name: np.nanmean(values, axis=0) for name, values in rows.items()}).T
    table.columns = pd.Index(["accuracy", "delay", "missed"])
    print(f"\nRegimes recovered on {seeds} simulated markets of {length:,} bars, the later half:\n{table.round(3)}")
    return {str(name): {k: round(float(v), 3) for k, v in row.items()} for name, row in table.iterrows()}


def crises(quick: bool, seed: int) -> dict[str, dict[str, float | bool]]:
    """Share, mean duration and part of autumn 2008 of the regime "crisis", by set and by what was fitted and shown.

    The detectors are the default one and the Gaussian one; "whole" is fitted on and filtered over all bars, "first" on the first
    30 %, and "after" filtered over the rest. A crisis is one (``sound``) if it holds 2 % to 25 % of the bars, in episodes of more
    than 5 bars, and more than half of 15 September to 31 December 2008 where the bars have it.
    """
    found: dict[str, dict[str, float | bool]] = {}
    for name, load in PUBLIC.items():
        if quick and name not in ("sp500", "GOOG"):
            continue
        try:
            bars = load()
        except (subprocess.CalledProcessError, FileNotFoundError) as error:
            print(f"{name}: not reachable ({error})")
            continue
        first, after = bars[: len(bars) * 3 // 10], bars[len(bars) * 3 // 10 :]
        for kind, settings in {"default": {}, "Gaussian": GAUSSIAN}.items():
            for part, (past, shown) in {
                "whole": (bars, bars),
                "first": (first, first),
                "after": (first, after),
            }.items():
                path = HiddenMarkovRegimes(K, seed=seed, **settings).fit(past).filter(shown)
                found[f"{name}, {part}, {kind}"] = _crisis(path, shown)
    table = pd.DataFrame(found).T
    print(f"\nThe regime called crisis:\n{table.to_string(float_format='{:.3f}'.format)}")
    for kind in ("default", "Gaussian"):
        rows = [row for name, row in found.items() if name.endswith(kind)]
        print(f"{kind}: sound in {sum(bool(row['sound']) for row in rows)} of {len(rows)}")
    return found


def _crisis(path: RegimePath, bars: Bars) -> dict[str, float | bool]:
    inside = path.labels == K - 1
    row = path.table(bars).iloc[K - 1]
    duration = row["bars"] / row["episodes"] if row["episodes"] else 0.0
    autumn = (path.index >= "2008-09-15") & (path.index < "2009-01-01")
    held = float(inside[autumn].mean()) if autumn.any() else math.nan
    sound = 0.02 <= row["share"] <= 0.25 and duration > 5 and not held <= 0.5
    figures = {"share": row["share"], "bars_an_episode": duration, "autumn_2008": held}
    return {k: round(float(v), 4) for k, v in figures.items() if not math.isnan(v)} | {"sound": bool(sound)}


def main() -> None:
    """Run all measurements and print them."""
    chosen = options(__doc__ or "")
    figures: dict = {
        k: float(f"{v:.6g}") if k != "hmm_loglik" else v for k, v in fits(chosen.quick, chosen.seed).items()
    }
    figures["recovery"] = recoveries(chosen.quick, chosen.seed)
    figures["crises"] = crises(chosen.quick, chosen.seed)
    finish("regimes", figures, chosen.quick)


if __name__ == "__main__":
    main()
