import numpy as np
import pytest
import samples
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from markets import InputError
from markets.accounting.costs import Costs, Execution
from markets.accounting.differentiable import equity_paths
from markets.accounting.market import make_market
from strategies import Pool, PortfolioPolicy, PortfolioSettings
from strategies.portfolio import PortfolioInputs, estimate
from strategies.portfolio.layers import minimum_variance

SMALL = Pool(volatilities=(3, 8), correlations=(5, 15), window=25, shortest=6)
KINDS = [
    {"kind": "minimum_variance", "exposure": "target"},
    {"kind": "risk_parity", "exposure": "target", "limit": 2.0},
    {"kind": "inverse_volatility"},
    {"kind": "equal_weight", "exposure": "target"},
    {"kind": "mean_variance", "signal": "trend", "exposure": "target", "limit": 2.0, "volatility": 0.2},
    {"kind": "mean_variance", "signal": "long", "exposure": "target", "limit": 3.0},
]


def trained(seed: int = 0, std: float = 0.3, **options) -> PortfolioPolicy:
    """A policy with random parameters."""
    generator = torch.Generator().manual_seed(seed)
    policy = PortfolioPolicy(PortfolioSettings(pool=SMALL, **options))
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter += std * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return policy


def decided(policy: PortfolioPolicy, bars):
    found = estimate(bars, policy.settings.pool)
    return found, policy.decide(found, torch.arange(len(found)))


def test_an_untrained_policy_is_the_static_pool():
    bars = samples.regime_bars(200, 4, seed=0)
    policy = PortfolioPolicy(PortfolioSettings(pool=SMALL))
    found, decisions = decided(policy, bars)
    np.testing.assert_allclose(decisions.volatility_gate.detach(), 0.5)
    np.testing.assert_allclose(decisions.correlation_gate.detach(), 0.5)
    level = np.sqrt(found.variance.mean(axis=1))
    pooled = found.correlation.mean(axis=1)
    mean = (pooled.sum(axis=(1, 2)) - 4) / 12
    shares = np.exp([0, -2.2, -4.0]) / np.exp([0, -2.2, -4.0]).sum()
    correlation = shares[0] * pooled + shares[1] * mean[:, None, None]
    correlation[:, range(4), range(4)] = 1.0
    covariance = torch.from_numpy(level[:, :, None] * level[:, None] * correlation)
    expected = minimum_variance(covariance, torch.from_numpy(found.known))
    np.testing.assert_allclose(decisions.weights.detach(), expected, atol=1e-12)
    np.testing.assert_allclose(decisions.band.detach(), np.log1p(np.exp(-3.0)) / 4)


@given(seed=st.integers(0, 2**32 - 1), kind=st.sampled_from(KINDS))
@settings(max_examples=40)
def test_limits_hold_whatever_was_learnt(seed, kind):
    bars = samples.gappy_bars(np.random.default_rng(seed), 60, 4)
    policy = trained(seed % 1000, 2.0, **kind)
    found, decisions = decided(policy, bars)
    weights = decisions.weights.detach().numpy()
    assert np.isfinite(weights).all()
    assert (np.abs(weights).sum(axis=1) <= policy.settings.limit * (1 + 1e-12)).all()
    assert not weights[~found.known].any()
    assert (decisions.band >= 0).all()
    if policy.settings.volatility is not None:
        level = torch.from_numpy(np.sqrt(found.variance))
        pooled = (decisions.volatility_gate[:, :, None] * level**2).sum(1).sqrt()
        correlation = (decisions.correlation_gate[:, :, None, None] * torch.from_numpy(found.correlation)).sum(1)
        eye = torch.eye(4, dtype=torch.float64)
        both = torch.from_numpy(found.known[:, :, None] & found.known[:, None])
        pairs = torch.from_numpy(np.maximum(found.known.sum(1) * (found.known.sum(1) - 1), 1))
        mean = ((correlation * (1 - eye)).sum((1, 2)) / pairs)[:, None, None]
        shares = decisions.shares[:, :, None, None]
        correlation = torch.where(both, (1 - eye) * (shares[:, 0] * correlation + shares[:, 1] * mean), 0.0) + eye
        risky = decisions.weights * pooled
        ex_ante = (risky[:, :, None] * correlation * risky[:, None]).sum((1, 2)).sqrt()
        assert (ex_ante <= policy.settings.volatility * (1 + 1e-9)).all()
    if not policy.settings.follows:
        assert (weights >= 0).all()


