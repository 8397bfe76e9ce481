"""The verdict: what the record says of each strategy beside a benchmark, in figures and in a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from backtests.results import Backtest, Backtests
from backtests.section import Section
from backtests.significance.interval import FEWEST
from backtests.significance.overfitting import overfitting
from backtests.significance.record import Trials, deflated_sharpe, probabilistic_sharpe, shortest_record
from backtests.significance.sharpe_ratio import sharpe_difference, sharpe_interval
from backtests.significance.statistic import SharpeRatio
from backtests.significance.superiority import superiority
from markets import InputError
from markets.common.statistics import bars_per_year, returns_of, sharpe, years
from markets.common.words import count

if TYPE_CHECKING:
    import plotly.graph_objects as go

LEVEL = 0.05  # of the tests; intervals are of 95 %
SURE = 0.95  # a probabilistic or deflated Sharpe ratio below it is no evidence
FURTHEST = 100  # years; a longer wait is not counted
RESAMPLES = 1000

COLUMNS = {
    "sharpe": "annualised Sharpe ratio",
    "low": "lower end of its 95 % interval",
    "high": "upper end",
    "psr": "probability that it is above 0, if this were the only trial",
    "dsr": "the same for the best of the trials counted",
    "difference": "Sharpe ratio minus the benchmark's",
    "difference_low": "lower end of its 95 % interval",
    "difference_high": "upper end",
    "p": "SPA's p-value, step-down: as far above the benchmark as this or further by luck, in as many strategies",
    "p_worse": "the same for as far below",
    "min_track_years": "record in which this ratio is just told from 0 at 5 %",
    "more_years": "more years until the difference, if it stays as it is, is as likely as not told from 0 at 5 %",
    "difference_before_costs": "the difference before all costs",
}


@dataclass(frozen=True, eq=False)
class Verdict:
    """What the record says of each strategy.

    Attributes
    ----------
    table : DataFrame
        One row per strategy, with the columns of `COLUMNS`. NaN where a figure is not defined.
    sentences : dict of str to str
        By strategy.
    benchmark : str
    trials : Trials
        What the deflated Sharpe ratio counts.
    pbo : float
        Probability of backtest overfitting of choosing the strategy of the best Sharpe ratio; NaN if there are too few bars.
    years : float
        Length of the record.
    """

    table: pd.DataFrame
    sentences: dict[str, str]
    benchmark: str
    trials: Trials
    pbo: float
    years: float

    @property
    def finding(self) -> str:
        """All of it in one sentence."""
        better, worse = (int((self.table[column] <= LEVEL).sum()) for column in ("p", "p_worse"))
        others, least = count(len(self.table) - 1, "other"), self.table["p"].min()
        if len(self.table) == 1:
            return f"There is no other strategy to compare {self.benchmark} with."
        if np.isnan(least):
            alike = (self.table["difference"] == 0).all()
            return f"No other strategy can be {'told from' if alike else 'compared with'} {self.benchmark}."
        overfit = "" if np.isnan(self.pbo) else f"; PBO {_digits(self.pbo)}"
        rest = f"{_are(worse).lower()} worse{overfit}"
        return f"{_are(better)} better than {self.benchmark} (of {others}; SPA p {_equals(least)}), {rest}."

    def section(self) -> Section:
        """The verdict as a section of the report."""
        span = f"{self.years:.1f} years" if np.isfinite(self.years) else "a day"
        return Section(
            "Was it luck?",
            self.finding,
            f"Which differences from {self.benchmark} in {span} are more than chance, with "
            f"{count(self.trials.count, 'trial')} on these data counted.",
            "That the future is like the past. What was tried elsewhere, or chosen by eye before, is not counted.",
            self.table,
            self._draw,
        )

    def _draw(self) -> go.Figure:
        import plotly.graph_objects as go

        table = self.table[::-1]  # the first row is drawn at the top
        below, above = table["sharpe"] - table["low"], table["high"] - table["sharpe"]
        figure = go.Figure(
            go.Scatter(
                x=table["sharpe"], y=list(table.index), mode="markers", customdata=[self.sentences[n] for n in table.index],
                error_x={"type": "data", "symmetric": False, "array": above, "arrayminus": below},
                hovertemplate="%{y}: %{x:.2f}<br>%{customdata}<extra></extra>",
            )
        )  # fmt: skip
        figure.add_vline(x=0, line={"width": 1, "color": "gray"})
        figure.add_vline(x=self.table.loc[self.benchmark, "sharpe"], line={"width": 1, "dash": "dot", "color": "gray"})
        figure.update_layout(xaxis_title="annualised Sharpe ratio, with 95 % interval", height=120 + 26 * len(table))
        return figure


def verdict(
    result: Backtests, benchmark: str | None = None, trials: int | Trials | None = None, seed: int = 0
) -> Verdict:
    """Judge each strategy of `result` beside the benchmark.

    Parameters
    ----------
    result : Backtests
    benchmark : str, optional
        Name of the strategy to compare with; by default the result's.
    trials : int or Trials, optional
        What was tried on these bars, as `backtests.tracking.trials` counts it; by default the strategies of `result` alone.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    Verdict

    Raises
    ------
    InputError
        When there is no such benchmark.
    """
    names = [b.name for b in result]
    benchmark = benchmark or result.benchmark
    if benchmark not in names:
        raise InputError(f"benchmark {benchmark!r} is none of the strategies; choose from {', '.join(names)}")
    returns = np.column_stack([returns_of(b.equity) for b in result])
    per_year, span = bars_per_year(result.bars.index), years(result.bars.index)
    counted = _counted(trials, returns, per_year)
    columns: dict[str, list[float] | np.ndarray] = {}
    pbo = np.nan
    if len(returns) >= FEWEST and np.isfinite(per_year):
        columns = _judged(returns, names.index(benchmark), per_year, span, counted, seed)
        gross = returns + np.column_stack([_cost(b) for b in result])
        ratios = np.array([sharpe(column, per_year) for column in gross.T])
        columns["difference_before_costs"] = ratios - ratios[names.index(benchmark)]
        pbo = _pbo(returns)
    table = pd.DataFrame(columns, index=pd.Index(names, name="strategy"), dtype=np.float64).reindex(
        columns=list(COLUMNS)
    )
    rows, other = zip(result, table.iterrows(), strict=True), result[benchmark]
    sentences = {b.name: _sentence(b, row, other, counted, len(returns)) for b, (_, row) in rows}
    return Verdict(table, sentences, benchmark, counted, pbo, span)


def _counted(trials: int | Trials | None, returns: np.ndarray, per_year: float) -> Trials:
    """The trials with a standard deviation: that of the strategies at hand where it is unknown, or that of chance."""
    found = trials if isinstance(trials, Trials) else Trials(returns.shape[1] if trials is None else trials)
    if found.count < 1:
        raise InputError(f"trials is {found.count}; it must be at least 1")
    if np.isfinite(found.std):
        return found
    ratios = np.array([sharpe(column, per_year) for column in returns.T])
    ratios = ratios[np.isfinite(ratios)]
    by_chance = np.sqrt(per_year / max(len(returns), 1))
    return Trials(found.count, float(ratios.std(ddof=1)) if len(ratios) > 2 else float(by_chance))


def _judged(
    returns: np.ndarray, at: int, per_year: float, span: float, trials: Trials, seed: int
) -> dict[str, list[float] | np.ndarray]:
    """Columns of the table from returns (T, N), of which column `at` is the benchmark's."""
    root = float(np.sqrt(per_year))
    gains, blocks, rows = np.zeros_like(returns), [], []
    for k, column in enumerate(returns.T):
        one = sharpe_interval(column, 1 - LEVEL, RESAMPLES, seed) * root
        gap = sharpe_difference(column, returns[:, at], 1 - LEVEL, RESAMPLES, seed) * root
        rows.append(
            {
                "sharpe": one.value, "low": one.low, "high": one.high, "psr": probabilistic_sharpe(column),
                "dsr": deflated_sharpe(column, trials.count, trials.std / root), "difference": gap.value,
                "difference_low": gap.low, "difference_high": gap.high,
                "min_track_years": shortest_record(column, level=1 - LEVEL) / per_year,
            }
        )  # fmt: skip
        if np.isfinite(gap.value) and gap.low < gap.high:
            effect = SharpeRatio().influence(column) - SharpeRatio().influence(returns[:, at])
            gains[:, k] = gap.value / root + effect - effect.mean()
            blocks.append(gap.block)
    columns: dict[str, list[float] | np.ndarray] = {name: [row[name] for row in rows] for name in rows[0]}
    if not blocks:
        return columns
    block = float(np.mean(blocks))
    better, worse = (superiority(g, block=block, resamples=RESAMPLES, seed=seed) for g in (gains, -gains))
    needed = np.where(better.statistic > 0, better.needed, worse.needed)
    more = np.maximum(span * (needed**2 - 1), 0.0)
    return columns | {"p": better.adjusted, "p_worse": worse.adjusted, "more_years": more}


