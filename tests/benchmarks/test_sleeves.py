from dataclasses import replace

import numpy as np
import pytest

from benchmarks.sleeves import LARGEST, Seen, Sleeves
from markets import TaskSet
from strategies import EqualWeight, InverseVolatility, Momentum

LEARNER = Sleeves(sleeves=(InverseVolatility(), EqualWeight(), Momentum(20)), halflife=40)


@pytest.fixture(scope="module")
def policy(bars):
    tasks = TaskSet.from_windows(bars[:1100], support=60, query=60, warmup=70)
    return LEARNER.fit(*tasks.split(bars.index[900]))


def test_believes_the_average_of_prior_and_what_was_seen(policy, bars):
    """The posterior mean as in the module's docstring, bar by bar."""
    seen, n = Seen.of(LEARNER, bars), bars.bars_per_year / LEARNER.prior_std**2
    weighted, weight = n * policy.mean, np.full(3, n)
    for t in range(len(bars)):
        for k in np.flatnonzero(np.isfinite(seen.z[t])):
            w = 0.5 ** ((len(bars) - 1 - t) / LEARNER.halflife)
            weighted[k] += w * (seen.z[t, k] - policy.slope[k] * seen.context[t])
            weight[k] += w
    np.testing.assert_allclose(policy.adapt(bars).mean, weighted / weight, rtol=1e-10)


def test_reads_nothing_later(policy, bars):
    """Bit-identical: the learnt prior, the adaptation and each row of a plan."""
    assert policy.seen_until <= bars.index[1099]
    adapted, cut = policy.adapt(bars[:1200]), bars[:1200].without_past()
    np.testing.assert_array_equal(adapted.mean, policy.adapt(cut).mean)
    for stop in (1000, 1111, 1199):
        np.testing.assert_array_equal(adapted.plan(cut[:stop]).aim, adapted.plan(cut).aim[:stop])
    end = bars.index.get_loc(policy.seen_until) + 1
    known = [task for task in TaskSet.from_windows(bars, support=60, query=60, warmup=70) if task.stop <= end]
    again = LEARNER.fit(*TaskSet(tuple(known)).split(bars.index[900]))
    np.testing.assert_array_equal([again.mean, again.slope, again.typical], [policy.mean, policy.slope, policy.typical])


def test_holds_no_more_than_the_equity_and_more_of_what_did_better(policy, bars):
    adapted = policy.adapt(bars)
    assert np.abs(adapted.plan(bars).aim).sum(axis=1).max() <= 1 + 1e-12
    lucky = replace(policy, mean=policy.mean + np.array([0, 0, 1.0]))  # as if momentum had a much higher Sharpe ratio
    momentum, base = Momentum(20).plan(bars).aim, InverseVolatility().plan(bars).aim
    before, after = (np.abs(p.unadapted().plan(bars).aim - momentum)[300:].mean() for p in (policy, lucky))
    assert after < before
    nothing = replace(policy, mean=np.full(3, -9.0), slope=np.zeros(3))
    held = nothing.unadapted().plan(bars).aim
    np.testing.assert_allclose(held, (1 - LEARNER.share) * base, atol=1e-12)


def test_no_bar_counts_for_more_than_a_few(bars):
    z = Seen.of(LEARNER, bars).z
    assert np.nanmax(np.abs(z)) <= LARGEST
    assert np.isnan(z[0]).all()
