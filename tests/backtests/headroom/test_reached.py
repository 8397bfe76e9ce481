"""What a learner reaches of a known headroom: nothing by a constant, all of it by the filter, in the account of the optimum."""

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest

from backtests.headroom import Headroom, Reached, Twin, reached, sections
from backtests.headroom.reached import account
from backtests.headroom.traders import CONSTANT, FILTERS, LEARNS, _account, judge
from markets import Features, InputError, Plan
from markets.synthetic import TwoRegimes, calibrate
from metalearner.evaluation import exposure_learner
from strategies import EqualWeight, Pool, Strategy
from strategies.optimal import Exposure, ExposureFilter, filtered, solve_filter

STRONG = TwoRegimes((12e-4, -14e-4), (0.006, 0.016), (150.0, 60.0), 8.0)
PROBLEM = Exposure(cost=5e-4)


@cache
def fitted_once():
    """Returns, and a calibration of which the tests replace the draws."""
    returns = STRONG.sample(1, 1500, np.random.default_rng(0))[0][0]
    return returns, calibrate(returns, 252, 1)


def found_of(markets, problem=PROBLEM) -> Headroom:
    """A headroom whose draws are the given markets, without the work that these tests do not read."""
    returns, fitted = fitted_once()
    calibration = replace(fitted, draws=tuple(markets))
    candidates = ExposureFilter(problem, [markets[0]])
    judged = {m: judge(problem, m, candidates, problem.high, 2000, np.random.default_rng(0)) for m in set(markets)}
    index = pd.bdate_range("2001-01-01", periods=len(returns))
    return Headroom(
        "mine", index, returns, 252.0, problem, calibration, tuple(judged[m] for m in markets), np.zeros((1, 2)), 0.9
    )


@pytest.fixture(scope="module")
def twin():
    return Twin.of(found_of([STRONG] * 16), markets=8, span=2500, seed=1)


class Filter(Strategy):
    """One who knows the market's parameters, as a strategy of its own."""

    name = "the filter"
    warmup = 0

    def __init__(self, market: TwoRegimes, problem: Exposure):
        self.follower = ExposureFilter(problem, [market])

    def plan(self, bars):
        close = bars.with_past().close[:, 0]
        returns = close[1:] / close[:-1] - 1
        return Plan(self.follower.follow(returns[None])[0, -len(bars) :, None])


def test_the_filter_reaches_all_of_it(twin):
    found = reached(twin, Filter(STRONG, PROBLEM), progress=False)
    assert found.share.value == pytest.approx(1.0, abs=1e-3)
    assert found.share.low <= found.share.value <= found.share.high


def test_the_best_constant_reaches_nothing():
    always = TwoRegimes((9e-4, 2e-4), (0.006, 0.016), (150.0, 60.0), 8.0)
    solved = solve_filter(PROBLEM, always)
    assert solved.constant.all()  # so that always being invested is the best that never changes
    found = reached(Twin.of(found_of([always] * 8), span=2000), EqualWeight(), progress=False)
    assert found.telling
    assert found.share.value == pytest.approx(0.0, abs=1e-3)
    assert found.gain.value == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize(
    ("problem", "share"),
    [(PROBLEM, 0.01), (Exposure(cost=1e-3, low=-1.0, high=2.0, financing=2e-4, borrow=1e-4, levels=60), 0.1)],
)
def test_the_account_is_that_of_the_optimum(problem, share):
    """The filter's account through the engine, against that of `judge` on the same path: within a share of the headroom.

    A levered or short exposure drifts with prices, and the account pays for keeping it, which `Exposure` leaves out.
    """
    twin = Twin.of(found_of([STRONG] * 4, problem), markets=2, span=5000)
    returns, bars = twin.path(0)
    solved = solve_filter(problem, STRONG)
    weights = ExposureFilter(problem, [STRONG], solved=[solved]).follow(returns[None])[0]
    second = filtered(STRONG, returns[None])[0, twin.history - 1 : -1]
    moments = (pair[0] + (pair[1] - pair[0]) * second for pair in (np.asarray(STRONG.mean), STRONG.square))
    # the account begins in cash, and that of `judge` with what was held before
    wanted = _account(problem, np.append(0.0, weights[twin.history - 1 : -1]), *moments)
    span = bars.rows(twin.history, len(bars))
    got = account(twin, STRONG, span, Plan(weights[twin.history - 1 :, None]), second)
    assert got.value == pytest.approx(wanted.value, abs=share * solved.headroom)
    assert got.mean == pytest.approx(wanted.mean, abs=share * solved.headroom)
    assert got.square == pytest.approx(wanted.square, rel=0.01)
    assert got.turnover >= 0.99 * wanted.turnover  # and what is traded since weights drift


