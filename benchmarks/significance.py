"""Whether the significance tests keep what they promise, where the truth is known.

*Coverage.* 95 % intervals of the annualised Sharpe ratio, and of the difference of two correlated accounts', in 1,000 samples of
1,250 returns: independent with fat tails (Student t of 5), and GARCH(1, 1) with Student t of 8. The truth must lie in 93–97 %
(``coverage_iid``, ``coverage_garch`` and the same with ``_difference``).

*Coverage of paired differences*, in every statistic of `backtests.significance.STATISTICS`, on fifteen years of daily returns
(``coverage_alike_…``, ``coverage_managed_…``). *Alike*: two accounts in one GARCH market of which neither is better. *Managed*:
the market at constant risk, as a volatility target that knows the volatility would hold it, beside the market itself. Here the
market's variance is the hard part: it comes in a few long episodes, whatever the test. *Pooled* (``coverage_pooled_…``): alike
pairs in three universes that share most of their shocks, over fifteen years, the first eight and the last five.

*Null.* In each of 500 markets without drift (20 symbols, GARCH, a common factor, five years of days) ten strategies of random
weights, new each quarter, and an equal-weight benchmark run through the account, without costs. Every true Sharpe ratio is 0:
SPA's least favourable null, in which its p-values must be uniform (Kolmogorov–Smirnov). Where some strategies are truly worse,
SPA is conservative by construction. Of the best strategies, one a market, the deflated Sharpe ratio may call 5 % better than 0;
the probabilistic one, which does not count trials, calls more. Weights are long and short, so that trials are nearly
independent, as the deflated ratio takes them to be; ``long_only`` is the same with positive weights, which share the market's
luck.

*Power.* One of ten long-only strategies also sees the next return through noise: the share of markets in which it is found, by
the mean Sharpe ratio and its mean difference from the benchmark's.

All verdicts are those of `backtests.significance.verdict`, as a user sees them.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from rich.progress import track
from scipy.stats import kstest

from backtests.results import Backtest, Backtests
from backtests.significance import (
    STATISTICS,
    ExpectedShortfall,
    Statistic,
    Verdict,
    VolatilityOfVolatility,
    paired,
    pooled,
    sharpe_difference,
    sharpe_interval,
    verdict,
)
from benchmarks.common import finish, options
from markets import Bars, Costs, Execution, Plan, simulate
from markets.common.progress import visible
from markets.common.statistics import bars_per_year

LENGTH, SYMBOLS, STRATEGIES = 1250, 20, 10
RATIOS = (0.06, 0.03)  # true Sharpe ratios per bar: 0.95 and 0.48 a year
CORRELATION = 0.6
ARCH, GARCH, BURN = 0.08, 0.90, 500
LONG, UNIVERSES = (
    3780,
    ((0, 3780), (0, 2016), (2520, 3780)),
)  # fifteen years; first and last day of each universe of a pool
COMMON, DRIFT = 0.7, 0.03  # share of the shocks' variance that universes share; mean return per bar over its deviation
EDGES = (0.01, 0.02, 0.03)  # correlation of the planted signal with each symbol's return


def student(rng: np.random.Generator, freedom: int, shape: tuple[int, ...]) -> np.ndarray:
    """Student t of variance 1."""
    return rng.standard_t(freedom, shape) * np.sqrt((freedom - 2) / freedom)


def clustered(shocks: np.ndarray) -> np.ndarray:
    """GARCH(1, 1) of variance 1 from shocks (BURN + T, ...); returns (T, ...)."""
    returns, variance = np.empty_like(shocks), np.ones(shocks.shape[1:])
    for t, shock in enumerate(shocks):
        if t:
            variance = 1 - ARCH - GARCH + ARCH * returns[t - 1] ** 2 + GARCH * variance
        returns[t] = np.sqrt(variance) * shock
    return returns[BURN:]


def samples(kind: str, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Returns (T, 2, draws) of two correlated accounts with the Sharpe ratios `RATIOS`."""
    root = np.linalg.cholesky([[1, CORRELATION], [CORRELATION, 1]])
    if kind == "iid":
        returns = np.einsum("ij,tjd->tid", root, student(rng, 5, (LENGTH, 2, draws)))
    else:
        returns = clustered(np.einsum("ij,tjd->tid", root, student(rng, 8, (BURN + LENGTH, 2, draws))))
    return 0.01 * (returns + np.array(RATIOS)[:, None])


