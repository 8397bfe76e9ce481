import json
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import samples
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from markets import Costs, InputError, TaskSet, Uncertainty
from markets.synthetic import Perturbation
from markets.synthetic.uncertainty import trailing_volatility
from metalearner import (
    MAML,
    RL2,
    Across,
    AdaptiveRisk,
    CertaintyEquivalent,
    CVaR,
    Inner,
    LogWealth,
    Pathwise,
    Reptile,
    SoftMin,
    Training,
    Universe,
    WorstCase,
    load_meta,
)
from metalearner.learners.rl2 import QueryUtility
from metalearner.objectives.pathwise import WindowSampler
from metalearner.objectives.worst_case import GroupWeights
from strategies import Policy, PolicySettings
from strategies.networks import named_params

MEANS = arrays(np.float64, st.integers(2, 12), elements=st.floats(-1, 1, width=32)).map(torch.from_numpy)
DISTANCE = Uncertainty(shift=0.05, volatility=1.5, costs=3.0)


@given(MEANS, st.floats(0.01, 1))
def test_cvar_is_the_least_of_rockafellar_and_uryasev(means, level):
    weights = CVaR(level).weights(means)
    assert (weights >= 0).all()
    assert weights.sum().item() == pytest.approx(1)
    assert weights.max().item() <= 1 / min(max(level * len(means), 1), len(means)) + 1e-12
    # max over a of a − mean (a − m)⁺ / α is at one of the means
    best = max((a - (a - means).clamp(min=0).mean() / level).item() for a in means)
    assert (weights * means).sum().item() == pytest.approx(best, abs=1e-9)


@given(MEANS)
def test_limits_are_the_mean_and_the_minimum(means):
    even = torch.full_like(means, 1 / len(means))
    torch.testing.assert_close(CVaR(1.0).weights(means), even)
    torch.testing.assert_close(SoftMin(1e9).weights(means), even)
    for worst in (CVaR(1e-3), SoftMin(1e-9)):
        assert (worst.weights(means) * means).sum().item() == pytest.approx(means.min().item(), abs=1e-6)
    soft = [(SoftMin(t).weights(means) * means).sum().item() for t in (0.01, 0.1, 1.0, 10.0)]
    assert (np.diff(soft) >= -1e-12).all()


@given(MEANS, st.floats(0.1, 2))
def test_the_gradient_of_a_soft_minimum_is_its_weights(means, temperature):
    at = means.clone().requires_grad_()
    value = -temperature * (torch.logsumexp(-at / temperature, 0) - np.log(len(means)))
    (gradient,) = torch.autograd.grad(value, at)
    torch.testing.assert_close(SoftMin(temperature).weights(means), gradient)


@given(st.lists(st.integers(0, 3), min_size=2, max_size=30), st.integers(0, 2**32 - 1))
def test_tasks_are_weighed_by_their_groups(group, seed):
    utility = torch.from_numpy(np.random.default_rng(seed).standard_normal(len(group)))
    at, met = torch.tensor(group), sorted(set(group))
    for worst in (CVaR(0.3), SoftMin(0.5), CVaR(1.0)):
        weights = GroupWeights(worst, 4).tasks(utility, np.array(group))
        assert weights.mean().item() == pytest.approx(1)
        means = torch.stack([utility[at == k].mean() for k in met])
        wanted = (worst.weights(means) * means).sum()
        torch.testing.assert_close((weights * utility).mean(), wanted)
        for k in met:
            assert len(set(weights[at == k].tolist())) == 1


def test_the_means_of_groups_run_over_the_last_updates():
    """One unlucky update moves the weights little; and a group that is worse for long has them."""
    means = GroupWeights(CVaR(0.5), 2)
    group = np.array([0, 0, 1])
    for utility, worst in [([1.0, 1.0, 0.0], 1)] * 10 + [([0.0, 0.0, 2.0], 1)] * 2 + [([0.0, 0.0, 2.0], None)] * 8:
        weights = means.tasks(torch.tensor(utility), group)
        assert worst is None or (weights[worst] == 0, weights[2] > 0) == (True, True)
    assert weights[0] > 0 == weights[2]
    assert means.tasks(torch.tensor([5.0]), np.array([0])).tolist() == [1.0]  # of an update without the other group


