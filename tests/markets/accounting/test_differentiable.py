import numpy as np
import pytest
import samples
import torch
from hypothesis import assume, given, settings

from markets import Costs, Execution, Plan, simulate
from markets.accounting.differentiable import TensorPlan, equity_paths, equity_paths_reference
from markets.accounting.kernels import adjoint_kernel, path_kernel
from markets.accounting.market import make_market


def setup(case):
    bars, costs, execution, *plan = case
    market, rules = make_market(bars, costs, execution)
    plan = [torch.tensor(p, requires_grad=True) for p in plan]
    return market, rules, np.zeros(len(plan[0]), dtype=np.int64), plan, execution.cash


def gradients(function, market, rules, start, plan, money):
    """(equity, shares, gradients with respect to the plan of a randomly weighted sum of both)."""
    equity, shares = function(market, rules, start, TensorPlan(*plan), money=money)
    return equity, shares, torch.autograd.grad(weighed(equity) / money + weighed(shares) * 50 / money, plan)


def weighed(values):
    return (values * torch.linspace(-1, 2, values.numel(), dtype=torch.float64).reshape(values.shape)).sum()


@given(samples.cases())
@settings(max_examples=200)
def test_simulate_kernel_and_reference_agree(case):
    """Equity and shares of all three agree to 1e-12, as do the gradients of the adjoint and of plain torch."""
    bars, costs, execution, *plan = case
    market, rules, start, tensors, money = setup(case)
    plainly = simulate(bars, Plan(*plan), costs=costs, execution=execution)
    equity, shares, grads = gradients(equity_paths, market, rules, start, tensors, money)
    reference, held, expected = gradients(equity_paths_reference, market, rules, start, tensors, money)
    scale = max(1.0, np.abs(plainly.equity).max() / money)
    np.testing.assert_array_equal(equity.detach().numpy(), plainly.equity)
    np.testing.assert_array_equal(shares.detach().numpy(), plainly.shares)
    np.testing.assert_allclose(equity.detach() / money, reference.detach() / money, atol=1e-12 * scale)
    np.testing.assert_allclose(shares.detach() * 50 / money, held.detach() * 50 / money, rtol=1e-11, atol=1e-12 * scale)
    for found, other in zip(grads, expected, strict=True):
        np.testing.assert_allclose(found, other, rtol=1e-12, atol=1e-12 * scale)


def test_regression_rows_of_every_other_path_compile_no_kernel_again(bars):
    """For a strided array of first rows numba compiled the whole account anew: half a minute."""
    market, rules = make_market(bars, Costs(), Execution())
    aim = torch.full((2, 50, 3), 0.3, dtype=torch.float64, requires_grad=True)

    def gradient(start):
        return torch.autograd.grad(
            equity_paths(market, rules, start, TensorPlan(aim), money=1e6).equity[:, -1].sum(), aim
        )

    whole = gradient(np.array([3, 7]))
    before = len(path_kernel.signatures), len(adjoint_kernel.signatures)
    assert torch.equal(gradient(np.array([3, 0, 7, 0])[::2])[0], whole[0])
    assert (len(path_kernel.signatures), len(adjoint_kernel.signatures)) == before


@given(samples.cases(paths=1))
@settings(max_examples=80)
def test_adjoint_agrees_with_central_differences(case):
    """The adjoint agrees with central differences to 1e-6 where the account is smooth."""
    market, rules, start, plan, money = setup(case)
    *_, grads = gradients(equity_paths, market, rules, start, plan, money)
    rng = np.random.default_rng(0)
    aim, band, rate = (torch.tensor(rng.normal(size=p.shape)) for p in plan)
    directions = [aim, band * (plan[1] > 0), rate * (plan[2] > 0)]  # no band or rate is negative
    slope = sum((g * d).sum().item() for g, d in zip(grads, directions, strict=True))

    def value(step):
        moved = [(p + step * d).detach() for p, d in zip(plan, directions, strict=True)]
        equity, shares = equity_paths(market, rules, start, TensorPlan(*moved), money=money)
        return (weighed(equity) + weighed(shares) * 50).item() / money

    h = 1e-6
    ahead, behind = (value(h) - value(0)) / h, (value(0) - value(-h)) / h
    assume(abs(ahead - behind) < 1e-3 * (1 + abs(slope)))  # otherwise an edge of a band or a limit lies in between
    assert (value(h) - value(-h)) / (2 * h) == pytest.approx(slope, rel=1e-5, abs=1e-6 * (1 + abs(slope)))


def test_central_differences_without_edges():
    """Agreement to 1e-6 at a point that is not near an edge."""
    bars = samples.gappy_bars(np.random.default_rng(2), 12, 3, 0.02)
    costs = Costs(commission=0.002, spread=0.001, impact=0.1, quadratic=0.02)
    market, rules = make_market(bars, costs, Execution(borrowing=True, gross=5, cash=1e4))
    aim = torch.tensor(np.random.default_rng(1).uniform(0.1, 0.9, (1, 12, 3)), requires_grad=True)
    start = np.zeros(1, dtype=np.int64)
    (found,) = torch.autograd.grad(
        equity_paths(market, rules, start, TensorPlan(aim), money=1e4).equity[:, -1].sum() / 1e4, aim
    )
    for t in range(11):
        for i in range(3):
            moved = []
            for sign in (1, -1):
                other = aim.detach().clone()
                other[0, t, i] += sign * 1e-6
                moved.append(
                    equity_paths(market, rules, start, TensorPlan(other), money=1e4).equity[0, -1].item() / 1e4
                )
            assert (moved[0] - moved[1]) / 2e-6 == pytest.approx(found[0, t, i].item(), abs=1e-6)


