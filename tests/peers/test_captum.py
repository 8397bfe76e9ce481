"""Contributions are captum's integrated gradients, with its steps and ours."""

import time

import numpy as np
import pytest
import torch
from policies import random_strategy

from backtests.explain.attribution import integrate
from backtests.explain.decisions import Decisions

pytestmark = pytest.mark.peers


@pytest.mark.parametrize("settings", [{}, {"memory": "belief"}, {"base": "flat"}, {"memory": "transformer"}], ids=str)
def test_contributions_are_captums(bars, settings):
    captum = pytest.importorskip("captum.attr")
    strategy = random_strategy(3, context=8, **settings)
    decisions = Decisions(strategy, bars[-1:])
    features = len(decisions.features)

    def weights(seen: torch.Tensor) -> torch.Tensor:
        return decisions.aim(decisions.output(seen), torch.zeros(len(seen), dtype=torch.long))

    ours = integrate(decisions).parts[:, 0]
    method = captum.IntegratedGradients(weights)
    for column in range(len(bars.symbols)):
        found = method.attribute(decisions.seen, target=column, n_steps=400, internal_batch_size=100)[0].numpy()
        itself = found[column]  # (T, 2F)
        np.testing.assert_allclose(itself[:, :features], ours[0, :, column], rtol=0, atol=5e-4)
        np.testing.assert_allclose(itself[:, features:], ours[1, :, column], rtol=0, atol=5e-4)
        others = np.delete(found, column, axis=0).sum(axis=0)
        np.testing.assert_allclose(others[:, :features] + others[:, features:], ours[2, :, column], rtol=0, atol=5e-4)


def test_twenty_symbols_cost_one_pass_and_not_twenty(stocks):
    """The other asks for one target at a time, to the same accuracy."""
    captum = pytest.importorskip("captum.attr")
    decisions = Decisions(random_strategy(3, context=20), stocks[-1:])

    def weights(seen: torch.Tensor) -> torch.Tensor:
        return decisions.aim(decisions.output(seen), torch.zeros(len(seen), dtype=torch.long))

    start = time.process_time()
    integrate(decisions)
    ours, start = time.process_time() - start, time.process_time()
    for column in range(len(stocks.symbols)):
        captum.IntegratedGradients(weights).attribute(decisions.seen, target=column, n_steps=16)
    assert ours < time.process_time() - start