def test_a_gate_goes_where_it_is_sent():
    bars = samples.regime_bars(200, 3, seed=1)
    policy = PortfolioPolicy(PortfolioSettings(pool=SMALL))
    with torch.no_grad():
        policy.volatility.slope[1] = -3.0  # short half-lives where short volatility is above the long one
    found, decisions = decided(policy, bars)
    short = decisions.volatility_gate[:, 0].detach().numpy()
    assert np.corrcoef(short, found.state[:, 0])[0, 1] > 0.9
    frozen = PortfolioPolicy(PortfolioSettings(pool=SMALL, adapts=False))
    frozen.load_state_dict(policy.state_dict())
    np.testing.assert_allclose(decided(frozen, bars)[1].volatility_gate.detach(), 0.5)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_learnt_counts_when_the_factor_is_zero(kind):
    bars = samples.regime_bars(120, 3, seed=2)
    policy, fresh = trained(**kind), PortfolioPolicy(PortfolioSettings(pool=SMALL, **kind))
    policy.shrink.fill_(0.0)
    for one, other in zip(decided(policy, bars)[1], decided(fresh, bars)[1], strict=True):
        np.testing.assert_allclose(one.detach(), other.detach(), atol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
def test_a_universe_hides_the_other_symbols(kind):
    """As if there were no others, but for the market's state, which is everyone's."""
    bars = samples.regime_bars(120, 5, seed=3)
    policy, few = trained(**kind), [1, 2, 4]
    for name in ("slope", "trust"):
        for gate in (policy.volatility, policy.correlation, policy.trend):
            getattr(gate, name).data.zero_()
    policy.constant.data[1:] = 0.0
    policy.tide.data.zero_()
    alone = bars.select([bars.symbols[i] for i in few])
    expected = decided(policy, alone)[1]
    found = estimate(bars, SMALL)
    rows = torch.arange(len(found))
    seen = policy.decide(found, rows, torch.tensor([few]).expand(len(found), -1))
    np.testing.assert_allclose(seen.weights.detach(), expected.weights.detach(), atol=1e-10)
    np.testing.assert_allclose(seen.band.detach(), expected.band.detach(), atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_through_the_account_are_those_of_finite_differences(kind):
    bars = samples.regime_bars(150, 4, seed=4)
    policy = trained(**kind)
    inputs = PortfolioInputs(policy.settings, bars)
    rows = torch.arange(60, 110)[None] + torch.tensor([[0], [30]])
    parts = inputs.along(rows, rows[:, 10].numpy(), None)
    market, rules = make_market(bars, Costs.parse("10bp"), Execution(fill="next_close", gross=3.0, borrowing=True))
    weights = torch.from_numpy(np.random.default_rng(0).normal(size=50))

    def earned():
        plan = policy(*parts, **inputs.options)
        equity = equity_paths(market, rules, rows[:, 0].numpy(), plan, money=1e6).equity
        growth = (equity / 1e6).log()
        return (growth * weights).sum() - 20 * (growth.diff(dim=1) ** 2).sum()

    earned().backward()
    some = 0
    for name, parameter in policy.named_parameters():
        if parameter.grad is None:
            continue
        for i in range(parameter.numel()):
            value, step = parameter.data.view(-1), 1e-6
            start = value[i].item()
            value[i] = start + step
            above = earned().item()
            value[i] = start - step
            below = earned().item()
            value[i] = start
            slope = (above - below) / (2 * step)
            assert parameter.grad.view(-1)[i].item() == pytest.approx(slope, rel=1e-4, abs=2e-7), name
            some += abs(slope) > 1e-6
    assert some >= (2 if kind["kind"] in ("equal_weight", "inverse_volatility") else 5)


def test_a_path_starts_at_its_aim_and_holds_what_was_decided():
    bars = samples.regime_bars(150, 3, seed=5)
    policy = trained()
    inputs = PortfolioInputs(policy.settings, bars)
    rows = torch.arange(52, 72)[None]
    plan = policy(*inputs.along(rows, np.array([55]), None), **inputs.options)
    found, decisions = decided(policy, bars)
    last = found.before(rows[0].numpy())
    np.testing.assert_array_equal(plan.aim[0].detach(), decisions.weights.detach()[last])
    assert not plan.band[0, 0].any()
    np.testing.assert_array_equal(plan.band[0, 1:].detach(), decisions.band.detach()[last[1:]])


def test_frozen_estimates_are_those_of_the_last_decision_before_the_cut():
    bars = samples.regime_bars(150, 3, seed=6)
    policy = trained(adapts=False)
    inputs = PortfolioInputs(policy.settings, bars)
    rows = torch.arange(52, 72)[None] + torch.tensor([[0], [40]])
    plan = policy(*inputs.along(rows, np.array([60, 101]), None), **inputs.options)
    found, decisions = decided(policy, bars)
    for path, cut in enumerate((60, 101)):
        d = found.before(cut - 1)
        assert found.rows[d] < cut
        expected = np.broadcast_to(decisions.weights[d].detach(), (20, 3))
        np.testing.assert_array_equal(plan.aim[path].detach(), expected)


def test_before_there_is_a_decision_nothing_is_held():
    bars = samples.regime_bars(60, 3, seed=7)
    for adapts in (True, False):
        policy = PortfolioPolicy(PortfolioSettings(pool=SMALL, adapts=adapts))
        inputs = PortfolioInputs(policy.settings, bars)
        rows = torch.arange(12)[None]
        plan = policy(*inputs.along(rows, np.array([3]), None), **inputs.options)
        assert not plan.aim[0, :5].any()
        assert plan.aim[0, 5:].any() == adapts


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "maximum_luck"}, "kind 'maximum_luck' is unknown"),
        ({"exposure": "much"}, "exposure 'much' is unknown"),
        ({"signal": "tea leaves"}, "signal 'tea leaves' is unknown"),
        ({"kind": "mean_variance"}, "have no given sum"),
        ({"volatility": -1.0}, "volatility is -1.0"),
        ({"target": 0.0}, "target is 0.0"),
        ({"limit": np.inf}, "limit inf"),
        ({"shrink": 2.0}, "shrink is 2.0"),
    ],
)
def test_settings_are_checked(options, message):
    with pytest.raises(InputError, match=message):
        PortfolioSettings(**options)


