import numpy as np
import pytest
import torch
from policies import FEATURES, random_strategy

from backtests.explain import counterfactual
from markets import InputError
from strategies import Blend, EqualWeight, InverseVolatility, Policy, PolicySettings, PolicyStrategy, WeightLimit


def linear(weights: np.ndarray, bias: float = 0.0, **settings) -> PolicyStrategy:
    """A policy whose tilt is tanh of a sum of the symbol's features at the last bar."""
    policy = Policy(PolicySettings(memory="none", layers=0, trades="at_once", features=FEATURES, **settings))
    with torch.no_grad():
        policy.body.last.weight.zero_()
        policy.body.last.weight[0, : len(weights)] = torch.from_numpy(weights).float()
        policy.body.last.bias[0] = bias
    return PolicyStrategy(policy.eval(), 1, "linear")


@pytest.mark.parametrize("settings", [{"base": "flat"}, {"tilt": "position"}], ids=str)
def test_the_nearest_point_of_a_plane_is_known(bars, settings):
    """For w·x the distance to the plane is |w·x| / |σ w|, and the change is along σ² w."""
    w = np.array([0.3, -0.2, 0.1, 0.4, 0.05])
    past = FEATURES.compute(bars[-round(bars.bars_per_year) :])[:, 0]
    sigma, x = past.std(axis=0), past[-1]
    found = counterfactual(linear(w, **settings), bars, "S0")
    # with a base as large as its budget, b, the weight is b (1 − |τ| + τ), which is 0 where τ is −1/2
    level = np.arctanh(-0.5) if "tilt" in settings else 0.0
    expected = (level - w @ x) * sigma * w / ((sigma * w) @ (sigma * w))
    np.testing.assert_allclose(found.deviations, expected, rtol=0, atol=2e-3)
    assert found.distance == pytest.approx(np.linalg.norm(expected), rel=1e-4)
    np.testing.assert_allclose(found.was, x)
    np.testing.assert_allclose(found.would, x + sigma * found.deviations)
    assert found.turns == "the position"
    assert found.turned * found.weight <= 0
    assert abs(found.turned) < 1e-6  # it just turns


def test_a_tilt_turns_where_the_weight_crosses_the_base(bars):
    strategy = linear(np.array([0.0, 0.0, 0.5, 0.0, 0.0]))
    found = counterfactual(strategy, bars, "S1")
    assert found.turns == "the tilt"
    base = InverseVolatility(63).plan(bars[-1:]).aim[0, 1]
    assert (found.turned - base) * (found.weight - base) <= 0
    assert found.turned == pytest.approx(base, abs=1e-6)


@pytest.mark.parametrize(
    "settings", [{"context": 6}, {"memory": "transformer", "context": 6}, {"base": "flat", "context": 3}], ids=str
)
def test_what_is_found_turns_and_nothing_nearer_does(bars, settings):
    """Against a thousand random changes that are a tenth smaller."""
    from backtests.explain.counterfactual import _Varied

    strategy = random_strategy(4, **settings)
    found = counterfactual(strategy, bars, "S2")
    varied = _Varied(strategy, bars, 2)
    now = varied.margin(torch.zeros(1, 5, dtype=torch.float64)).item()
    assert varied.margin(torch.from_numpy(found.deviations)[None]).item() * now <= 0
    rng = np.random.default_rng(1)
    other = rng.standard_normal((1000, 5))
    other *= 0.9 * found.distance / np.linalg.norm(other, axis=1, keepdims=True)
    with torch.no_grad():
        assert (varied.margin(torch.from_numpy(other)) * now > 0).all()
    assert counterfactual(strategy, bars, "S2").distance == found.distance  # the same each time


def test_a_blend_turns_as_a_whole(bars):
    one, two = random_strategy(1, base="flat", context=2), random_strategy(2, base="flat", context=4)
    blend = WeightLimit(Blend([one, two]), 0.05)
    found = counterfactual(blend, bars, "S0")
    weight = np.mean([part.plan(bars[-1:]).aim[0, 0] for part in (one, two)])
    assert found.weight == pytest.approx(weight, abs=1e-9)  # before limits
    assert abs(found.turned) < 1e-6


def test_there_may_be_none(bars):
    assert counterfactual(linear(np.full(5, 1e-3), bias=2.0, base="flat"), bars, "S0") is None
    assert counterfactual(linear(np.zeros(5)), bars, "S0") is None  # the base is held
    assert counterfactual(EqualWeight(), bars, "S0") is None
    with pytest.raises(InputError, match="largest is 0"):
        counterfactual(EqualWeight(), bars, "S0", largest=0)
    with pytest.raises(InputError, match=r"no symbol 'X'; it trades S0"):
        counterfactual(EqualWeight(), bars, "X")
