"""Whether alarms keep their level however often one looks, and how late they are.

*Null.* 1,000 paths of 1,000 bars of an account whose Sharpe ratio is the floor, 0.9 a year, at every bar. After every bar one
looks at `backtests.monitoring.EdgeAlarm` of level .05; and from bar 30 on at a one-sided t-test of the same returns, which was
made for one look. Shocks are normal, Student t of 4, GARCH(1, 1) with Student t of 8 or of 4, or of a volatility whose logarithm
is an AR(1) with leverage. ``alarm_false_rate`` is the share of paths with an alarm at any bar, under the worst of these, with its
95 % interval (Clopper and Pearson). *Skewed* shocks, exponential ones, are outside of what the alarm allows; their figure
stands beside.

*Decay.* The Sharpe ratio is 1.5 a year for 250 bars, and then falls. ``alarm_delay_bars`` is the median number of bars from there
to the alarm, over paths without one before, with GARCH shocks. Beside it: the t-test, whose false rate is not its level; and
the same t-test with the critical value that gives 5 % false alarms in just these 1,000 normal bars, which needs to know for how
long one will look; and *at once*, the same e-process whose bets all begin at the first bar.

*Champion and challenger*: two accounts with a correlation of .9, of the same mean; or with a challenger that is worse for 125
bars and better for 125, in turn, and so never better on average. ``comparison_delay_bars``: a challenger whose difference has a
Sharpe ratio of 1 or 2. *Costs*: lognormal about what is assumed, and 1.2 and 1.5 times as high from the first bar on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from rich.progress import track
from scipy.stats import binomtest
from scipy.stats import t as student_law

from backtests.monitoring import ComparisonAlarm, CostAlarm, EdgeAlarm
from backtests.monitoring.betting import Bets
from benchmarks.common import RESULTS, finish, options
from benchmarks.significance import BURN, clustered, student
from markets.common.progress import visible

YEAR = np.sqrt(252.0)
LEVEL, BARS, CHANGE, FEWEST = 0.05, 1000, 250, 30
FLOOR, PROMISED = 0.9, 1.5  # annualised Sharpe ratios: the lower end of a backtest's interval, and its middle
DECAYS = (
    (FLOOR, 0.0),
    (FLOOR, -0.5),
    (FLOOR, -1.5),
    (FLOOR, -3.0),
    (PROMISED, -0.5),
)  # floor, and ratio after the change
HEADLINE = (FLOOR, -0.5)
NEVER = 10**9
Hits = dict[str, np.ndarray]


def shocks(kind: str, bars: int, paths: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Shocks of mean 0 and variance 1, and the volatility of each bar; both (bars, paths)."""
    if kind == "gaussian":
        return rng.standard_normal((bars, paths)), np.ones((bars, paths))
    if kind == "student":
        return student(rng, 4, (bars, paths)), np.ones((bars, paths))
    if kind == "skewed":
        return rng.exponential(1, (bars, paths)) - 1, np.ones((bars, paths))
    if kind == "stochastic":
        found, log = student(rng, 8, (bars, paths)), 0.5 * rng.standard_normal(paths)
        volatility = np.empty((bars, paths))
        for t in range(bars):
            volatility[t] = np.exp(log - 0.125)
            noise = -0.6 * found[t] + 0.8 * rng.standard_normal(paths)
            log = 0.98 * log + 0.5 * np.sqrt(1 - 0.98**2) * noise
        return found, volatility
    found = student(rng, 8 if kind == "garch" else 4, (BURN + bars, paths))
    return found[BURN:], clustered(found) / found[BURN:]


NULLS = ("gaussian", "student", "garch", "garch_student", "stochastic")


def account(kind: str, sharpe: np.ndarray, paths: int, rng: np.random.Generator) -> np.ndarray:
    """Returns (bars, paths) with the annualised Sharpe ratio `sharpe` (bars,) at each bar, given the past."""
    found, volatility = shocks(kind, len(sharpe), paths, rng)
    return 0.01 * volatility * (sharpe[:, None] / YEAR + found)


