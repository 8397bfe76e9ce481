"""Rewards of CEILINGS.md within Monte Carlo error, and the order of the ladder in every family."""

import dataclasses

import numpy as np
import pytest

from markets.synthetic import FAMILIES, DriftMomentum, GarleanuPedersen, HiddenMarkov, LinearCost
from strategies.ladder import ladder
from strategies.optimal import LinearCostOptimum


def agrees(table, row, value, error=0.0):
    """Within four standard errors, ours and the reference value's combined."""
    allowed = 4 * np.hypot(table.loc[row, "error"], error)
    assert table.loc[row, "reward"] == pytest.approx(value, abs=allowed), row


def test_drift_momentum():
    """Parameters known 0.0269 and Bayes filter 0.0204, from 4,096 episodes with a standard error of 0.0004."""
    table = ladder(DriftMomentum(), 8000, seed=1)
    agrees(table, "parameters known", 0.0269, 0.0004)
    agrees(table, "Bayes filter", 0.0204, 0.0004)


@pytest.mark.parametrize(
    ("mean", "stay", "cost", "known", "filtered", "sign", "hindsight"),
    [(0.1, 0.99, 0.1, 0.098, 0.03130, 0.02393, 0.71), (0.2, 0.99, 0.1, 0.198, 0.11103, 0.10678, 0.72),
     (0.1, 0.995, 0.5, 0.095, 0.03848, 0.00906, 0.47)],
)  # fmt: skip
def test_hidden_markov(mean, stay, cost, known, filtered, sign, hindsight):
    """4 million bars, without the first 200 of each 10,000; only the values of hindsight have errors of their own."""
    table = ladder(HiddenMarkov(mean, stay, cost, length=10_000), 400, seed=2, skip=200)
    agrees(table, "filter", filtered)
    agrees(table, "sign of the belief", sign)
    agrees(table, "next state known", known)
    agrees(table, "hindsight", hindsight, 0.00125)


def test_linear_cost():
    family = LinearCost(length=5000)
    agrees(ladder(family, 200, seed=3, skip=500), "threshold", LinearCostOptimum(family).value)


def test_garleanu_pedersen():
    agrees(ladder(GarleanuPedersen(), 2000, seed=3, skip=100), "partial adjustment", 0.0077616)


@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_the_ladder_holds(family):
    """Hindsight ≥ oracle (hidden state known) ≥ optimum ≥ every fixed rule, on the same episodes."""
    table = ladder(dataclasses.replace(family, length=min(family.length, 500)), 1000, seed=4, skip=50)
    ceiling = table.index[table["of ceiling"] == 1][0]
    top = table.index.get_loc(ceiling)
    assert (-np.diff(table["reward"])[: top + 1] > 0).all()
    assert table["reward"].iloc[top + 1 :].max() < table.loc[ceiling, "reward"]


def test_a_ladder_is_seeded():
    one, two = (ladder(DriftMomentum(length=20), 50, seed=5) for _ in range(2))
    assert one.equals(two)
