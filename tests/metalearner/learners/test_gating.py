import numpy as np
import pytest
import torch

from markets import Features, HiddenMarkovRegimes, TaskSet
from metalearner import CertaintyEquivalent, Pathwise
from metalearner.learners.gating import ExpertSampler, GateModule
from metalearner.learners.rl2 import QueryUtility
from strategies import Gate, Policy, PolicySettings, PolicyStrategy, RegimeGated
from strategies.networks import named_params

SETTINGS = PolicySettings(memory="none", hidden=4, features=Features.scaled(20), base_window=20)
OBJECTIVE = Pathwise(utility=CertaintyEquivalent(5.0))


def policy(seed):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        found = Policy(SETTINGS)
        for parameter in found.parameters():
            torch.nn.init.normal_(parameter, std=0.7)
    return found.eval()


@pytest.fixture(scope="module")
def experts():
    return policy(1), policy(2)


@pytest.fixture(scope="module")
def detector(bars):
    return HiddenMarkovRegimes(2, restarts=2).fit(bars[:700])


@pytest.fixture(scope="module")
def sampler(bars, experts, detector):
    tasks = TaskSet.from_windows(bars[:500], support=20, query=30, features=SETTINGS.features)
    return ExpertSampler(OBJECTIVE, tasks, experts, detector, 10)


def score(sampler, module):
    return QueryUtility(module, sampler).scores(np.random.default_rng(0))


@pytest.mark.parametrize("reads", [True, False])
def test_the_gradient_is_that_of_finite_differences(sampler, reads):
    module = GateModule(2, reads)
    with torch.no_grad():
        module.log_mix.add_(0.3)
    score(sampler, module).sum().backward()
    for name, parameter in module.named_parameters():
        for place in np.ndindex(*parameter.shape):
            around = []
            for step in (1e-4, -1e-4):
                with torch.no_grad():
                    parameter[place] += step
                    around.append(float(score(sampler, module).sum()))
                    parameter[place] -= step
            slope = (around[0] - around[1]) / 2e-4
            assert abs(float(parameter.grad[place]) - slope) < 1e-5 * max(1, abs(slope)), (name, place)


def test_the_score_is_that_of_the_strategy_that_is_deployed(sampler, bars, experts, detector):
    """What a gate is trained on is what `RegimeGated` trades, to the float32 of training."""
    gate = Gate(np.array([[1.0, 0.2], [0.1, 2.0]]), 1.5)
    strategy = RegimeGated(detector, [PolicyStrategy(each, 1) for each in experts], refit=False, warmup=1, gate=gate)
    rows, *inputs = sampler.inputs(sampler.collect(None, {}, sampler.all_tasks(), "query"))
    plan = GateModule.of(gate)(*inputs)
    expected = strategy.plan(bars[:500])
    np.testing.assert_allclose(plan.aim.detach().numpy(), expected.aim[rows.numpy()], atol=1e-5)
    np.testing.assert_allclose(plan.band.detach().numpy(), expected.band[rows.numpy()], atol=1e-5)


def test_costs_are_charged_in_full_from_the_first_step_on(sampler):
    assert sampler.sample(np.random.default_rng(0), 3, 0.0).cost_share == 1.0
    assert sampler.settled(0.0)


def test_a_module_holds_a_gate_and_gives_it_back(sampler):
    gate = Gate(np.array([[1.2, 0.2], [0.1, 0.5]]), 1.5, 0.25)
    found = GateModule.of(gate).gate()
    np.testing.assert_allclose(found.mix, gate.mix)
    assert (found.sharpness, found.share) == (pytest.approx(1.5), 0.25)
    constant = GateModule(2, reads=False)
    p = np.array([[0.1, 0.9], [1.0, 0.0]])
    np.testing.assert_array_equal(constant.gate().weights(p), [[0.5, 0.5]] * 2)
    again = GateModule.of(constant.gate())
    np.testing.assert_allclose(score(sampler, again).detach(), score(sampler, constant).detach(), atol=1e-12)


def test_without_a_share_it_is_the_identity_gate(sampler):
    module = GateModule(2)
    module.shrink.fill_(0.0)
    identity = score(sampler, GateModule.of(Gate.identity(2))).detach()
    assert torch.equal(score(sampler, module).detach(), identity)


def test_other_experts_are_other_tasks(sampler, bars, detector, experts):
    other = ExpertSampler(OBJECTIVE, sampler.tasks, experts[::-1], detector, 10)
    assert other.identity != sampler.identity
    again = ExpertSampler(OBJECTIVE, sampler.tasks, experts, detector, 10)
    assert again.identity == sampler.identity
    assert named_params(GateModule(3)).keys() == {"log_mix", "log_sharpness"}