@dataclass
class Repeated:
    """A t-test that the mean is above 0, of all values until now, once after every bar; for many paths."""

    total: np.ndarray
    squares: np.ndarray
    bars: int = 0

    def add(self, value: np.ndarray) -> np.ndarray:
        """The t-statistic with this value, (paths,); 0 while there are too few."""
        self.bars += 1
        self.total, self.squares = self.total + value, self.squares + value**2
        if self.bars < FEWEST:
            return np.zeros_like(value)
        mean = self.total / self.bars
        return mean / np.sqrt((self.squares / self.bars - mean**2) / (self.bars - 1))


def watch(returns: np.ndarray, floor: float, critical: float = np.inf, what: str = "") -> Hits:
    """The first bar at which each alarm is given, (paths,), or `NEVER`; and the largest t-statistic.

    Parameters
    ----------
    returns : ndarray of shape (T, paths)
    floor : float
        Annualised Sharpe ratio.
    critical : float
        Critical value of the calibrated t-test.
    """
    bars, paths = returns.shape
    alarm = EdgeAlarm(floor=floor / YEAR, volatility=0.01, level=LEVEL)
    at_once = EdgeAlarm(floor=floor / YEAR, volatility=0.01, level=LEVEL)
    alarm.bets = Bets(alarm.clip, np.zeros((paths, 4)))
    at_once.bets = Bets(alarm.clip, np.zeros((paths, 4)), prior=0.0)
    test, largest = Repeated(np.zeros(paths), np.zeros(paths)), np.zeros(paths)
    hits = {name: np.full(paths, NEVER) for name in ("alarm", "at_once", "ttest", "calibrated")}
    quantiles = student_law.ppf(1 - LEVEL, np.maximum(np.arange(bars), 1))
    for t in track(range(bars), what, transient=True, disable=not visible(True)):
        statistic = test.add(alarm.floor - returns[t] / alarm.scale.value)
        alarm.observe(returns[t])
        at_once.observe(returns[t])
        largest = np.maximum(largest, statistic)
        known = [one.evidence >= 1 / LEVEL for one in (alarm, at_once)]
        over = (*known, statistic >= quantiles[t], statistic >= critical)
        for name, now in zip(hits, over, strict=True):
            hits[name] = np.where(now & (hits[name] == NEVER), t, hits[name])
    return hits | {"largest": largest}


def share(hit: np.ndarray) -> tuple[float, float, float]:
    """The share of true values, and its 95 % interval."""
    found = binomtest(int(hit.sum()), len(hit)).proportion_ci(0.95)
    return float(hit.mean()), float(found.low), float(found.high)


def delays(hits: np.ndarray) -> tuple[float, float]:
    """Median bars from the change to the alarm, of paths without one before; and the share of those with one."""
    late = hits[hits >= CHANGE]
    median = float(np.median(late)) - CHANGE + 1 if len(late) else NEVER
    return median if median < NEVER / 2 else np.inf, float((hits < CHANGE).mean())