def test_on_the_paths_the_filter_gains_the_exact_headroom(twin):
    found = reached(twin, EqualWeight(), progress=False)
    exact = 252 * solve_filter(PROBLEM, STRONG).headroom
    assert found.gains[1].mean() == pytest.approx(exact, rel=0.1)
    assert found.others()[LEARNS] == pytest.approx(exact)  # it has the one candidate


def test_adaptive_risk_reaches_a_part_of_a_planted_headroom():
    rng = np.random.default_rng(3)
    markets = [
        TwoRegimes((12e-4 * a, -14e-4 * b), (0.006, 0.016), (150.0, 60.0), 8.0)
        for a, b in rng.uniform(0.7, 1.3, (16, 2))
    ]
    twin = Twin.of(found_of(markets), markets=8, span=2500)
    pool = Pool((5, 10, 20, 40), (20, 63), window=160, every="week", shortest=20)
    learner = exposure_learner(
        "risk",
        costs=twin.costs,
        execution=twin.execution,
        risk_aversion=5.0,
        pool=pool,
        features=Features(),
        volatility=63,
    )
    learner = replace(learner, training=replace(learner.training, steps=60, evaluate_every=60))
    meta = learner.fit(*twin.tasks(support=10, query=126, warmup=pool.lookback), progress=False)
    found = reached(twin, meta, progress=False)
    assert found.share.low > 0.2
    assert found.share.low <= 1
    assert found.share.value < 1.05
    again = reached(twin, meta, progress=False)
    assert again.share == found.share


def test_tasks_read_one_market_each_and_validation_is_of_others(twin):
    train, validation = twin.tasks(support=20, query=60, warmup=200)
    for task in (*train, *validation):
        market = (task.start - 1) // twin.history
        assert (task.start - 200 - 1) // twin.history == market == (task.stop - 2) // twin.history
    assert {(t.start - 1) // twin.history for t in train} == set(range(6))
    assert {(t.start - 1) // twin.history for t in validation} == {6, 7}


def test_it_is_said_in_words_and_drawn(twin):
    found = reached(twin, Filter(STRONG, PROBLEM), progress=False)
    ladder = found_of([STRONG] * 16)
    section = sections(ladder, found)[1]
    assert section.title == "What the filter reaches of it"
    assert "the filter reaches 100% [" in section.finding
    assert "of the headroom on markets like yours" in section.finding
    assert list(section.table.index) == [FILTERS, "the filter", LEARNS, "never adapts, learns its exposure", CONSTANT]
    assert section.draw().data


def test_without_headroom_a_share_means_nothing():
    same = TwoRegimes((4e-4, 4e-4), (0.01, 0.0101), (100.0, 100.0), 8.0)
    found = reached(Twin.of(found_of([same] * 4), span=500), EqualWeight(), progress=False)
    assert not found.telling
    assert np.isnan(found.share.value)
    assert np.isfinite(found.gain.value)
    section = sections(found_of([same] * 4), found)[1]
    assert "a share of it means nothing" in section.finding
    assert section.draw().data


def test_what_adapts_by_the_quarter_is_asked_each_quarter(twin):
    seen: list[int] = []

    class Counted(EqualWeight):
        adapts = True

        def adapt(self, bars):
            seen.append(len(bars))
            return self

    reached(
        replace(twin, markets=twin.markets[:2], judged=twin.judged[:2], span=300), Counted(), every=100, progress=False
    )
    assert seen == [twin.history + 1 + k for k in (0, 100, 200)] * 2


def test_weekly_markets_like_it_are_weekly_and_long():
    found = replace(
        found_of([STRONG] * 4), index=pd.date_range("2000-01-07", periods=1500, freq="W-FRI"), per_year=52.18
    )
    twin = Twin.of(found, span=250)
    assert (np.diff(twin.training.index) == np.timedelta64(7, "D")).all()
    assert reached(twin, EqualWeight(), progress=False).gains.shape == (2, 2)


def test_what_cannot_be_asked_is_said_in_a_line(twin):
    for wrong in ({"markets": 1}, {"span": 10}, {"seed": -1}):
        with pytest.raises(InputError, match="use at least 2, at least 250"):
            Twin.of(found_of([STRONG] * 4), **wrong)
    with pytest.raises(InputError, match="holds no window"):
        twin.tasks(support=800, query=800, warmup=100)
    with pytest.raises(InputError, match="every is -1"):
        reached(twin, EqualWeight(), every=-1)
    with pytest.raises(InputError, match="use rl2"):
        exposure_learner(
            "luck",
            costs=twin.costs,
            execution=twin.execution,
            risk_aversion=5.0,
            pool=Pool(),
            features=Features(),
            volatility=9,
        )
    assert isinstance(reached(twin, EqualWeight(), progress=False), Reached)
