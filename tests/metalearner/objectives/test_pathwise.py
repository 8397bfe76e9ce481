import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import samples
import torch

from markets import Bars, Costs, Execution, Features, InputError, Plan, TaskSet, simulate
from markets.features import Return
from markets.synthetic import DriftMomentum, GarleanuPedersen
from metalearner import CostCurriculum, HeldRisk, LogWealth, MeanVariance, Pathwise, PowerUtility
from metalearner.learners.inner_loop import ADAPTS, Inner, adapted
from metalearner.objectives.pathwise import WindowBatch, _volatility
from strategies import Policy, PolicySettings
from strategies.networks import named_params
from strategies.optimal import GarleanuPedersenOptimum


def test_curriculum():
    curriculum = CostCurriculum(free=0.4, ramp=0.4)
    assert [curriculum(p) for p in (0, 0.4, 0.6, 0.8, 1)] == pytest.approx([0, 0, 0.5, 1, 1])
    assert CostCurriculum(free=0, ramp=0)(0.0) == 1  # charged from the first step on


def windows(tasks, objective=None, **options):
    """Training tasks under risk-neutral utility, and a policy for them."""
    policy = Policy(PolicySettings(**options)).eval()
    return (objective or Pathwise(utility=MeanVariance(0))).sampler(tasks[0], policy, 20), policy


def utility(sampler, policy, tasks, part="query"):
    batch = sampler.collect(policy, named_params(policy), tasks, part)
    with torch.no_grad():
        return sampler.utility(policy, named_params(policy), batch)


def tasks_of(which, **options):
    return WindowBatch(np.asarray(which), **options)


def test_utility_is_what_a_backtest_of_the_task_earns(tasks):
    """Growth of the base over the query, from the account, in units of the volatility known before the query."""
    pathwise, policy = windows(tasks)
    found = utility(pathwise, policy, tasks_of([1])).item()
    task = tasks[0][1]
    first = pathwise.collect(policy, {}, tasks_of([1]), "query").start[0]
    span = task.bars.with_past()[int(first) : task.stop]
    aim = pathwise.reads.base[first : task.stop, :, 0].numpy()
    band = np.full(aim.shape, np.log1p(np.exp(-3.0)) / 3)
    equity = simulate(span, Plan(aim, band), execution=Execution(cash=1.0)).equity[0]
    growth = np.diff(np.log(equity))[task.cut - first - 1 :]
    assert found == pytest.approx(growth.mean() / pathwise.unit[1].item(), rel=1e-5)


@pytest.mark.parametrize("part", ["support", "query"])
def test_only_the_part_is_counted(tasks, part):
    pathwise, policy = windows(tasks)
    batch = pathwise.collect(policy, {}, pathwise.all_tasks(), part)
    rows = batch.start[:, None] + 1 + np.arange(batch.counted.shape[1])
    for i, task in enumerate(tasks[0]):
        first, stop = (task.start, task.cut) if part == "support" else (task.cut, task.stop)
        assert rows[i][batch.counted[i].numpy()].tolist() == list(range(first, stop))


def test_costs_lower_utility(tasks):
    pathwise, policy = windows(tasks, base="equal_weight")
    free, full = (utility(pathwise, policy, tasks_of(range(3), cost_share=share)).mean() for share in (0.0, 1.0))
    assert free > full


def quoting(tasks, quotes):
    """The training tasks on bars that quote these spreads."""
    bars = tasks[0].bars
    bars = bars.with_values(**bars.with_past().fields, spread=np.broadcast_to(quotes, bars.with_past().shape))
    return (TaskSet(tuple(replace(task, bars=bars) for task in tasks[0])),)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_quoted_spread_is_trained_with_as_it_is_charged_and_raised_with_the_costs(tasks, share):
    quoted, fixed = Pathwise(costs="1bp+quoted"), Pathwise(costs=Costs(commission=1e-4, spread=0.01))
    found = []
    for objective in (quoted, fixed):
        pathwise, policy = windows(quoting(tasks, 0.01), objective)
        found.append(utility(pathwise, policy, tasks_of(range(3), cost_share=share)))
    np.testing.assert_allclose(*found, rtol=1e-9)
    dearer, policy = windows(quoting(tasks, 0.02), quoted)
    dear = utility(dearer, policy, tasks_of(range(3), cost_share=share))
    assert (dear < found[0]).all() if share else (dear == found[0]).all()
    assert Pathwise.from_dict(json.loads(json.dumps(quoted.to_dict()))) == quoted


