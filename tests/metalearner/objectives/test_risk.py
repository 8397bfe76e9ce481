import numpy as np
import pandas as pd
import pytest
import samples
import torch

from backtests.metrics import metrics
from markets import Bars, Costs, Execution, InputError, TaskSet
from markets.accounting.differentiable import TensorPlan, equity_paths
from markets.accounting.market import make_market
from markets.common.statistics import bars_per_year
from metalearner import (
    RL2,
    CertaintyEquivalent,
    CostCurriculum,
    ExpectedShortfall,
    LogVariance,
    MeanVariance,
    MinimumVariance,
    Pathwise,
    PowerUtility,
    TargetVolatility,
    Training,
)
from metalearner.objectives import Utility
from strategies import Policy, PolicySettings
from strategies.networks import named_params

PER_YEAR = 252.0
UNIT = torch.full((2, 1), 1 / PER_YEAR, dtype=torch.float64)
ALL = [CertaintyEquivalent(3.0), MinimumVariance(), LogVariance(), TargetVolatility(0.1), ExpectedShortfall(0.2)]


def paths(seed=0, bars=40, scale=0.01):
    """Growth of two paths, of which some bars do not count, and the simple returns of those that do."""
    rng = np.random.default_rng(seed)
    growth, counted = rng.normal(0.001, scale, (2, bars)), np.ones((2, bars), bool)
    counted[0, :7] = False
    returns = [np.expm1(g[c]) for g, c in zip(growth, counted, strict=True)]
    return torch.from_numpy(growth), torch.from_numpy(counted), returns


def test_each_by_its_formula():
    growth, counted, returns = paths()
    mean, variance = (np.array([PER_YEAR * f(r) for r in returns]) for f in (np.mean, lambda r: r.var(ddof=1)))
    worst = [np.sort(r)[: 1 + int(0.2 * (len(r) - 1))].mean() for r in returns]
    expected = (mean - 1.5 * variance, -variance, -np.log(variance), -((np.sqrt(variance) / 0.1 - 1) ** 2), worst)
    for utility, values in zip(ALL, expected, strict=True):
        np.testing.assert_allclose(utility(growth, counted, UNIT), values, rtol=1e-9)
    np.testing.assert_allclose(ExpectedShortfall(1.0)(growth, counted, UNIT), mean / PER_YEAR)


def test_they_are_the_metrics_of_the_account():
    """On the same bars, so that what is learnt is what is shown."""
    index = pd.bdate_range("2015-01-01", periods=600)
    growth = np.random.default_rng(2).normal(0.0004, 0.012, 599)
    equity, nothing = 1e6 * np.exp(np.append(0, growth.cumsum())), np.zeros(600)
    found = metrics(index, equity, nothing, nothing, np.ones((600, 1)))
    unit = torch.full((1, 1), 1 / bars_per_year(index), dtype=torch.float64)
    path = torch.from_numpy(growth)[None], torch.ones(1, 599, dtype=torch.bool), unit
    assert CertaintyEquivalent(5.0)(*path).item() == pytest.approx(found["certainty equivalent"], rel=1e-9)
    assert MinimumVariance()(*path).item() == pytest.approx(-(found["volatility"] ** 2), rel=1e-9)
    assert ExpectedShortfall(0.05)(*path).item() == pytest.approx(-found["expected shortfall"], rel=1e-9)
    assert TargetVolatility(found["volatility"])(*path).item() == pytest.approx(0, abs=1e-9)


def test_holding_less_in_a_wild_regime_pays_in_these_units_alone():
    """Half the exposure to returns that are four times as wild is worth more; in units of their volatility nothing tells."""
    calm = torch.from_numpy(np.random.default_rng(0).normal(0.0005, 0.008, (1, 2000)))
    counted, one = torch.ones(1, 2000, dtype=torch.bool), UNIT[:1]
    wild = torch.log1p(torch.expm1(calm - calm.mean()) * 4 + calm.mean())
    half = torch.log1p(torch.expm1(wild) / 2)
    worth = CertaintyEquivalent(5.0)
    assert worth(half, counted, one) > worth(wild, counted, one)
    assert worth(half, counted, one) < worth(calm, counted, one)


@pytest.mark.parametrize("utility", ALL)
def test_gradients_are_those_of_finite_differences(utility):
    growth, counted, _ = paths(3, bars=12, scale=0.1)
    assert torch.autograd.gradcheck(lambda g: utility(g, counted, UNIT), growth.requires_grad_())
    assert torch.autograd.gradgradcheck(lambda g: utility(g, counted, UNIT), growth)
    assert Utility.kinds[type(utility).__name__] is type(utility)


@pytest.mark.parametrize("utility", ALL)
def test_gradients_through_the_account_with_costs_are_those_of_finite_differences(utility):
    """Of every aim and half-width of a plan for three symbols, net of commission and both kinds of impact."""
    bars = samples.gappy_bars(np.random.default_rng(2), 14, 3, 0.02)
    costs = Costs(commission=0.003, impact=0.1, quadratic=0.02)
    market, rules = make_market(bars, costs, Execution(borrowing=True, gross=5, cash=1e4))
    aim = torch.tensor(np.random.default_rng(1).uniform(0.1, 0.9, (1, 14, 3)), requires_grad=True)
    band = torch.full_like(aim, 0.01).requires_grad_()
    counted, start = torch.arange(13)[None] >= 2, np.zeros(1, dtype=np.int64)

    def worth(aim, band):
        equity, _ = equity_paths(market, rules, start, TensorPlan(aim, band), money=1e4)
        return utility((equity / 1e4).log().diff(dim=1), counted, UNIT[:1])

    assert torch.autograd.gradcheck(worth, (aim, band), eps=1e-6, atol=1e-5, rtol=1e-4)


