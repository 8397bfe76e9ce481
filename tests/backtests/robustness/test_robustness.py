import numpy as np
import pandas as pd
import pytest

from backtests.robustness import robustness
from markets import InputError
from strategies import EqualWeight, Momentum, Plan, Strategy

TITLES = [
    "Parameters perturbed",
    "Costs and delay",
    "Resampled markets",
    "Trades in random order",
    "Random weights",
    "Warm-up invariance",
]


def test_every_question_is_answered_for_a_rule(bars):
    sections = robustness(Momentum(60), bars[200:], resamples=5, progress=False)
    assert [section.title for section in sections] == TITLES
    for section in sections:
        assert section.finding.startswith("momentum 60: ")
        assert section.finding.endswith(".")
        assert section.shows
        assert section.does_not_show
        assert len(section.table)
        assert section.draw().data


def test_the_seed_reproduces_to_the_bit_whatever_jobs_are(bars):
    one, two = (robustness(Momentum(60), bars, resamples=3, seed=4, jobs=jobs, progress=False) for jobs in (1, 2))
    for a, b in zip(one, two, strict=True):
        assert a.finding == b.finding
        pd.testing.assert_frame_equal(a.table, b.table, check_exact=True)


def test_what_cannot_be_answered_says_why(bars):
    sections = robustness(EqualWeight(), bars[:12], progress=False)
    assert sections[0].finding.startswith("not answered: equal weight: no numeric parameter to vary")
    assert sections[2].finding.startswith("not answered: ")
    assert sections[2].draw() is not None
    assert all("\n" not in section.finding for section in sections)


def test_a_learner_is_walked_forward(bars, meta):
    sections = robustness(meta, bars[1300:], resamples=1, metric="CAGR", progress=False)
    assert [section.title for section in sections] == TITLES
    assert "not answered" not in "".join(section.finding for section in sections[1:])
    assert "These are few" in sections[2].finding


def test_what_cannot_be_backtested_is_refused(bars):
    with pytest.raises(InputError, match="momentum 60 needs 60 bars to warm up"):
        robustness(Momentum(60), bars[:40], progress=False)
    with pytest.raises(InputError, match="seed is -1"):
        robustness(Momentum(60), bars, seed=-1, progress=False)


class Cash(Strategy):
    name = "cash"

    def plan(self, bars):
        return Plan(np.zeros(bars.shape))


def test_regression_a_metric_that_is_not_defined_is_not_compared(bars):
    """Cash has no Sharpe ratio: it was "better than 0% of 100 accounts", with "nan% of them below the real one"."""
    sections = {s.title: s.finding for s in robustness(Cash(), bars[:300], resamples=2, progress=False)}
    for title in ("Costs and delay", "Resampled markets", "Random weights"):
        assert sections[title] == "not answered: cash has no Sharpe on these bars; compare another metric."
    assert not any("nan" in finding for finding in sections.values())