def test_paths_may_start_anywhere_in_the_panel(bars):
    market, rules = make_market(bars, Costs.parse("10bp"), Execution())
    aim = torch.full((2, 30, 3), 0.3, dtype=torch.float64)
    both = equity_paths(market, rules, np.array([10, 200]), TensorPlan(aim), money=1.0).equity
    alone = simulate(bars[200:230], aim[0].numpy(), execution=Execution(cash=1.0)).equity[0]
    np.testing.assert_allclose(both[1], alone, rtol=1e-12)


def test_threads_change_nothing(bars, monkeypatch):
    market, rules = make_market(bars, Costs.parse("10bp"), Execution())
    rng = np.random.default_rng(0)
    aim = torch.tensor(rng.uniform(0, 0.5, (400, 100, 3)), requires_grad=True)
    start, results = rng.integers(0, 1000, 400), []
    for threads in (1, 2):
        monkeypatch.setattr("numba.config.NUMBA_NUM_THREADS", threads)
        equity = equity_paths(market, rules, start, TensorPlan(aim), money=1.0).equity
        results.append((equity, *torch.autograd.grad(equity.sum(), aim)))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_float32_plans_get_float32_gradients(bars):
    market, rules = make_market(bars, Costs.parse("10bp"), Execution())
    aim = torch.full((1, 30, 3), 0.3, requires_grad=True)
    equity = equity_paths(market, rules, np.array([0]), TensorPlan(aim), money=1.0).equity
    assert equity.dtype == torch.float64
    assert torch.autograd.grad(equity.sum(), aim)[0].dtype == torch.float32


def test_the_reference_can_be_differentiated_twice(bars):
    market, rules = make_market(bars, Costs(commission=0.001, impact=0), Execution(sizing="post_fee"))
    aim = torch.full((1, 6, 3), 0.2, dtype=torch.float64, requires_grad=True)
    equity = equity_paths_reference(market, rules, np.array([0]), TensorPlan(aim), money=1.0).equity
    (first,) = torch.autograd.grad(equity[0, -1].log(), aim, create_graph=True)
    (second,) = torch.autograd.grad(first.pow(2).sum(), aim)
    assert torch.isfinite(second).all()
    assert second.abs().sum() > 0


@pytest.mark.parametrize("sizing", ["pre_fee", "post_fee"])
def test_risk_can_be_charged_on_what_is_held(sizing):
    """Gradients of wealth less x'Σx less quadratic costs agree to 1e-12, with closed symbols, bands, rates and ruin."""
    rng = np.random.default_rng(4)
    bars = samples.gappy_bars(rng, 30, 3, 0.1, delist=True)
    costs = Costs(commission=0.001, quadratic=0.03, financing_rate=0.1)
    market, rules = make_market(bars, costs, Execution(sizing=sizing, borrowing=True, gross=np.inf, cash=1e4))
    aim = rng.normal(0, 0.7, (4, 30, 3))
    aim[0] *= 30  # ruined
    plan = [
        torch.tensor(p, requires_grad=True) for p in (aim, rng.uniform(0, 0.2, aim.shape), rng.uniform(0, 1, aim.shape))
    ]
    factor = torch.tensor(rng.normal(0, 0.02, (3, 3)))
    fill, results = torch.tensor(market.fill), []
    for function in (equity_paths, equity_paths_reference):
        equity, shares = function(market, rules, np.zeros(4, dtype=np.int64), TensorPlan(*plan), money=1e4)
        held = shares[:, 1:] * fill[:-1] / equity[:, :-1, None]
        risk = (held @ factor).pow(2).sum(-1)
        utility = (equity.diff(dim=1) / 1e4 - 2.5 * torch.where(equity[:, :-1] > 0, risk, 0.0)).sum()
        results.append((utility.detach(), *torch.autograd.grad(utility, plan)))
    assert (equity[:, -1] > 0).tolist() == [False, True, True, True]
    for found, other in zip(*results, strict=True):
        np.testing.assert_allclose(found, other, rtol=1e-12, atol=1e-12)
        assert found.abs().max() > 1e-3


def test_holdings_alone_have_a_gradient():
    """A loss on holdings alone gives the right gradient, without one from the unused equity."""
    bars = samples.regime_bars(4, 1, seed=0)
    market, rules = make_market(bars, Costs(), Execution(cash=1.0))
    aim = torch.full((1, 4, 1), 0.5, dtype=torch.float64, requires_grad=True)
    _, shares = equity_paths(market, rules, np.array([0]), TensorPlan(aim), money=1.0)
    (found,) = torch.autograd.grad(shares[0, 1, 0], aim)
    np.testing.assert_allclose(found.ravel(), [1 / market.fill[0, 0], 0, 0, 0], rtol=1e-15)


def test_the_reference_has_second_derivatives_of_holdings_and_quadratic_costs(bars):
    market, rules = make_market(bars, Costs(commission=0.001, quadratic=0.05), Execution(sizing="post_fee", cash=1.0))
    aim = torch.tensor(np.random.default_rng(0).uniform(0.05, 0.3, (1, 3, 2)), requires_grad=True)
    market = market._replace(**{x: getattr(market, x)[:, :2] for x in ("fill", "open", "mark")})

    def paths(aim):
        return equity_paths_reference(market, rules, np.array([9]), TensorPlan(aim), money=1.0)

    assert torch.autograd.gradgradcheck(paths, aim)


def test_whole_lots_have_no_derivative(bars):
    market, rules = make_market(bars, Costs(), Execution(sizing="whole_lots"))
    for function in (equity_paths, equity_paths_reference):
        with pytest.raises(ValueError, match="no derivative"):
            function(market, rules, np.array([0]), TensorPlan(torch.zeros(1, 5, 3)), money=1.0)