def _cost(backtest: Backtest) -> np.ndarray:
    """Costs as fractions of the equity before them, shape (T − 1,)."""
    before = backtest.equity[:-1]
    return np.where(before > 0, backtest.cost[1:] / np.where(before > 0, before, 1.0), 0.0)


def _pbo(returns: np.ndarray) -> float:
    """PBO over the strategies that move and differ, by 16 blocks or as many as have 20 bars each; NaN for fewer than 4."""
    moving = np.array([np.isfinite(sharpe(column)) for column in returns.T])
    scaled = returns[:, moving] / returns[:, moving].std(axis=0)  # multiples of an account are the same choice
    distinct = np.unique(scaled.round(9), axis=1)
    blocks = min(16, len(returns) // 40 * 2)
    return overfitting(distinct, blocks).probability if distinct.shape[1] > 1 and blocks >= 4 else np.nan


def _sentence(backtest: Backtest, row: pd.Series, other: Backtest, trials: Trials, returns: int) -> str:
    benchmark = other.name
    if (backtest.equity <= 0).any():
        return f"ruined on {backtest.index[int((backtest.equity <= 0).argmax())]:%Y-%m-%d}"
    if returns < FEWEST:
        return f"the record is too short to tell: {count(returns, 'return')}, and {FEWEST} are the least"
    if not np.isfinite(bars_per_year(backtest.index)):
        return "the record is too short to tell: it is within a day"
    if np.isnan(row["sharpe"]):
        return "no Sharpe ratio: it hardly moves"
    if backtest.name == benchmark:
        known = "" if row["low"] > 0 or row["high"] < 0 else ", which may be 0"
        return f"the benchmark: Sharpe {row['sharpe']:.2f} [{row['low']:.2f}, {row['high']:.2f}]{known}"
    if np.isnan(row["p"]):
        if row["difference"] != 0:
            return f"cannot be compared with {benchmark}"
        alike = np.array_equal(returns_of(backtest.equity), returns_of(other.equity))
        return f"the same account as {benchmark}" if alike else f"a multiple of {benchmark}, with the same Sharpe ratio"
    eaten = "costs eat its lead" if row["difference_before_costs"] > 0 >= row["difference"] else ""
    if row["p"] <= LEVEL:
        doubts = [f"DSR {_digits(row['dsr'])} after {count(trials.count, 'trial')}"] if row["dsr"] < SURE else []
        return "; ".join([f"better than {benchmark} (SPA p {_equals(row['p'])})", *doubts])
    if row["p_worse"] <= LEVEL:
        return "; ".join([f"worse than {benchmark} (SPA p {_equals(row['p_worse'])})", *([eaten] if eaten else [])])
    p = row["p"] if row["difference"] > 0 else row["p_worse"]
    return f"indistinguishable from {benchmark} (SPA p {_equals(p)}); {eaten or _wait(row['more_years'])}"


def _wait(more: float) -> str:
    if not more <= FURTHEST:
        return f"over {FURTHEST} more years would be needed"
    whole = max(int(np.ceil(more)), 1)
    return f"{count(whole, 'more year')} would be needed"


def _equals(p: float) -> str:
    """A p-value with its sign: "= .41", "= .032" or "< .001"."""
    return "< .001" if p < 0.001 else f"= {_digits(p)}"


def _digits(p: float) -> str:
    """A probability without its leading zero, to two digits, or three below 0.1."""
    text = f"{p:.2f}" if p >= 0.1 else f"{p:.3f}"
    return text.removeprefix("0")


def _are(number: int) -> str:
    return f"{number or 'None'} {'is' if number < 2 else 'are'}"
