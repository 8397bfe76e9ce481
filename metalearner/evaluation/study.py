"""Evaluation of several learners on one family: fractions of the ceiling as tables, curves and an HTML page."""

from __future__ import annotations

import html
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from markets.common.pages import figure_html, plotly_script, write_page
from markets.synthetic import Family
from metalearner.evaluation.recipes import LEARNERS, SUPPORT, Trained
from metalearner.evaluation.scores import (
    by_bars,
    by_steps,
    ceiling_scores,
    fraction_of_ceiling,
    rung_scores,
    task_scores,
)
from metalearner.learners.base import MetaPolicy
from metalearner.learners.inner_loop import ByGradient
from strategies.ladder import rungs

QUERY = 60  # bars evaluated after the bars seen
SEED = 20_000  # seed of the evaluation episodes; training and validation use [seed, 1] and [seed, 2]


@dataclass(frozen=True)
class Study:
    """Results of an evaluation of learners on a family.

    Attributes
    ----------
    family : Family
    skip : int
        Bars left out at the start of whole episodes.
    whole : dict of float
        By learner, the fraction of the ceiling over whole episodes; without learners that adapt by gradient steps.
    ladder : dict of float
        By name, the fraction of the ceiling of the other rungs of the ladder, on the same episodes.
    bars, steps : dict of DataFrame
        By learner, the results of `by_bars` and `by_steps`.
    summary : DataFrame
        One row per learner, as text: whole episodes, unadapted, training time in seconds, adaptation time in milliseconds.
    """

    family: Family
    skip: int
    whole: dict[str, float]
    ladder: dict[str, float]
    bars: dict[str, pd.DataFrame]
    steps: dict[str, pd.DataFrame]
    summary: pd.DataFrame

    @property
    def by_bars(self) -> pd.DataFrame:
        """Fractions of the ceiling as text: one row per learner, one column per number of bars seen."""
        return pd.DataFrame({name: _texts(table) for name, table in self.bars.items()}).T

    @property
    def by_steps(self) -> pd.DataFrame:
        """Fractions of the ceiling as text: one row per learner, one column per number of gradient steps."""
        return pd.DataFrame({name: _texts(table) for name, table in self.steps.items()}).T

    def page(self, path: str | Path) -> Path:
        """Write a self-contained HTML page with both curves and the tables."""
        from plotly.subplots import make_subplots

        titles = ["bars seen in the new regime", f"gradient steps on {SUPPORT} bars"]
        figure = make_subplots(
            rows=1, cols=2, shared_yaxes=True, x_title="", subplot_titles=titles, horizontal_spacing=0.03
        )
        names = list(dict.fromkeys([*self.bars, *self.steps]))
        for column, tables in ((1, self.bars), (2, self.steps)):
            for name, table in tables.items():
                hue = f"hsl({(names.index(name) * 47) % 360}, 65%, 45%)"
                # 0 steps cannot be shown on a log axis; place them at one half
                at = np.maximum(table.index.to_numpy(dtype=float), 0.5)
                interval = {
                    "array": table["high"] - table["mean"],
                    "arrayminus": table["mean"] - table["low"],
                    "width": 2,
                }
                figure.add_scatter(
                    x=at, y=table["mean"], error_y=interval, name=name, line={"color": hue}, legendgroup=name,
                    showlegend=column == 1 or name not in self.bars, text=[str(k) for k in table.index],
                    hovertemplate="%{text}: %{y:.3f}", row=1, col=column,
                )  # fmt: skip
                figure.update_xaxes(type="log", tickvals=at, ticktext=[str(k) for k in table.index], row=1, col=column)
        figure.add_hline(y=1, line={"dash": "dot", "color": "#333"})
        figure.add_hline(y=0, line={"color": "#999"})
        figure.update_yaxes(range=[-0.5, 1.05])  # a bad start would hide the differences between the others
        figure.update_layout(
            template="plotly_white", height=440, margin={"t": 50, "b": 40}, yaxis_title="fraction of the ceiling"
        )
        curves = plotly_script() + figure_html(figure, "curves") if names else ""
        others = ", ".join(f"{name} {value:.3f}" for name, value in self.ladder.items())
        intro = (
            f"<p class=about>{html.escape(repr(self.family))}. A fraction of 1 is the optimal strategy, 0 holds nothing. "
            f"The first {self.skip} bars of whole episodes are left out. Scores by bars seen use the {QUERY} bars that follow. "
            "Intervals are 95 % bootstrap intervals over tasks and training seeds. The plots end at -0.5.</p>"
        )
        if others:
            intro += f"<p class=about>Other rungs of the ladder: {html.escape(others)}.</p>"
        headed = {"Learners": self.summary, "By bars seen": self.by_bars, "By gradient steps": self.by_steps}
        text = "".join(
            f"<h2>{heading}</h2><div class=wide>{table.to_html(border=0, na_rep='')}</div>"
            for heading, table in headed.items()
            if len(table)
        )
        return write_page(path, f"How well do they adapt? {self.family.name}", intro + curves + text)