def test_a_universe_hides_the_other_symbols(tasks):
    pathwise, policy = windows(tasks)
    torch.manual_seed(0)
    for parameter in policy.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    first = np.array([[0]])
    before = utility(pathwise, policy, tasks_of([0], universe=first)).item()
    pathwise.reads.features[:, 1:] += 1.0
    assert utility(pathwise, policy, tasks_of([0], universe=first)).item() == before
    assert utility(pathwise, policy, tasks_of([0])).item() != before


@pytest.mark.parametrize("base", ["inverse_volatility", "flat"])
def test_regression_a_universe_is_a_market_of_its_own(tasks, base):
    """With two of three symbols in the universe, band and aim were scaled by one third instead of one half."""
    pathwise, policy = windows(tasks, base=base)
    torch.manual_seed(0)
    for parameter in policy.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    both = np.array([0, 2])
    batch = pathwise.collect(policy, named_params(policy), tasks_of([0, 1], universe=np.array([both, both])), "query")
    bars = tasks[0].bars.select([tasks[0].bars.symbols[i] for i in both])
    alone = Pathwise().sampler(TaskSet(tuple(replace(task, bars=bars) for task in tasks[0])), policy, 20)
    with torch.no_grad():
        narrow = policy(*pathwise.inputs(batch)[1:])
        expected = policy(*alone.inputs(alone.collect(policy, named_params(policy), tasks_of([0, 1]), "query"))[1:])
    for part, same, wide in zip(narrow, expected, pathwise._widened(narrow, batch.tasks.universe), strict=True):
        if part is not None:
            torch.testing.assert_close(part, same)
            assert torch.equal(wide[:, :, both], part)
            assert not wide[:, :, 1].any()


def test_regression_training_pays_fixed_fees_and_impact_of_the_real_account(tasks):
    """Utility in training equals that of a backtest with the same cash, for costs of every kind."""
    costs = Costs(fixed=5.0, commission=0.001)
    execution = Execution(cash=20_000)
    objective = Pathwise(costs=costs, execution=execution, utility=MeanVariance(0))
    pathwise, policy = windows(tasks, objective, base="equal_weight")
    task, first = tasks[0][1], int(pathwise.collect(policy, {}, tasks_of([1]), "query").start[0])
    span = task.bars.with_past()[first : task.stop]
    aim = pathwise.reads.base[first : task.stop, :, 0].numpy()
    band = np.full(aim.shape, np.log1p(np.exp(-3.0)) / 3)
    equity = simulate(span, Plan(aim, band), costs=costs, execution=execution).equity[0]
    growth = np.diff(np.log(equity))[task.cut - first - 1 :]
    assert utility(pathwise, policy, tasks_of([1])).item() == pytest.approx(
        growth.mean() / pathwise.unit[1].item(), rel=1e-4
    )


def test_scores_are_the_utilities_however_many_are_judged_at_once(tasks, monkeypatch):
    monkeypatch.setattr("metalearner.objectives.pathwise._PATHS", 2)
    pathwise, policy = windows(tasks)
    every = pathwise.all_tasks()
    batch = pathwise.collect(policy, named_params(policy), every, "query")
    with torch.no_grad():
        found = pathwise.score(policy, named_params(policy), batch)
    np.testing.assert_allclose(found, utility(pathwise, policy, every), rtol=1e-12)


def test_shards_of_the_sampled_tasks_are_all_of_them(tasks):
    pathwise, _ = windows(tasks)
    sampled = pathwise.sample(np.random.default_rng(0), 4, 0.9)
    shards = [sampled.shard(rank, 3) for rank in range(3)]
    assert sorted(np.concatenate([s.task_ids for s in shards])) == sorted(sampled.task_ids)
    assert all(s.cost_share == sampled.cost_share for s in shards)
    np.testing.assert_array_equal(shards[1].universe, sampled.universe[1::3])


