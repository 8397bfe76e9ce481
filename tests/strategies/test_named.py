import numpy as np
import pytest
import samples

from backtests import walk_forward
from backtests.engine.lookahead import find_lookahead
from markets import InputError
from strategies import PooledCovariance
from strategies.named import ALL, NAMES, RULES, strategy_from_name


def test_windows_that_are_not_given_suit_the_bars():
    assert strategy_from_name("momentum", year=12).window == 12
    assert strategy_from_name("momentum:7", year=12).window == 7
    assert strategy_from_name("inverse_volatility", volatility=13).window == 13
    assert strategy_from_name("momentum_blend", year=12).windows == (1, 3, 6, 12)
    assert strategy_from_name("cross_sectional_momentum", year=12).skip == 1
    assert strategy_from_name("cross_sectional_momentum:100", year=252).skip == 21
    assert strategy_from_name("minimum_variance", year=12).window == 60
    pool = strategy_from_name("minimum_variance_pool")
    assert pool.covariance == PooledCovariance()
    assert pool.window == 252
    assert strategy_from_name("minimum_variance_ewma", volatility=13).covariance.halflife == 13
    assert strategy_from_name("trend_following", year=12).windows == (1, 3, 6, 12)
    assert strategy_from_name("moving_average_cross", year=12).slow == 10
    assert strategy_from_name("donchian", year=12).window == 2
    assert strategy_from_name("regime_gated", year=252).window == 2520


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("equal_weight", "equal weight"),
        ("buy_and_hold", "buy and hold"),
        ("inverse_volatility", "inverse volatility"),
        ("inverse_volatility:20", "inverse volatility"),
        ("momentum:60", "momentum 60"),
        ("momentum", "momentum 252"),
        ("momentum_blend:100", "momentum blend"),
        ("moving_average_cross:20:100", "moving average cross 20/100"),
        ("moving_average_cross", "moving average cross 50/200"),
        ("donchian", "Donchian 20"),
        ("cross_sectional_momentum:126:0", "winners 126"),
        ("winners_minus_losers", "winners minus losers 252"),
        ("volatility_target:15:42", "equal weight, volatility 0.15"),
        ("pairs:120:3", "pairs"),
        ("trend_following:252:20", "trend following 21/63/126/252"),
        ("minimum_variance_ewma:42", "minimum variance, ewma 42"),
        ("minimum_variance_expanding", "minimum variance, expanding"),
        ("minimum_variance_ledoit_wolf:100", "minimum variance, Ledoit–Wolf"),
        ("minimum_variance_regime:20", "minimum variance, regime adjusted 20/120"),
        ("minimum_variance_pool", "minimum variance, pool"),
        ("risk_parity:500", "risk parity"),
        ("random_weights:7:100", "random like momentum 100"),
    ],
)
def test_rules_by_name(text, name):
    assert strategy_from_name(text).name == name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("luck", "rule 'luck' is unknown; use equal_weight"),
        ("momentum:²", "window must be a whole number"),
        ("momentum:1:2", "is unknown; use .*momentum:WINDOW,"),
        ("equal_weight:5", "is unknown"),
        ("risk_parity:1", "risk parity: window is 1"),
        ("nowhere.py:Thing", "nowhere.py: no such file"),
    ],
)
def test_what_is_no_rule(text, message):
    with pytest.raises(InputError, match=message):
        strategy_from_name(text)


def test_all_are_many_and_each_has_a_name_of_its_own():
    assert len(ALL) >= 16
    assert set(ALL) <= set(NAMES)
    assert all(name in RULES for name in ALL)
    for year in (252, 52, 12, 4, 1):  # of daily to yearly bars
        names = [strategy_from_name(name, year, max(year // 4, 2)).name for name in ALL]
        assert len(set(names)) == len(ALL)


@pytest.mark.parametrize("symbols", [1, 2, 5])
def test_all_run_on_one_symbol_and_on_several(symbols):
    bars = samples.regime_bars(700, symbols, seed=2)
    rules = [strategy_from_name(name, year=60, volatility=20) for name in ALL]
    found = walk_forward(rules, bars[400:], every=150, progress=False)
    assert len(found) == len(ALL)
    for backtest in found:
        assert np.isfinite(backtest.equity).all(), backtest.name


@pytest.mark.parametrize("name", ALL)
def test_none_looks_ahead(name):
    bars = samples.gappy_bars(np.random.default_rng(1), 260, 4, volatility=0.02)

    def make():
        return strategy_from_name(name, year=60, volatility=20)

    assert find_lookahead(make, bars[-90:], cuts=3, progress=False) == []


# What goes back to the first bar held: the account of buy and hold, a position held until a new low, the filter's probabilities,
# the random walk, and what forgets nothing.
ENDLESS = {"buy_and_hold", "donchian", "regime_gated", "random_weights", "minimum_variance_expanding"}


@pytest.mark.parametrize("name", [name for name in ALL if name not in ENDLESS])
def test_the_warm_up_is_all_that_a_row_reads(name):
    bars = samples.regime_bars(900, 4, seed=5)
    rule = strategy_from_name(name, year=60, volatility=20)
    whole = rule.plan(bars).aim
    for t in (500, 640, 777):
        alone = bars[t - rule.warmup : t + 1].without_past()
        np.testing.assert_allclose(rule.plan(alone).aim[-1], whole[t], atol=1e-12)