@pytest.fixture(scope="module")
def policy():
    torch.manual_seed(0)
    policy = Policy(PolicySettings(memory="none")).eval()
    for parameter in policy.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return policy


@pytest.fixture(scope="module")
def perturbed(tasks):
    return Across.perturbed(tasks[0], DISTANCE)


def loss_and_gradient(objective, tasks, policy, rng=0):
    sampler = objective.sampler(tasks, policy, 20)
    batch = sampler.sample(np.random.default_rng(rng), 6, 1.0)
    policy.zero_grad()
    (loss,) = QueryUtility(policy, sampler).losses(batch, len(batch), np.random.default_rng(0))
    loss.backward()
    return loss.item(), torch.cat([p.grad.flatten() for p in policy.parameters() if p.grad is not None])


def test_the_worst_of_all_groups_is_the_mean(perturbed, policy):
    value, gradient = loss_and_gradient(Pathwise(worst_case=CVaR(1.0)), perturbed, policy)
    plain = loss_and_gradient(Pathwise(), perturbed, policy)
    assert value == pytest.approx(plain[0], rel=1e-12)
    torch.testing.assert_close(gradient, plain[1], rtol=1e-5, atol=1e-9)


def test_the_gradient_of_the_worst_copy_is_that_of_its_tasks_alone(perturbed, policy):
    sampler = Pathwise().sampler(perturbed, policy, 20)
    batch = sampler.sample(np.random.default_rng(0), 6, 1.0)
    params = named_params(policy)
    with torch.no_grad():
        found = sampler.utility(policy, params, sampler.collect(policy, params, batch, "query", None))
    worst = int(found.reshape(4, 6).mean(1).argmin())
    value, gradient = loss_and_gradient(Pathwise(worst_case=CVaR(0.25)), perturbed, policy)
    assert value == pytest.approx(-found.reshape(4, 6)[worst].mean().item())
    policy.zero_grad()
    ids = batch[6 * worst : 6 * worst + 6]
    (-sampler.utility(policy, params, sampler.collect(policy, params, ids, "query", None)).mean()).backward()
    alone = torch.cat([p.grad.flatten() for p in policy.parameters() if p.grad is not None])
    torch.testing.assert_close(gradient, alone, rtol=1e-4, atol=1e-8)


def test_copies_have_the_same_tasks_and_the_values_of_each_market(perturbed, tasks, policy):
    """Also through a memory, whose steps all copies take together."""
    torch.manual_seed(0)
    for each in (policy, Policy(PolicySettings(hidden=4)).eval()):
        sampler = Pathwise().sampler(perturbed, each, 20)
        batch = sampler.sample(np.random.default_rng(0), 6, 1.0)
        one = batch.parts[0]
        assert len(batch) == 24
        for part in batch.parts:
            np.testing.assert_array_equal(part.task_ids, one.task_ids)
            np.testing.assert_array_equal(part.universe, one.universe)
        params = named_params(each)
        with torch.no_grad():
            found = sampler.utility(each, params, sampler.collect(each, params, batch, "query", None)).reshape(4, 6)
            for k, universe in enumerate(perturbed.universes):
                objective = replace(Pathwise(), costs=Costs.parse("10bp").scaled(universe.market.costs))
                alone = WindowSampler(objective, universe.tasks, each.settings, 20, 0, universe.market.shift)
                value = alone.utility(each, params, alone.collect(each, params, one, "query", None))
                torch.testing.assert_close(found[k], value, rtol=1e-6, atol=1e-9)
        whole = loss_and_gradient(Pathwise(worst_case=SoftMin(0.1)), perturbed, policy)
        assert whole[0] == loss_and_gradient(Pathwise(worst_case=SoftMin(0.1)), perturbed, policy)[0]