def test_an_objective_survives_json():
    before = Pathwise(
        costs=Costs(quadratic=0.1), utility=PowerUtility(3.0), unit=0.01, curriculum=CostCurriculum(0.1, 0.2)
    )
    assert Pathwise.from_dict(json.loads(json.dumps(before.to_dict()))) == before
    assert Pathwise(costs="20bp").costs == Costs(commission=0.002)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Pathwise(unit=0.0), "unit is 0"),
        (lambda: Pathwise(costs="cheap"), "write 10bp"),
        (lambda: Pathwise(utility="sharpe"), "must be one of .*MeanVariance"),
        (lambda: Pathwise(utility=MeanVariance), "must be one of"),
        (lambda: CostCurriculum(0.8, 0.8), "at most 1 together"),
        (lambda: CostCurriculum(-0.1, 0.1), "at most 1 together"),
        (
            lambda: Pathwise(truncate=5).policy(PolicySettings(memory="transformer"), None),
            "reads all bars at each step",
        ),
    ],
)
def test_invalid_settings_are_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        wrong()


def test_a_memory_longer_than_the_data(tasks):
    policy = Policy(PolicySettings())
    with pytest.raises(InputError, match=r"a context of 5000 and .* evaluated bars are more than"):
        Pathwise().sampler(tasks[0], policy, 5000)


def test_what_is_adapted_to_are_bars(tasks):
    policy = Policy(PolicySettings())
    for wrong in (tasks[0][0], tasks[0], "stocks"):
        with pytest.raises(InputError, match="adapting needs Bars, not"):
            Pathwise().recent(wrong, policy, 20)
    assert len(Pathwise().recent(tasks[0][0].support, policy, 20)) == 1


FAMILY = DriftMomentum(length=30)


def synthetic(**options):
    """Policies without memory and with non-zero random weights, on drift–momentum."""
    settings = PolicySettings(
        memory="none", hidden=4, base="flat", trades="at_once", features=FAMILY.features, **options
    )
    torch.manual_seed(3)
    policy = Policy(settings)
    for parameter in policy.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    objective = Pathwise(
        FAMILY.costs, FAMILY.execution, MeanVariance(1.0), CostCurriculum(0, 0), FAMILY.scale, symbols=0
    )
    return objective.sampler(FAMILY.sample(3, 0).tasks(15), policy, 1), policy


@pytest.mark.parametrize("adapts", sorted(ADAPTS))
def test_tasks_that_step_together_step_as_if_alone(adapts):
    """Adapting all tasks in one batch agrees with adapting one task at a time."""
    sampler, policy = synthetic(head="film", context_vector=2)
    inner = Inner(adapts=adapts, steps=3, step_size=0.5)
    rng = np.random.default_rng(0)
    together = adapted(sampler, policy, sampler.all_tasks(), inner, rng)
    for i in range(3):
        alone = adapted(sampler, policy, tasks_of([i]), inner, rng)
        for name in inner.names(policy):
            torch.testing.assert_close(together[name][i], alone[name][0])
            assert (together[name][i] != named_params(policy)[name]).any()
    untouched = set(named_params(policy)) - set(inner.names(policy))
    assert all(torch.equal(together[name], named_params(policy)[name]) for name in untouched)


def test_the_second_order_meta_gradient_is_that_of_finite_differences():
    """d/dθ of utility(θ + α ∇utility(θ; support); query), through the reference simulator, for the output bias."""
    sampler, policy = synthetic()
    policy.double()
    sampler.reads.features = sampler.reads.features.double()
    rng, inner = np.random.default_rng(0), Inner(steps=2, step_size=0.3)

    def after(shift, order=1):
        bias = policy.body.last.bias
        bias.data += shift
        params = adapted(sampler, policy, sampler.all_tasks(), inner, rng, order=order)
        query = sampler.collect(policy, params, sampler.all_tasks(), "query")
        value = sampler.utility(policy, params, query).sum()
        bias.data -= shift
        return value, bias

    value, bias = after(0.0, order=2)
    found = torch.autograd.grad(value, bias)[0].item()
    step = 1e-5
    expected = (after(step)[0].item() - after(-step)[0].item()) / (2 * step)
    assert found == pytest.approx(expected, rel=1e-4)
    value, bias = after(0.0, order=1)
    assert torch.autograd.grad(value, bias)[0].item() != pytest.approx(expected, rel=1e-2)