def coverage(kind: str, draws: int, seed: int) -> dict[str, float]:
    """Share of intervals that hold the truth, of the ratio and of the difference."""
    returns = samples(kind, draws, np.random.default_rng(seed))
    inside = {"": 0, "_difference": 0}
    for k in track(range(draws), kind, transient=True, disable=not visible(True)):
        one, other = (np.ascontiguousarray(r) for r in returns[:, :, k].T)
        found = sharpe_interval(one, resamples=1000, seed=k)
        inside[""] += found.low <= RATIOS[0] <= found.high
        found = sharpe_difference(one, other, resamples=1000, seed=k)
        inside["_difference"] += found.low <= RATIOS[0] - RATIOS[1] <= found.high
    return {f"coverage_{kind}{what}": round(number / draws, 4) for what, number in inside.items()}


def account(name: str, returns: np.ndarray, first: int = 0) -> Backtest:
    """The backtest of an account that earned these returns (T,) on business days from the `first` on."""
    index = pd.bdate_range("2000-01-03", periods=first + len(returns) + 1)[first:]
    equity, nothing = np.cumprod(np.append(1.0, 1 + returns)), np.zeros(len(index))
    return Backtest(
        name, index, ("x",), equity, nothing, nothing, np.ones((len(index), 1)), Plan(np.ones((len(index), 1)))
    )


