import numpy as np
import pytest
import torch

from markets import Costs, Execution, simulate
from metalearner import CostCurriculum, MeanVariance
from metalearner.objectives import Pathwise
from strategies import Policy, PolicySettings


def test_mean_variance_counts_what_is_counted():
    growth = torch.tensor([[1.0, 2.0, 100.0]])
    counted = torch.tensor([[True, True, False]])
    assert MeanVariance(0.5)(growth, counted).item() == pytest.approx((1 + 2) / 2 - 0.25 * (1 + 4) / 2)


def test_curriculum():
    curriculum = CostCurriculum(free=0.4, ramp=0.4)
    assert [curriculum(p) for p in (0, 0.4, 0.6, 0.8, 1)] == pytest.approx([0, 0, 0.5, 1, 1])
    assert CostCurriculum(free=0, ramp=0)(0.01) == 1


def objective(tasks, **options):
    training, _ = tasks
    return Pathwise.of_tasks(training, PolicySettings(**options), 20, Costs.parse("10bp"), Execution(), MeanVariance(0))


def test_utility_is_what_a_backtest_of_the_task_earns(tasks):
    """Growth over the query of the base, by the account itself, in units of the volatility known before it."""
    pathwise = objective(tasks)
    policy = Policy(PolicySettings()).eval()
    which = np.array([1])
    found = pathwise(policy, which).item()
    task = tasks[0][1]
    first = pathwise.start[1]
    span = task.bars.with_past()[int(first) : task.stop]
    aim = pathwise.base[first : task.stop].numpy()
    band = np.full(aim.shape, np.log1p(np.exp(-3.0)) / 3)
    equity = simulate(span, aim, band, execution=Execution(cash=1.0)).equity[0]
    growth = np.diff(np.log(equity))[task.cut - first - 1 :]
    assert found == pytest.approx(growth.mean() / pathwise.scale[1].item(), rel=1e-5)


def test_only_the_query_is_counted(tasks):
    pathwise = objective(tasks)
    rows = pathwise.start[:, None] + 1 + np.arange(pathwise.length - 1)
    for i, task in enumerate(tasks[0]):
        assert rows[i][pathwise.counted[i].numpy()].tolist() == list(range(task.cut, task.stop))


def test_costs_lower_utility(tasks):
    pathwise = objective(tasks, base="equal_weight")
    policy, which = Policy(PolicySettings(base="equal_weight")).eval(), np.arange(3)
    with torch.no_grad():
        assert pathwise(policy, which, 0.0).mean() > pathwise(policy, which, 1.0).mean()


def test_a_universe_hides_the_other_symbols(tasks):
    pathwise = objective(tasks)
    torch.manual_seed(0)
    policy = Policy(PolicySettings())
    for parameter in policy.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    mask = np.array([[True, False, False]])
    before = pathwise(policy, np.array([0]), universe=mask).item()
    pathwise.features[:, 1:] += 1.0
    assert pathwise(policy, np.array([0]), universe=mask).item() == before
    assert pathwise(policy, np.array([0])).item() != before


def test_regression_training_pays_fixed_fees_and_impact_of_the_real_account(tasks):
    """Utility in training is that of a backtest with the same money, whatever the costs are counted in."""
    costs = Costs(fixed=5.0, commission=0.001)
    execution = Execution(cash=20_000)
    pathwise = Pathwise.of_tasks(tasks[0], PolicySettings(base="equal_weight"), 20, costs, execution, MeanVariance(0))
    policy, which = Policy(PolicySettings(base="equal_weight")).eval(), np.array([1])
    task, first = tasks[0][1], int(pathwise.start[1])
    span = task.bars.with_past()[first : task.stop]
    aim = pathwise.base[first : task.stop].numpy()
    band = np.full(aim.shape, np.log1p(np.exp(-3.0)) / 3)
    equity = simulate(span, aim, band, costs=costs, execution=execution).equity[0]
    growth = np.diff(np.log(equity))[task.cut - first - 1 :]
    assert pathwise(policy, which).item() == pytest.approx(growth.mean() / pathwise.scale[1].item(), rel=1e-4)
