import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtests.monitoring.betting import PRIOR, STAKES, Bets
from markets import InputError


def by_definition(payoffs, bound, prior):
    """E_t as the module states it: a sum over bets that begin at each bar."""
    value = prior / (prior + len(payoffs)) if len(payoffs) else 1.0
    for j in range(1, len(payoffs) + 1):
        share = prior / ((j + prior - 1) * (j + prior)) if prior else float(j == 1)
        value += share * np.mean([np.prod(1 + stake / bound * np.array(payoffs[j - 1 :])) for stake in STAKES])
    return value if prior or len(payoffs) else 1.0


@given(st.lists(st.floats(-4, 4), max_size=20), st.sampled_from([0.0, 10.0, PRIOR]))
def test_the_evidence_is_the_wealth_of_all_bets(payoffs, prior):
    bets = Bets(4.0, prior=prior)
    assert bets.value == 1
    for payoff in payoffs:
        bets.settle(payoff)
    wanted = by_definition(payoffs, 4.0, prior)
    assert bets.value == pytest.approx(wanted, rel=1e-9, abs=1e-12)


@given(st.lists(st.sampled_from([-4.0, 4.0]), max_size=40))
def test_wealth_is_never_negative_even_at_the_bound(payoffs):
    bets = Bets(4.0)
    for payoff in payoffs:
        bets.settle(payoff)
        assert bets.value > 0


def test_a_fair_game_neither_wins_nor_loses_exactly():
    """Over all outcomes of ten fair coins the mean evidence is 1."""
    coins = np.array(np.meshgrid(*[[-1.0, 1.0]] * 10)).reshape(10, -1)
    for prior in (0.0, PRIOR):
        bets = Bets(1.0, np.zeros((coins.shape[1], len(STAKES))), prior=prior)
        for payoff in coins:
            bets.settle(payoff)
            assert bets.value.mean() == pytest.approx(1, abs=1e-12)


def test_bets_that_all_begin_at_once_keep_the_level_for_averages():
    """Payoffs that are expected to be -1 and 1 in turn are never positive on average; over all coins the mean stays below 1."""
    coins = np.array(np.meshgrid(*[[-1.0, 1.0]] * 10)).reshape(10, -1)
    at_once, later = (Bets(3.0, np.zeros((coins.shape[1], len(STAKES))), prior=prior) for prior in (0.0, 5.0))
    means = []
    for t, payoff in enumerate(coins):
        expected = -1.0 if t % 2 == 0 else 1.0
        at_once.settle(payoff + expected)
        later.settle(payoff + expected)
        means.append(at_once.value.mean())
    assert max(means) <= 1 + 1e-12
    assert later.value.mean() > 0


def test_evidence_does_not_overflow():
    bets = Bets(1.0)
    for _ in range(3000):
        bets.settle(1.0)
    assert np.isfinite(bets.value)
    assert bets.value > 1e99


def test_wealth_of_another_shape_is_refused():
    with pytest.raises(InputError, match="4 numbers"):
        Bets(1.0, np.zeros(3))
