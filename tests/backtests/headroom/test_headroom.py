"""Headroom of bars whose truth is known, the ladder that it stands on, and bars that have none to tell."""

import numpy as np
import pandas as pd
import pytest

from backtests.headroom import TRADERS, estimate, headroom, sections
from backtests.headroom.traders import CONSTANT, FILTERS, HELD, KNOWN, LEARNS, LEARNT, judge
from markets import Bars, Costs, Execution, InputError
from markets.synthetic import TwoRegimes, calibrate
from strategies import EqualWeight
from strategies.optimal import Exposure, ExposureFilter, solve_filter

MARKET = TwoRegimes((10e-4, -10e-4), (0.006, 0.015), (150.0, 80.0), 8.0)


def bars_of(returns, symbols: int = 1) -> Bars:
    """Daily closes; all symbols are the same market."""
    close = 100 * np.cumprod(1 + np.r_[0.0, returns])
    index = pd.bdate_range("2000-01-03", periods=len(close))
    return Bars.make(index, [f"S{i}" for i in range(symbols)], np.tile(close[:, None], symbols), name="mine")


@pytest.fixture(scope="module")
def bars():
    return bars_of(MARKET.sample(1, 2500, np.random.default_rng(5))[0][0])


@pytest.fixture(scope="module")
def found(bars):
    return headroom(bars, execution=Execution(long_only=True), draws=24, progress=False)


def test_the_truth_is_inside(found):
    true = solve_filter(Exposure(), MARKET, 121).headroom * found.per_year
    assert true in found.certainty_equivalent
    assert found.certainty_equivalent.low > 0.005
    assert found.sharpe.low > 0


def test_the_ladder_holds_in_every_market(found):
    for each in found.judged:
        value = {trader: each.accounts[trader].value for trader in TRADERS}
        slack = 0.02 * each.headroom + 1e-9
        assert value[KNOWN] >= value[FILTERS] - slack
        assert value[FILTERS] >= value[CONSTANT] - 1e-12
        assert value[FILTERS] >= value[LEARNS] - slack
        assert value[CONSTANT] >= max(value[LEARNT], value[HELD]) - 1e-12
    assert list(found.table.index) == list(TRADERS)
    # learning from ten years of regimes that differ so much pays on average
    assert 0 < found.attainable.value < found.certainty_equivalent.high


def test_the_learner_who_knows_the_market_loses_nothing():
    problem = Exposure(low=-1.0)
    learner = ExposureFilter(problem, [MARKET])
    accounts = judge(problem, MARKET, learner, 0.0, 2000, np.random.default_rng(0)).accounts
    for part in ("mean", "square", "turnover", "value"):
        assert getattr(accounts[LEARNS], part) == pytest.approx(getattr(accounts[FILTERS], part))
    assert accounts[LEARNT].value == 0


def test_years_fall_with_the_gain_and_are_those_of_the_test(found):
    gains = np.linspace(0.01, 0.1, 10)
    assert found.years(0.005) > found.years(0.05) > found.years(0.5)
    assert all(1.5 / gain < 5 * found.years(gain) < 5 * 8 / gain for gain in gains)
    assert found.years(0.0) == np.inf


def test_without_bounds_and_costs_the_noise_is_two_over_gamma_times_the_gain():
    problem = Exposure(cost=0.0, low=-40.0, high=40.0, levels=400)
    judged = judge(problem, MARKET, ExposureFilter(problem, [MARKET]), 0.0, 200_000, np.random.default_rng(1))
    assert judged.noise == pytest.approx(2 / problem.risk_aversion * judged.headroom, rel=0.25)


def test_the_same_seed_gives_the_same_result(bars, found):
    again = headroom(bars, execution=Execution(long_only=True), draws=24, progress=False)
    pd.testing.assert_frame_equal(again.table, found.table, check_exact=True)
    assert again.certainty_equivalent == found.certainty_equivalent