def test_the_first_copy_is_the_market_that_was_seen(perturbed, tasks):
    first = perturbed.universes[0]
    assert first.tasks.bars.hash == tasks[0].bars.hash
    assert first.market == Perturbation()
    for universe in perturbed.universes:
        assert [(t.start, t.cut, t.stop) for t in universe.tasks] == [(t.start, t.cut, t.stop) for t in tasks[0]]
        assert universe.tasks.bars.past == tasks[0].bars.past


@given(st.floats(1, 5), st.integers(0, 2**32 - 1))
def test_a_shock_charges_its_multiple_of_the_costs(factor, seed):
    bars = samples.regime_bars(300, 2, seed=0)
    tasks = TaskSet.from_windows(bars, support=20, query=30, warmup=0)
    (dear,) = Across((Universe(tasks, "2bp", market=Perturbation(costs=factor)),)).universes
    costs = Pathwise()._of(dear).costs
    assert costs.commission == factor * 2e-4
    rng = np.random.default_rng(seed)
    value, equity = rng.normal(size=5) * 1e4, np.full(5, 1e6)
    for mine, plain in zip(
        Costs(commission=1e-3, fixed=2.0, quadratic=0.1).scaled(factor).parts(value, 0.0, equity).values(),
        Costs(commission=1e-3, fixed=2.0, quadratic=0.1).parts(value, 0.0, equity).values(),
        strict=True,
    ):
        np.testing.assert_allclose(mine, factor * plain, rtol=1e-12)


@dataclass(frozen=True)
class VolatilityHeld(LogWealth):
    """Volatilities of what is held, per bar."""

    volatility: torch.Tensor
    reads_weights: ClassVar[bool] = True

    def __call__(self, growth, counted, unit, weights=None):
        held = (weights.abs() * self.volatility).sum(-1)
        return torch.where(counted, held, 0.0).sum(1) / counted.sum(1)


def test_a_drift_against_the_position_takes_its_share_of_the_volatility_held(tasks, policy):
    """Once the curriculum is over; at first, like trading, it costs nothing."""
    objective, params = Pathwise(utility=LogWealth(), unit=1.0), named_params(policy)

    def utility(objective, share, shift):
        sampler = WindowSampler(objective, tasks[0], policy.settings, 20, 0, shift)
        windows = sampler.collect(policy, params, replace(sampler.all_tasks(), cost_share=share), "query")
        with torch.no_grad():
            return sampler.utility(policy, params, windows), windows

    for share in (0.0, 1.0):
        (plain, windows), (adverse, _) = utility(objective, share, 0.0), utility(objective, share, 0.1)
        rows = windows.start[:, None] + np.arange(windows.counted.shape[1])
        volatility = torch.from_numpy(trailing_volatility(tasks[0].bars.with_past()))[rows]
        held, _ = utility(replace(objective, utility=VolatilityHeld(volatility)), share, 0.0)
        assert held.min() > 0
        torch.testing.assert_close(plain - adverse, share * 0.1 * held, rtol=0.05, atol=1e-8)


@pytest.mark.parametrize("kind", [RL2, MAML, Reptile])
def test_every_learner_trains_for_the_worst_case_and_goes_on_where_it_was(kind, perturbed, tasks, tmp_path):
    options = {"context": 20} if kind is RL2 else {"inner": Inner(steps=1, support=20)}
    training = Training(steps=4, batch=3, evaluate_every=2, evidence=None, keep="last")
    learner = kind(objective=Pathwise(worst_case=CVaR(0.25)), training=training, **options)
    whole = learner.fit(perturbed, tasks[1], progress=False)
    mean = replace(learner, objective=Pathwise()).fit(perturbed, tasks[1], progress=False)
    assert whole.fingerprint != mean.fingerprint
    assert learner.fit(perturbed, tasks[1], progress=False).fingerprint == whole.fingerprint

    class Stopped(Exception):
        pass

    def stop(metrics, step):
        if step == 2:
            raise Stopped

    path = tmp_path / "c.safetensors"
    with pytest.raises(Stopped):
        learner.fit(perturbed, tasks[1], checkpoint=path, log=stop, progress=False)
    resumed = learner.fit(perturbed, tasks[1], checkpoint=path, resume=True, progress=False)
    assert resumed.fingerprint == whole.fingerprint
    again = load_meta(whole.save(tmp_path / "m"))
    assert again.objective == whole.objective
    other = Across.perturbed(tasks[0], replace(DISTANCE, shift=0.1))
    with pytest.raises(InputError, match="other data"):
        learner.fit(other, tasks[1], checkpoint=path, resume=True, progress=False)