def compared(mean: Callable[[int], float], bars: int, paths: int, rng: np.random.Generator) -> Hits:
    """First bars at which a winner is named, of a challenger whose difference has the annualised Sharpe ratio `mean` at each bar.

    Returns
    -------
    dict
        ``challenger`` and ``champion``: bars at which each is named; ``ttest``: at which a paired t-test says challenger.
    """
    market, volatility = shocks("garch", bars, paths, rng)
    noise = np.sqrt(1 / 0.9 - 1) * student(rng, 8, (2, bars, paths))  # correlation .9
    alarm = ComparisonAlarm(volatility=0.01 * np.sqrt(2 * (1 / 0.9 - 1)), level=LEVEL)
    alarm.challenger, alarm.champion = (Bets(alarm.clip, np.zeros((paths, 4)), prior=0.0) for _ in range(2))
    test = Repeated(np.zeros(paths), np.zeros(paths))
    hits = {name: np.full(paths, NEVER) for name in ("challenger", "champion", "ttest")}
    quantiles = student_law.ppf(1 - LEVEL, np.maximum(np.arange(bars), 1))
    for t in range(bars):
        champion = 0.01 * volatility[t] * (market[t] + noise[0, t])
        edge = mean(t) / YEAR * np.sqrt(2 * (1 / 0.9 - 1))
        challenger = 0.01 * volatility[t] * (market[t] + noise[1, t] + edge)
        statistic = test.add((challenger - champion) / alarm.scale.value)
        alarm.observe(challenger - champion)
        named = alarm.evidence >= 1 / LEVEL
        leads = alarm.challenger.value > alarm.champion.value
        free = (hits["challenger"] == NEVER) & (hits["champion"] == NEVER)
        over = (named & free & leads, named & free & ~leads, statistic >= quantiles[t])
        for name, now in zip(hits, over, strict=True):
            hits[name] = np.where(now & (hits[name] == NEVER), t, hits[name])
    return hits


def dear(times: float, bars: int, paths: int, rng: np.random.Generator) -> np.ndarray:
    """First bars of the alarm of costs, whose mean is `times` the 10 basis points that are assumed."""
    alarm, first = CostAlarm(volatility=5e-4, level=LEVEL), np.full(paths, NEVER)
    alarm.bets = Bets(alarm.clip, np.zeros((paths, 4)))
    for t in range(bars):
        alarm.observe(1e-3 * times * np.exp(0.5 * rng.standard_normal(paths) - 0.125) - 1e-3)
        first = np.where((alarm.evidence >= 1 / LEVEL) & (first == NEVER), t, first)
    return first


