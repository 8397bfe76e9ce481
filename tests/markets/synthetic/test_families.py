"""Families: seeding, parameters, and agreement of the account with the formulas."""

import gymnasium.utils.env_checker
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from markets import Features, InputError, simulate
from markets.synthetic import (
    FAMILIES,
    DriftMomentum,
    GarleanuPedersen,
    HiddenMarkov,
    HiddenMarkovFamily,
    LinearCost,
)

KINDS = [DriftMomentum(length=50), HiddenMarkov(length=50), HiddenMarkovFamily(length=50), LinearCost(length=50),
         GarleanuPedersen(length=50)]  # fmt: skip


@pytest.mark.parametrize("family", KINDS, ids=lambda f: f.name)
def test_a_seed_is_a_sample(family):
    one, two, other = family.sample(5, 1), family.sample(5, 1), family.sample(5, 2)
    np.testing.assert_array_equal(one.returns, two.returns)
    assert not np.array_equal(one.returns, other.returns)
    assert one.bars().hash == two.bars().hash


@pytest.mark.parametrize("family", KINDS, ids=lambda f: f.name)
def test_bars_tasks_and_environment_are_like_those_of_real_data(family):
    sampled = family.sample(4, 0)
    bars, tasks = sampled.bars(), sampled.tasks(support=20)
    assert len(bars) == 1 + 4 * 51
    assert [len(t.support) for t in tasks] == [20] * 4
    np.testing.assert_allclose(np.diff(bars.close[:, 0]) / bars.close[:-1, 0] / family.scale,
                               sampled.returns[..., 0].ravel(), atol=1e-8)  # fmt: skip
    np.testing.assert_array_equal(bars.open[1:, 0], bars.close[:-1, 0])
    env = sampled.env(features=Features.standard(horizons=(1,), volatility=5, short_volatility=2, averages=(3,)))
    gymnasium.utils.env_checker.check_env(env, skip_render_check=True)
    env.reset(seed=0)
    steps, over = 0, False
    while not over:
        *_, terminated, over, info = env.step(np.zeros(env.action_space.shape))
        steps += 1
    assert (steps, terminated, info["equity"]) == (50, False, 1e6)


@pytest.mark.parametrize("family", KINDS, ids=lambda f: f.name)
@settings(max_examples=20)
@given(seed=st.integers(0, 1000))
def test_the_account_earns_the_familys_reward(family, seed):
    """The simulated profit of a plan, in units of the scale, equals the sum of the family's rewards."""
    sampled = family.sample(1, seed)
    rng = np.random.default_rng(seed)
    weights = rng.uniform(-1, 1, (1, family.length))
    bars = sampled.bars()[1:]
    aim = np.zeros(bars.shape)
    aim[:-1, 0] = weights[0]
    paths = simulate(bars, aim, costs=family.costs, execution=family.execution)
    equity = paths.equity[0]
    reward = family.reward(weights, sampled.returns[..., 0]).sum()
    profit = np.diff(equity) / equity[:-1]
    earned = profit.sum() / family.scale
    if isinstance(family, DriftMomentum):
        earned -= 0.5 * (profit**2).sum() / family.scale**2
    if isinstance(family, GarleanuPedersen):  # the account charges trading costs but not the risk term
        held = paths.shares[0, 1:, 0] * bars.close[:-1, 0] / equity[:-1]
        earned -= 0.5 * family.risk_aversion * family.variance * (held**2).sum()
    # the difference comes from weights drifting between trades; the returns of the last family are smaller
    assert earned == pytest.approx(reward, abs=0.002 if isinstance(family, GarleanuPedersen) else 0.05)


@pytest.mark.parametrize("family", KINDS, ids=lambda f: f.name)
def test_an_environments_rewards_are_the_familys(family):
    """Regression: the environment of `GarleanuPedersen` charged neither risk nor trading."""
    sampled = family.sample(1, 3)
    weights = np.random.default_rng(3).uniform(-1, 1, (1, family.length))
    env = sampled.env(features=Features.standard(horizons=(1,), volatility=5, short_volatility=2, averages=(3,)))
    env.reset(seed=0)
    total, over = 0.0, False
    for w in weights[0]:
        action = np.zeros(env.action_space.shape)
        action[0] = w
        _, reward, _, over, _ = env.step(action)
        total += reward / family.scale
    assert over
    assert total == pytest.approx(family.reward(weights, sampled.returns[..., 0]).sum(), abs=0.05)


def test_hidden_states_stay_as_long_as_they_should():
    sampled = HiddenMarkov(stay=0.9, length=2000).sample(50, 0)
    state = sampled.hidden["state"]
    assert set(np.unique(state)) == {-1.0, 1.0}
    assert (state[:, 1:] == state[:, :-1]).mean() == pytest.approx(0.9, abs=0.005)
    assert abs(state[:, 0].mean()) < 0.5
    assert (sampled.returns[..., 0] * state).mean() == pytest.approx(0.1, abs=0.02)


def test_signals_are_symbols_that_do_not_trade():
    family = GarleanuPedersen(length=30)
    sampled = family.sample(2, 0)
    bars = sampled.bars()
    assert bars.symbols == ("S0", "signal 0")
    assert not bars.tradable[:, 1].any()
    np.testing.assert_allclose(np.log(bars.close[1:, 1]), sampled.signal.ravel(), atol=1e-12)


def test_support_must_leave_query_bars():
    with pytest.raises(InputError, match="support is 51; it must be between 1 and 50"):
        KINDS[0].sample(2, 0).tasks(support=51)


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: HiddenMarkov(mean=0), "mean must be above 0"),
        (lambda: HiddenMarkov(stay=1.0), r"stay must be in \[0.5, 1\)"),
        (lambda: HiddenMarkovFamily(means=(0.2, 0.1)), "means must ascend"),
        (lambda: LinearCost(std=0), "std must be above 0"),
        (lambda: DriftMomentum(length=0), "length must be at least 1"),
        (lambda: GarleanuPedersen(impact=-1), "impact must be above 0"),
        (lambda: LinearCost(cost=float("nan")), "cost must be at least 0"),
    ],
)
def test_parameters_out_of_range_are_refused(make, what):
    """Regression: with a mean of zero, the iteration for the threshold did not end."""
    with pytest.raises(InputError, match=what):
        make()


def test_all_families_have_different_names():
    assert len({str(f) for f in FAMILIES}) == len(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_with_length_changes_only_the_length(family):
    shorter = family.with_length(7)
    assert shorter.sample(2, 0).returns.shape[:2] == (2, 8)
    assert shorter.with_length(family.length) == family