def test_more_symbols_of_the_same_market_are_the_same_market(found):
    again = headroom(bars_of(found.returns, 3), execution=Execution(long_only=True), draws=24, progress=False)
    assert again.name == "the equal-weight market of mine"
    assert found.name == "mine"
    assert again.certainty_equivalent.value == pytest.approx(found.certainty_equivalent.value, rel=0.05)


def test_a_base_strategy_is_what_is_held(bars):
    held = headroom(bars, base=EqualWeight(), costs="0", draws=20, progress=False)
    assert held.name == "equal weight on mine"
    assert held.returns[1:] == pytest.approx(bars.close[2:, 0] / bars.close[1:-1, 0] - 1)


def test_sections_say_it_in_words_and_draw(found):
    ladder, years, markets = sections(found)
    assert "90% interval" in ladder.finding
    assert "of Sharpe ratio" in ladder.finding
    assert "walk-forward of" in years.finding
    assert markets.finding.startswith("mine: a calm regime of")
    for section in (ladder, years, markets):
        assert section.draw().data


def test_nothing_to_adapt_to_is_said():
    rng = np.random.default_rng(11)
    found = headroom(bars_of(4e-4 + 0.01 * rng.standard_normal(1500)), draws=20, progress=False)
    assert found.certainty_equivalent.low == 0
    assert "do not show that there is anything to adapt to" in sections(found)[0].finding


def test_costs_lower_it_and_so_does_estimation_from_less():
    returns = MARKET.sample(1, 2500, np.random.default_rng(4))[0][0]
    calibration = calibrate(returns, draws=24)
    cheap, dear = (estimate(Exposure(cost=cost), calibration) for cost in (0.0, 0.02))
    assert dear.high < cheap.high
    assert dear.value <= cheap.value


def test_of_quoted_spreads_the_median_is_charged(bars):
    rng = np.random.default_rng(0)
    spread = np.where(rng.random((500, 1)) < 0.3, 0.02, 0.004) * np.array([0.5, 1.5])
    close = np.column_stack([bars.close[:500], bars.close[:500]])
    spread[:50] = np.nan  # before the first quote no one could trade
    quoted = Bars.make(bars.index[:500], ["A", "B"], close, spread=spread, name="quoted")
    found = headroom(quoted, costs=Costs(commission=0.001, spread="quoted"), draws=20, progress=False)
    fixed = headroom(quoted, costs=Costs(commission=0.001, spread=0.004), draws=20, progress=False)
    assert found.problem == fixed.problem
    assert found.problem.cost == pytest.approx(0.003, rel=1e-3)
    assert found.certainty_equivalent == fixed.certainty_equivalent
    with pytest.raises(InputError, match="mine has no quoted spreads to charge"):
        headroom(bars, costs="2bp+quoted", progress=False)


def test_a_largest_weight_is_that_of_one_symbol_and_the_market_has_several():
    short = bars_of(np.random.default_rng(3).normal(3e-4, 0.01, 400), 4)

    def most(**settings):
        return headroom(short, execution=Execution(**settings), draws=20, progress=False).problem.high

    assert most(max_weight=0.1) == pytest.approx(0.4)
    assert most(max_weight=0.5) == 1.0
    assert most(net=0.3) == 0.3


def test_what_cannot_be_answered_is_said_in_a_line(bars):
    flat = bars_of(np.zeros(600))
    with pytest.raises(InputError, match="mine: prices stand still"):
        headroom(flat, progress=False)
    with pytest.raises(InputError, match="mine: 99 returns cannot"):
        headroom(bars[:100], progress=False)
    with pytest.raises(InputError, match="cannot"):
        headroom(bars[:1], progress=False)
    with pytest.raises(InputError, match="proportional"):
        headroom(bars, costs=Costs(fixed=1.0), progress=False)
    with pytest.raises(InputError, match="limit on the exposure"):
        headroom(bars, execution=Execution(gross=np.inf), progress=False)
    for wrong in ({"draws": 5}, {"seed": -1}, {"level": 1.0}, {"risk_aversion": 0.0}):
        with pytest.raises(InputError):
            headroom(bars, progress=False, **wrong)