def picture(null: Hits, decay: Hits, bars: int) -> None:
    """Share of paths with an alarm, under the null and after a decay."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    looks = {
        "alarm": ("e-process", "C0", "-"),
        "ttest": ("t-test after every bar", "C3", "-"),
        "calibrated": ("t-test, calibrated for 1,000 bars", "C7", "--"),
    }
    left, right = figure.subplots(1, 2, sharey=True)
    at = np.arange(BARS)
    for name, (label, colour, style) in looks.items():
        left.plot(at, [(null[name] <= t).mean() for t in at], color=colour, ls=style, label=label)
        late = decay[name][decay[name] >= CHANGE] - CHANGE
        after = np.arange(bars - CHANGE)
        right.plot(after, np.searchsorted(np.sort(late), after, "right") / len(late), color=colour, ls=style)
    left.axhline(LEVEL, color="k", lw=0.8, ls=":")
    left.set(
        title="Nothing has changed: false alarms", xlabel="bars", ylabel="share of paths with an alarm", ylim=(0, 1)
    )
    right.set(
        title=f"Sharpe ratio fell from {PROMISED} to {HEADLINE[1]}", xlabel="bars since the change", xlim=(0, 3000)
    )
    left.legend(frameon=False)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(RESULTS / "alarms.png", dpi=110)


def main() -> None:
    """Measure, print and draw."""
    chosen = options(__doc__ or "")
    paths, after = (100, 2000) if chosen.quick else (1000, 6000)
    figures: dict[str, float | None] = {}
    rows, worst, critical = {}, (0.0, 0.0, 0.0), np.inf
    nulls: dict[str, Hits] = {}
    for k, kind in enumerate((*NULLS, "skewed")):
        returns = account(kind, np.full(BARS, FLOOR), paths, np.random.default_rng([chosen.seed, 1, k]))
        nulls[kind] = watch(returns, FLOOR, critical, kind)
        if kind == "gaussian":
            critical = float(np.quantile(nulls[kind]["largest"], 1 - LEVEL))
            nulls[kind]["calibrated"] = watch(returns, FLOOR, critical, kind)["calibrated"]
        rate = share(nulls[kind]["alarm"] < NEVER)
        rows[kind] = {"e-process": rate[0], "low": rate[1], "high": rate[2]} | {
            name: float((nulls[kind][name] < NEVER).mean()) for name in ("ttest", "calibrated")
        }
        if kind in NULLS:
            worst = max(worst, rate)
        figures |= {f"alarm_false_rate_{kind}": rate[0], f"ttest_false_rate_{kind}": rows[kind]["ttest"]}
    figures |= dict(zip(("alarm_false_rate", "alarm_false_rate_low", "alarm_false_rate_high"), worst, strict=True))
    figures["ttest_false_rate"] = max(rows[kind]["ttest"] for kind in NULLS)
    print(f"{paths} paths of {BARS:,} bars at the floor, looked at after every bar: share with a false alarm")
    print(pd.DataFrame(rows).T.round(3).to_string())

    table: dict[str, dict[str, float]] = {}
    for k, (floor, ratio) in enumerate(DECAYS):
        sharpe = np.where(np.arange(CHANGE + after) < CHANGE, PROMISED, ratio)
        returns = account("garch", sharpe, paths, np.random.default_rng([chosen.seed, 2, k]))
        hits = watch(returns, floor, critical, f"decay to {ratio}")
        found = {name: delays(hits[name]) for name in ("alarm", "at_once", "ttest", "calibrated")}
        row = f"{PROMISED} to {ratio:+}, floor {floor}"
        table[row] = {name: median for name, (median, _) in found.items()}
        table[row] |= {f"{name} before": early for name, (_, early) in found.items()}
        ending = "" if (floor, ratio) == HEADLINE else f"_{floor}_to_{ratio}"
        figures |= {f"{name}_delay_bars{ending}": _known(median) for name, (median, _) in found.items()}
        if not ending:
            figures |= {f"{name}_before_change": early for name, (_, early) in found.items()}
            if not chosen.quick:
                picture(nulls["gaussian"], hits, CHANGE + after)
    print(f"\nmedian bars from the change at bar {CHANGE} to the alarm; share with one before")
    print(pd.DataFrame(table).T.round(3).to_string())

    seeds = np.random.default_rng([chosen.seed, 3]).spawn(8)
    equal = compared(lambda t: 0.0, BARS, paths, seeds[0])
    turns = compared(lambda t: 1.5 * (-1) ** (t // 125 + 1), BARS, paths, seeds[1])
    figures["comparison_false_rate"] = float(((equal["challenger"] < NEVER) | (equal["champion"] < NEVER)).mean())
    figures["comparison_false_rate_in_turns"] = float((turns["challenger"] < NEVER).mean())
    figures["comparison_ttest_false_rate"] = float((equal["ttest"] < NEVER).mean())
    for k, ratio in enumerate((1.0, 2.0)):
        better = compared(lambda t, ratio=ratio: ratio, 250 + after, paths, seeds[2 + k])
        figures[f"comparison_delay_bars_{ratio}"] = _known(float(np.median(better["challenger"])) + 1)
        figures[f"comparison_ttest_delay_bars_{ratio}"] = _known(float(np.median(better["ttest"])) + 1)
    figures["cost_false_rate"] = float((dear(1.0, BARS, paths, seeds[4]) < NEVER).mean())
    for k, times in enumerate((1.2, 1.5)):
        figures[f"cost_delay_bars_{times}"] = _known(float(np.median(dear(times, BARS, paths, seeds[5 + k]))) + 1)
    print()
    for name, value in figures.items():
        if name.startswith(("comparison", "cost")):
            print(f"{name:36} {value}")
    finish(
        "alarms", {name: value if value is None else round(value, 4) for name, value in figures.items()}, chosen.quick
    )


def _known(bars: float) -> float | None:
    """The median, or None where most paths gave no alarm."""
    return bars if bars < NEVER / 2 else None


if __name__ == "__main__":
    main()