def study(
    trained: Mapping[str, Sequence[Trained]], family: Family, *, skip: int, tasks: int, episodes: int | None = None
) -> Study:
    """Evaluate trained learners, each with one or more training seeds.

    Parameters
    ----------
    trained : dict
        By learner, a sequence of `Trained`, one per seed.
    family : Family
    skip : int
        Bars left out at the start of whole episodes.
    tasks : int
        Number of unseen episodes for the scores by bars seen and by gradient steps.
    episodes : int, optional
        Number of unseen whole episodes; `tasks` by default. With a weak signal many are needed: for the hidden Markov families,
        2,000 give the fraction of the ceiling to about 0.01.

    Returns
    -------
    Study
    """
    whole: dict[str, float] = {}
    rows, bars, steps = {}, {}, {}
    whole_episodes = family.sample(episodes or tasks, SEED)
    ceiling, judged = ceiling_scores(whole_episodes, 1 + skip), whole_episodes.tasks(1 + skip)
    for name, trainings in trained.items():
        metas = [one.meta for one in trainings]
        row: dict[str, str] = {}
        adapts = LEARNERS[name].adapts
        if adapts != "gradient":  # gradient steps need a support, so there is no score over the whole episode
            found = fraction_of_ceiling(np.stack([task_scores(meta, judged) for meta in metas]), ceiling)
            whole[name], row["whole episode"] = found.mean, str(found)
        if adapts != "nothing":
            table = bars[name] = by_bars(metas, family, tasks=tasks, query=QUERY, seed=SEED)
            row["unadapted"] = f"{table['unadapted'].mean():.3f}"
        gradient = [meta for meta in metas if isinstance(meta, ByGradient)]
        if gradient:
            steps[name] = by_steps(gradient, family, tasks=tasks, support=SUPPORT, seed=SEED)
        row["training s"] = f"{np.median([one.seconds for one in trainings]):.0f}"
        row["adapting ms"] = f"{1e3 * adapting_seconds(metas[0], family):.1f}"
        rows[name] = row
    ladder = {
        name: float(rung_scores(weights(whole_episodes), whole_episodes, 1 + skip).mean() / ceiling.mean())
        for name, is_ceiling, weights in rungs(family)
        if not is_ceiling and name != "hindsight"
    }
    return Study(family, skip, whole, ladder, bars, steps, pd.DataFrame(rows).T.fillna(""))


def _texts(table: pd.DataFrame) -> dict[str, str]:
    """Means and half-widths of the intervals as short texts, for a terminal."""
    return {str(k): f"{row['mean']:.2f}±{f'{(row.high - row.low) / 2:.2f}'.lstrip('0')}" for k, row in table.iterrows()}


def adapting_seconds(meta: MetaPolicy, family: Family) -> float:
    """Seconds to adapt to one task and evaluate its query; the minimum of 5 runs."""
    judged = family.with_length(2 * SUPPORT).sample(1, SEED + 2).tasks(SUPPORT)
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        task_scores(meta, judged)
        times.append(time.perf_counter() - begun)
    return min(times)