def test_a_frozen_policy_of_trends_follows_them_with_frozen_risk():
    bars = samples.regime_bars(330, 3, seed=8)
    pool = Pool(volatilities=(3, 8), correlations=(5, 15), window=260, shortest=6)
    policy = PortfolioPolicy(
        PortfolioSettings(kind="mean_variance", signal="trend", exposure="target", limit=9.0, adapts=False, pool=pool)
    )
    inputs = PortfolioInputs(policy.settings, bars)
    rows = torch.arange(290, 320)[None]
    aim = policy(*inputs.along(rows, np.array([300]), None), **inputs.options).aim[0].detach().numpy()
    found = estimate(bars, pool)
    d, e = int(found.before(299)), int(found.before(319))
    assert found.rows[d] < 300 <= found.rows[e]
    signal = found.trend[e].mean(axis=0) / np.sqrt(3)
    level = np.sqrt(found.variance[d].mean(axis=0))
    pooled = found.correlation[d].mean(axis=0)
    shares = np.exp([0, -2.3, -0.1]) / np.exp([0, -2.3, -0.1]).sum()
    correlation = shares[0] * pooled + shares[1] * (pooled.sum() - 3) / 6
    np.fill_diagonal(correlation, 1.0)
    np.testing.assert_allclose(aim[-1], 0.1 * np.linalg.solve(correlation, signal) / level)