def test_cash_has_a_gradient():
    growth = torch.zeros(1, 10, dtype=torch.float64, requires_grad=True)
    for utility in ALL:
        (slope,) = torch.autograd.grad(utility(growth, torch.ones(1, 10, dtype=torch.bool), UNIT[:1]).sum(), growth)
        assert torch.isfinite(slope).all(), utility


def test_what_is_learnt_holds_less_in_a_wild_regime():
    """Regimes of the same mean return and four times the volatility: in units of each task's volatility they are alike."""
    rng = np.random.default_rng(0)
    wild = np.arange(3000) // 150 % 2 == 1
    shocks = rng.standard_normal((3000, 1)) + rng.standard_normal((3000, 2))
    returns = 0.0004 + np.where(wild, 0.025, 0.006)[:, None] * shocks / np.sqrt(2)
    bars = Bars.make(pd.bdate_range("2000-01-03", periods=3000), ["a", "b"], 100 * np.cumprod(1 + returns, axis=0))
    every = tuple(TaskSet.from_windows(bars, support=60, query=40))
    training, validation = TaskSet(every[: len(every) * 2 // 3]), TaskSet(every[len(every) * 2 // 3 :])
    policy = PolicySettings(base="equal_weight", hidden=8)
    steps = Training(steps=60, learning_rate=1e-2, batch=16, evaluate_every=20, evidence=None)
    held = {}
    for utility in (MeanVariance(), CertaintyEquivalent(5.0), TargetVolatility(0.1)):
        objective = Pathwise(costs="1bp", utility=utility, symbols=0, curriculum=CostCurriculum(0, 0))
        learner = RL2(context=40, policy=policy, objective=objective, training=steps)
        aim = learner.fit(training, validation, progress=False).adapt(bars).plan(bars).aim.sum(axis=1)[2000:]
        held[type(utility)] = aim[wild[2000:]].mean() / aim[~wild[2000:]].mean()
    assert held[MeanVariance] > 0.92  # it was .97
    assert held[CertaintyEquivalent] < 0.85  # .75
    assert held[TargetVolatility] < 0.65  # .52


def test_a_share_of_the_variance_counts_the_same_in_a_calm_and_in_a_wild_path():
    growth, counted, _ = paths(5)
    for utility, alike in ((LogVariance(), True), (MinimumVariance(), False)):
        gains = []
        for wildness in (1.0, 8.0):
            moves = torch.expm1(growth) * wildness
            gains.append(utility(torch.log1p(0.9 * moves), counted, UNIT) - utility(torch.log1p(moves), counted, UNIT))
        assert bool(torch.allclose(*gains, rtol=1e-6)) is alike
        if alike:
            np.testing.assert_allclose(gains[0], -2 * np.log(0.9), rtol=1e-6)


def test_a_single_bar_has_no_variance():
    growth, counted = torch.full((1, 1), 0.02, dtype=torch.float64), torch.ones(1, 1, dtype=torch.bool)
    assert MinimumVariance()(growth, counted, UNIT[:1]).item() == 0
    assert CertaintyEquivalent()(growth, counted, UNIT[:1]).item() == pytest.approx(PER_YEAR * np.expm1(0.02))


def test_a_year_is_that_of_the_bars_whatever_the_regime(tasks):
    policy = Policy(PolicySettings()).eval()
    sampler = Pathwise(utility=CertaintyEquivalent()).sampler(tasks[0], policy, 20)
    per_year = bars_per_year(tasks[0].bars.with_past().index)
    np.testing.assert_allclose(sampler.unit, 1 / per_year)
    batch = sampler.collect(policy, named_params(policy), sampler.all_tasks(), "query")
    with torch.no_grad():
        assert torch.isfinite(sampler.utility(policy, named_params(policy), batch)).all()


def test_a_unit_is_for_utilities_that_are_scaled():
    with pytest.raises(InputError, match=r"unit is 0.01, and CertaintyEquivalent measures returns as they are; leave"):
        Pathwise(utility=CertaintyEquivalent(), unit=0.01)
    assert PowerUtility().scaled


def test_they_are_saved_and_loaded():
    for utility in ALL:
        objective = Pathwise(utility=utility)
        assert Pathwise.from_dict(objective.to_dict()) == objective


def test_minutes_of_one_day_have_no_year():
    index = pd.date_range("2024-03-05 09:31", periods=600, freq="min")
    closes = 100 * np.exp(np.random.default_rng(0).normal(0, 0.001, (600, 2)).cumsum(axis=0))
    cut = TaskSet.from_windows(Bars.make(index, ["a", "b"], closes))
    with pytest.raises(InputError, match="within a single day, so returns per year are not known"):
        Pathwise(utility=MinimumVariance()).sampler(cut, Policy(PolicySettings()), 20)


@pytest.mark.parametrize(
    ("kind", "value"),
    [(CertaintyEquivalent, 0.0), (TargetVolatility, -0.1), (ExpectedShortfall, 0.0), (ExpectedShortfall, 1.5)],
)
def test_what_makes_no_sense_is_refused(kind, value):
    with pytest.raises(InputError, match="utility: "):
        kind(value)
