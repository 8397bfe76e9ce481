import numba
import numpy as np
import pytest
import torch
import worlds
from hypothesis import assume, given, settings

from markets import Costs, Execution, simulate
from markets.accounting import make_market
from markets.differentiable import equity_paths, equity_paths_reference


def setup(case):
    bars, costs, execution, *plan = case
    market, rules = make_market(bars, costs, execution)
    plan = [torch.tensor(p, requires_grad=True) for p in plan]
    return market, rules, np.zeros(len(plan[0]), dtype=np.int64), plan, execution.cash


def gradients(function, market, rules, start, plan, money):
    equity = function(market, rules, start, *plan, money=money)
    weights = torch.linspace(-1, 2, equity.numel(), dtype=torch.float64).reshape(equity.shape)
    return equity, torch.autograd.grad((equity * weights).sum() / money, plan)


@given(worlds.cases())
@settings(max_examples=200)
def test_simulate_kernel_and_reference_agree(case):
    """Equity to 1e-12 in all three, gradients of the adjoint and of plain torch to 1e-9."""
    bars, costs, execution, *plan = case
    market, rules, start, tensors, money = setup(case)
    plainly = simulate(bars, *plan, costs=costs, execution=execution).equity
    equity, grads = gradients(equity_paths, market, rules, start, tensors, money)
    reference, expected = gradients(equity_paths_reference, market, rules, start, tensors, money)
    scale = max(1.0, np.abs(plainly).max() / money)
    np.testing.assert_array_equal(equity.detach().numpy(), plainly)
    np.testing.assert_allclose(equity.detach() / money, reference.detach() / money, atol=1e-12 * scale)
    for found, other in zip(grads, expected, strict=True):
        np.testing.assert_allclose(found, other, rtol=1e-9, atol=1e-9 * scale)


@given(worlds.cases(paths=1))
@settings(max_examples=80)
def test_adjoint_is_the_slope_of_the_account(case):
    """Central differences, to 1e-6, wherever the account is smooth on both sides."""
    market, rules, start, plan, money = setup(case)
    _, grads = gradients(equity_paths, market, rules, start, plan, money)
    rng = np.random.default_rng(0)
    directions = [torch.tensor(rng.normal(size=p.shape)) for p in plan]
    slope = sum((g * d).sum().item() for g, d in zip(grads, directions, strict=True))

    def value(step):
        moved = [(p + step * d).detach() for p, d in zip(plan, directions, strict=True)]
        equity = equity_paths(market, rules, start, *moved, money=money)
        return (
            equity * torch.linspace(-1, 2, equity.numel(), dtype=torch.float64).reshape(equity.shape)
        ).sum().item() / money

    h = 1e-6
    ahead, behind = (value(h) - value(0)) / h, (value(0) - value(-h)) / h
    assume(abs(ahead - behind) < 1e-3 * (1 + abs(slope)))  # an edge of a band or a limit lies between
    assert (value(h) - value(-h)) / (2 * h) == pytest.approx(slope, rel=1e-5, abs=1e-6 * (1 + abs(slope)))


def test_central_differences_without_edges():
    """The same to 1e-6 at a point where nothing is near an edge."""
    bars = worlds.gappy_bars(np.random.default_rng(2), 12, 3, 0.02)
    market, rules = make_market(
        bars, Costs(commission=0.002, spread=0.001, impact=0.1), Execution(borrowing=True, gross=5, cash=1e4)
    )
    aim = torch.tensor(np.random.default_rng(1).uniform(0.1, 0.9, (1, 12, 3)), requires_grad=True)
    start = np.zeros(1, dtype=np.int64)
    (found,) = torch.autograd.grad(equity_paths(market, rules, start, aim, money=1e4)[:, -1].sum() / 1e4, aim)
    for t in range(11):
        for i in range(3):
            moved = []
            for sign in (1, -1):
                other = aim.detach().clone()
                other[0, t, i] += sign * 1e-6
                moved.append(equity_paths(market, rules, start, other, money=1e4)[0, -1].item() / 1e4)
            assert (moved[0] - moved[1]) / 2e-6 == pytest.approx(found[0, t, i].item(), abs=1e-6)


def test_paths_may_start_anywhere_in_the_panel(bars):
    market, rules = make_market(bars, Costs.parse("10bp"), Execution())
    aim = torch.full((2, 30, 3), 0.3, dtype=torch.float64)
    both = equity_paths(market, rules, np.array([10, 200]), aim, money=1.0)
    alone = simulate(bars[200:230], aim[0].numpy(), execution=Execution(cash=1.0)).equity[0]
    np.testing.assert_allclose(both[1], alone, rtol=1e-12)


def test_threads_change_nothing(bars):
    market, rules = make_market(bars, Costs.parse("10bp"), Execution())
    rng = np.random.default_rng(0)
    aim = torch.tensor(rng.uniform(0, 0.5, (400, 100, 3)), requires_grad=True)
    start, results = rng.integers(0, 1000, 400), []
    for threads in (1, 2):
        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
        equity = equity_paths(market, rules, start, aim, money=1.0)
        results.append((equity, *torch.autograd.grad(equity.sum(), aim)))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_float32_plans_get_float32_gradients(bars):
    market, rules = make_market(bars, Costs.parse("10bp"), Execution())
    aim = torch.full((1, 30, 3), 0.3, requires_grad=True)
    equity = equity_paths(market, rules, np.array([0]), aim, money=1.0)
    assert equity.dtype == torch.float64
    assert torch.autograd.grad(equity.sum(), aim)[0].dtype == torch.float32


def test_the_reference_can_be_differentiated_twice(bars):
    market, rules = make_market(bars, Costs(commission=0.001, impact=0), Execution(sizing="post_fee"))
    aim = torch.full((1, 6, 3), 0.2, dtype=torch.float64, requires_grad=True)
    equity = equity_paths_reference(market, rules, np.array([0]), aim, money=1.0)
    (first,) = torch.autograd.grad(equity[0, -1].log(), aim, create_graph=True)
    (second,) = torch.autograd.grad(first.pow(2).sum(), aim)
    assert torch.isfinite(second).all()
    assert second.abs().sum() > 0


def test_whole_lots_have_no_derivative(bars):
    market, rules = make_market(bars, Costs(), Execution(sizing="whole_lots"))
    for function in (equity_paths, equity_paths_reference):
        with pytest.raises(ValueError, match="no derivative"):
            function(market, rules, np.array([0]), torch.zeros(1, 5, 3), money=1.0)