def paths(draws: int, rng: np.random.Generator, common: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Returns (T, 2, draws) of pairs of accounts: alike, and managed; `common` are the shocks that universes share."""
    shocks = student(rng, 8, (BURN + LONG, draws))
    if common is not None:
        shocks = np.sqrt(COMMON) * common + np.sqrt(1 - COMMON) * shocks
    market, calm = clustered(shocks), shocks[BURN:]
    noise = rng.standard_normal((2, LONG, draws))
    one, two = market / calm * (np.sqrt(0.95) * calm + np.sqrt(0.05) * noise)
    pairs = {"alike": (one, two), "managed": (calm, market)}
    return {kind: 0.01 * (np.stack(pair, axis=1) + DRIFT) for kind, pair in pairs.items()}


def truth(kind: str, statistic: Statistic, long: dict[str, np.ndarray]) -> float:
    """Difference per bar that `statistic` has in the long run: 0 of accounts that are alike, or that of many paths."""
    if kind == "alike" or not isinstance(statistic, (ExpectedShortfall, VolatilityOfVolatility)):
        return 0.0  # managed accounts have the market's mean and variance
    index = account("", long[kind][:, 0, 0]).index[1:]
    one, two = (
        statistic.value(np.concatenate([statistic.observed(path, index)[1] for path in long[kind][:, i].T]))
        for i in range(2)
    )
    return one - two


def coverage_of_pairs(draws: int, seed: int) -> dict[str, float]:
    """Share of intervals of paired differences that hold the truth, in each statistic."""
    found, long = paths(draws, np.random.default_rng(seed)), paths(400, np.random.default_rng([seed, 1]))
    figures = {}
    for kind, returns in found.items():
        for name, statistic in STATISTICS.items():
            value, inside = truth(kind, statistic, long), 0
            for k in track(range(draws), f"{kind} {name}", transient=True, disable=not visible(True)):
                one, two = (account(str(i), returns[:, i, k]) for i in range(2))
                interval = paired(one, two, statistic, resamples=1000, seed=k)
                scale = bars_per_year(one.index) ** statistic.annual
                inside += interval.low <= value * scale <= interval.high
            figures[f"coverage_{kind}_{name.replace(' ', '_')}"] = round(inside / draws, 4)
    return figures


def coverage_of_pools(draws: int, seed: int) -> dict[str, float]:
    """Share of intervals of pooled differences that hold the truth, which is 0."""
    rng = np.random.default_rng(seed)
    common = student(rng, 8, (BURN + LONG, draws))
    universes = [paths(draws, rng, common)["alike"][first:last] for first, last in UNIVERSES]
    inside = dict.fromkeys(("log variance", "certainty equivalent", "sharpe"), 0)
    for k in track(range(draws), "pooled", transient=True, disable=not visible(True)):
        pairs = [
            (account("one", returns[:, 0, k], first), account("two", returns[:, 1, k], first))
            for returns, (first, _) in zip(universes, UNIVERSES, strict=True)
        ]
        for name in inside:
            interval = pooled(pairs, name, resamples=1000, seed=k)
            inside[name] += interval.low <= 0 <= interval.high
    return {f"coverage_pooled_{name.replace(' ', '_')}": round(count / draws, 4) for name, count in inside.items()}


def judged(seed: int, *, long_only: bool = True, edge: float = 0.0) -> Verdict:
    """The verdict on random strategies in one market; the first of them has an edge, if it is not 0."""
    rng = np.random.default_rng([seed, int(1e6 * edge)])
    shocks = student(rng, 8, (BURN + LENGTH, SYMBOLS))
    returns = 0.01 * clustered(np.sqrt(0.3) * student(rng, 8, (BURN + LENGTH, 1)) + np.sqrt(0.7) * shocks)
    index = pd.bdate_range("2015-01-01", periods=LENGTH)
    bars = Bars.make(index, [f"s{i}" for i in range(SYMBOLS)], 100 * np.cumprod(1 + returns, axis=0))
    shape = (STRATEGIES + 1, LENGTH // 63 + 1, SYMBOLS)
    quarters = rng.exponential(size=shape) if long_only else rng.standard_normal(shape)
    quarters[0] = 1.0
    weights = np.repeat(quarters, 63, axis=1)[:, :LENGTH]
    if edge:  # a decision is filled at the next close, and earns the return after that
        ahead = np.zeros_like(returns)
        ahead[:-2] = returns[2:] / returns.std(axis=0)
        weights[1] = np.maximum(1 + edge * ahead + np.sqrt(1 - edge**2) * rng.standard_normal(returns.shape), 0)
    weights /= np.maximum(np.abs(weights).sum(axis=2, keepdims=True), 1e-9)
    paths = simulate(bars, weights, costs=Costs())
    names = ["equal weight", *(f"random {k}" for k in range(1, STRATEGIES + 1))]
    backtests = tuple(
        Backtest(
            name, index, bars.symbols, paths.equity[k], paths.cost[k], paths.traded[k],
            paths.shares[k] * bars.marks / paths.equity[k][:, None], Plan(weights[k]),
        )
        for k, name in enumerate(names)
    )  # fmt: skip
    return verdict(Backtests(backtests, bars, Costs(), Execution(), 63), seed=seed)


def null(markets: int, seed: int, *, long_only: bool) -> dict[str, float]:
    """p-values, and what is flagged, in markets where nothing is better than anything."""
    p, best, overfit = [], [], []
    for k in track(range(markets), "null", transient=True, disable=not visible(True)):
        found = judged(seed * 100_000 + k, long_only=long_only)
        random = found.table[1:]
        p.append(random["p"].min())
        best.append(random.loc[random["sharpe"].idxmax(), ["psr", "dsr"]])
        overfit.append(found.pbo)
    flagged = (pd.DataFrame(best) > 0.95).mean()
    figures = {
        "strategies": markets * STRATEGIES,
        "spa_uniform_p": round(float(kstest(p, "uniform").pvalue), 4),
        "spa_rejected_5pc": round(float(np.mean(np.array(p) <= 0.05)), 4),
        "spa_rejected_10pc": round(float(np.mean(np.array(p) <= 0.10)), 4),
        "dsr_flagged": round(float(flagged["dsr"]), 4),
        "psr_of_best_flagged": round(float(flagged["psr"]), 4),
        "pbo_mean": round(float(np.mean(overfit)), 4),
    }
    return {f"null{'_long_only' if long_only else ''}_{name}": value for name, value in figures.items()}


def power(markets: int, seed: int) -> dict[str, float]:
    """How often an edge is found, by its mean Sharpe ratio."""
    figures = {}
    for edge in EDGES:
        rows = [
            judged(seed * 100_000 + 50_000 + k, edge=edge).table.iloc[1]
            for k in track(range(markets), f"edge {edge}", transient=True, disable=not visible(True))
        ]
        table, name = pd.DataFrame(rows), f"edge_{edge:g}"
        figures |= {
            f"{name}_sharpe": round(float(table["sharpe"].mean()), 2),
            f"{name}_difference": round(float(table["difference"].mean()), 2),
            f"{name}_found_by_spa": round(float((table["p"] <= 0.05).mean()), 3),
            f"{name}_found_by_dsr": round(float((table["dsr"] > 0.95).mean()), 3),
        }
    return figures


def main() -> None:
    """Measure and print."""
    chosen = options(__doc__ or "")
    draws, markets, planted = (60, 24, 8) if chosen.quick else (1000, 500, 60)
    figures: dict[str, float] = {}
    for part in (
        coverage("iid", draws, chosen.seed), coverage("garch", draws, chosen.seed + 1),
        coverage_of_pairs(draws // 2, chosen.seed + 2), coverage_of_pools(draws // 2, chosen.seed + 3),
        null(markets, chosen.seed, long_only=False), null(markets, chosen.seed, long_only=True),
        power(planted, chosen.seed),
    ):  # fmt: skip
        figures |= part
    print(pd.Series(figures).to_string())
    finish("significance", figures, chosen.quick)


if __name__ == "__main__":
    main()
