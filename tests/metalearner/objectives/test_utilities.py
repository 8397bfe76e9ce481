import math

import numpy as np
import pytest
import torch

from markets import InputError
from metalearner.objectives.utilities import (
    DifferentialSharpe,
    DrawdownPenalised,
    HeldRisk,
    LogWealth,
    MeanVariance,
    PowerUtility,
    Utility,
)

UNIT = torch.full((1, 1), 0.5, dtype=torch.float64)


def path(*growth):
    return torch.tensor([growth], dtype=torch.float64), torch.ones(1, len(growth), dtype=torch.bool)


def test_log_wealth_is_growth_in_units():
    assert LogWealth()(*path(0.1, 0.3), UNIT).item() == pytest.approx(0.4)


def test_mean_variance_counts_what_is_counted():
    growth, counted = path(0.5, 1.0, 50.0)
    counted[0, 2] = False
    assert MeanVariance(0.5)(growth, counted, UNIT).item() == pytest.approx((1 + 2) / 2 - 0.25 * (1 + 4) / 2)


def test_power_utility_by_its_formula():
    expected = np.mean([(math.exp(-2 * g) - 1) / -2 for g in (0.1, -0.2)]) / 0.5
    assert PowerUtility(3.0)(*path(0.1, -0.2), UNIT).item() == pytest.approx(expected)
    assert PowerUtility(3.0)(*path(0.1, -0.1), UNIT) < LogWealth()(*path(0.1, -0.1), UNIT)


def test_differential_sharpe_by_its_recursion():
    """Agrees with Moody and Saffell's recursion, bar by bar."""
    rng, decay = np.random.default_rng(0), 0.1
    z = rng.normal(0.1, 1, 12)
    a, b, found = 0.0, 1.0, []
    for x in z:
        found.append((b * (x - a) - 0.5 * a * (x**2 - b)) / (b - a**2) ** 1.5)
        a, b = a + decay * (x - a), b + decay * (x**2 - b)
    assert DifferentialSharpe(decay)(*path(*(0.5 * z)), UNIT).item() == pytest.approx(np.mean(found))


def test_drawdown_is_from_the_highest_since_judging_began():
    growth, counted = path(5.0, 0.5, -1.0, 0.25)
    counted[0, 0] = False
    wealth = np.array([1.0, -1.0, -0.5])
    drawdown = np.maximum.accumulate(np.append(0, wealth))[1:] - wealth
    expected = np.mean([1, -2, 0.5]) - 0.1 * drawdown.mean()
    assert DrawdownPenalised(0.1)(growth, counted, UNIT).item() == pytest.approx(expected)


def test_held_risk_is_charged_on_what_is_held():
    growth, counted = path(0.1, 0.2)
    weights = torch.tensor([[[1.0, 2.0], [0.0, 3.0]]], dtype=torch.float64)
    expected = np.mean([math.expm1(0.1) / 0.5 - 0.5 * 2 * 0.01 * 5, math.expm1(0.2) / 0.5 - 0.5 * 2 * 0.01 * 9])
    assert HeldRisk(2.0, 0.01)(growth, counted, UNIT, weights).item() == pytest.approx(expected)


@pytest.mark.parametrize(
    "utility", [LogWealth(), MeanVariance(), PowerUtility(), DifferentialSharpe(), DrawdownPenalised()]
)
def test_gradients_are_those_of_finite_differences(utility):
    growth = (torch.randn(2, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 0.3).requires_grad_()
    counted, unit = torch.ones(2, 6, dtype=torch.bool), torch.full((2, 1), 0.5, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda g: utility(g, counted, unit), growth)
    assert Utility.kinds[type(utility).__name__] is type(utility)


@pytest.mark.parametrize(("kind", "value"), [(PowerUtility, 0.0), (DifferentialSharpe, 1.0), (DrawdownPenalised, -1.0)])
def test_what_makes_no_sense_is_refused(kind, value):
    with pytest.raises(InputError, match="utility: "):
        kind(value)