def test_several_universes_are_perturbed_each(tasks):
    other = TaskSet.from_windows(samples.regime_bars(900, 3, seed=8), support=40, query=30)
    both = Across.perturbed(Across((Universe(tasks[0], "1bp"), Universe(other))), DISTANCE, copies=3)
    assert [u.costs for u in both.universes] == ["1bp"] * 3 + [None] * 3
    training = Training(steps=1, batch=4, evaluate_every=1, evidence=None)
    learner = RL2(context=20, objective=Pathwise(worst_case=CVaR(0.5)), training=training)
    learner.fit(both, Across((Universe(tasks[1]), Universe(other))), progress=False)
    with pytest.raises(InputError, match="across 2 universes and validation across 0"):
        learner.fit(both, tasks[1], progress=False)
    late = replace(learner, training=replace(training, keep="last", on_validation=True))
    with pytest.raises(InputError, match="on_validation does not go with perturbed copies"):
        late.fit(both, Across((Universe(tasks[1]), Universe(other))), progress=False)


def test_a_portfolio_policy_is_trained_so_too(tasks):
    windows = TaskSet.from_windows(tasks[0].bars, support=10, query=60, warmup=130)
    training, validation = windows.split(validation=windows[-4].times[0])
    learner = AdaptiveRisk(objective=Pathwise(worst_case=SoftMin(0.1), utility=CertaintyEquivalent(), symbols=0))
    learner = replace(learner, policy=replace(learner.policy, exposure="target"))
    learner = replace(learner, training=replace(learner.training, steps=1, batch=2, on_validation=False))
    assert learner.fit(Across.perturbed(training, DISTANCE, 2), validation, progress=False).policy is not None


def test_of_one_market_the_groups_are_its_regimes(tasks, policy):
    sampler = (objective := Pathwise(worst_case=CVaR(0.01))).sampler(tasks[0], policy, 20)
    batch = sampler.all_tasks()
    utility = torch.arange(float(len(batch)))
    weights = sampler.weights(utility, batch)
    regimes = np.array([task.regime for task in tasks[0]])
    assert len(set(regimes)) > 1
    worst = min(set(regimes), key=lambda name: utility[torch.from_numpy(regimes == name)].mean())
    np.testing.assert_array_equal(weights.numpy() > 0, regimes == worst)
    windows = TaskSet.from_windows(tasks[0].bars, support=40, query=30)
    with pytest.raises(InputError, match="there is no worst one"):
        loss_and_gradient(objective, windows, policy)


def test_settings_are_checked_and_survive_json(perturbed):
    for wrong, message in (
        (lambda: replace(perturbed, copies=3), "4 universes cannot be 3 copies"),
        (lambda: CVaR(0), "level is 0"),
        (lambda: SoftMin(0), "temperature is 0"),
        (lambda: Pathwise(worst_case="cvar"), "worst_case is 'cvar'; it must be one of CVaR, SoftMin"),
        (lambda: WorstCase.parse("worst"), "write cvar:0.2 or softmin:0.01"),
        (lambda: WorstCase.parse("cvar:half"), "write cvar:0.2"),
    ):
        with pytest.raises(InputError, match=message):
            wrong()
    assert WorstCase.parse("cvar:0.3") == CVaR(0.3)
    assert WorstCase.parse("softmin:2") == SoftMin(2.0)
    for each in (Pathwise(), Pathwise(worst_case=CVaR(0.4)), Pathwise(worst_case=SoftMin(0.4))):
        assert Pathwise.from_dict(json.loads(json.dumps(each.to_dict()))) == each
    assert "worst_case" not in Pathwise().to_dict()  # as in earlier versions