def test_held_risk_is_the_reward_of_garleanu_and_pedersen():
    """The utility of the closed-form strategy, from the account, equals the family's reward."""
    family = GarleanuPedersen(length=200)
    episodes = family.sample(5, 1)

    class ClosedForm(torch.nn.Module):
        settings = PolicySettings(memory="none", base="flat", trades="rate", features=family.features)

        def __init__(self):
            super().__init__()
            self.aim = torch.nn.Parameter(torch.tensor(optimum.aim))

        def forward(self, features, base, truncate=0):
            aim = self.aim * features[..., 1].double()
            return aim, None, torch.full_like(aim, optimum.rate)

    optimum = GarleanuPedersenOptimum(family)
    objective = Pathwise(family.costs, family.execution, HeldRisk(family.risk_aversion, family.variance),
                         CostCurriculum(0, 0), family.scale, symbols=0)  # fmt: skip
    policy = ClosedForm()
    sampler = objective.sampler(episodes.tasks(1), policy, 1)
    returns = episodes.returns[..., 0]
    weights = optimum.follow(episodes)[:, : family.length]
    expected = family.reward(weights, returns).mean(axis=1)
    np.testing.assert_allclose(utility(sampler, policy, sampler.all_tasks()), expected, atol=2e-4)


def test_what_is_not_finite_is_named(tasks):
    pathwise, policy = windows(tasks)
    pathwise.unit[1] = 0.0
    with pytest.raises(FloatingPointError, match=r"the growth of task 1 \(.+\) over the bar of \d{4}-.* is not finite"):
        utility(pathwise, policy, tasks_of([0, 1]))


def test_truncation_cuts_the_memory_alone(tasks):
    """The value is the same; the gradient is not."""
    whole, policy = windows(tasks)
    torch.manual_seed(1)
    for parameter in policy.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    cut = replace(whole.objective, truncate=5).sampler(tasks[0], policy, 20)
    gradients = []
    for sampler in (whole, cut):
        batch = sampler.collect(policy, named_params(policy), tasks_of([0, 1]), "query")
        value = sampler.utility(policy, named_params(policy), batch).sum()
        gradients.append((value.item(), torch.autograd.grad(value, policy.body.memory.gru.weight_hh_l0)[0]))
    assert gradients[0][0] == pytest.approx(gradients[1][0], rel=1e-5)
    assert not torch.allclose(gradients[0][1], gradients[1][1], rtol=1e-2)


def test_log_wealth_is_power_utility_of_one():
    growth, counted, unit = torch.randn(3, 5) * 0.01, torch.ones(3, 5, dtype=torch.bool), torch.full((3, 1), 0.01)
    torch.testing.assert_close(LogWealth()(growth, counted, unit), PowerUtility(1.0)(growth, counted, unit))


def test_regression_tasks_without_a_known_feature_are_refused(bars):
    """They were trained on in silence: 3 of 14 windows had no feature at all."""
    policy = Policy(PolicySettings(features=Features((Return(600),))))
    with pytest.raises(
        InputError, match=r"task 0, from .*: no features are known in its support, since they look back 600 bars"
    ):
        Pathwise().sampler(TaskSet.from_windows(bars), policy, 5)
    windows = TaskSet.from_windows(bars, features=policy.settings.features)
    assert len(Pathwise().sampler(windows, policy, 5)) == len(windows)


def test_regression_the_unit_of_returns_is_of_sessions(bars):
    """Weekends counted as returns of 0."""
    index = pd.date_range(bars.index[0], bars.index[-1])
    close = pd.DataFrame(bars.close, index=bars.index).reindex(index).to_numpy()
    daily = Bars.make(index, bars.symbols, close)
    cut = index.get_indexer([bars.index[700]])
    np.testing.assert_array_equal(_volatility(daily, cut, 50), _volatility(bars, np.array([700]), 50))


def test_training_paths_take_symbols_that_there_are_then():
    """In a set that grows, most symbols are not listed yet in early tasks; drawn blindly, such paths would be nearly empty."""
    bars = samples.regime_bars(1000, 6, seed=0)
    close = bars.close.copy()
    close[:600, 2:] = np.nan
    tasks = TaskSet.from_windows(Bars.make(bars.index, bars.symbols, close), support=20, query=30)
    sampler = Pathwise(symbols=2).sampler(tasks, Policy(PolicySettings()), 20)
    batch = sampler.sample(np.random.default_rng(0), len(tasks), 1.0)
    early = np.array([tasks[i].cut < 600 for i in batch.task_ids])
    assert (batch.universe[early] == [0, 1]).all()
    late = np.array([tasks[i].cut > 860 for i in batch.task_ids])
    assert late.any()
    assert len(np.unique(batch.universe[late])) > 1
