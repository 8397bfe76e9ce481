"""The memory that is carried is that of the policy. What is decided with it is tested in tests/backtests/test_carried.py."""

import numpy as np
import pytest
import torch

from markets import Bars
from strategies import EqualWeight, Policy, PolicySettings, PolicyStrategy
from strategies.memory import PolicyMemory


def policy(context, **settings):
    torch.manual_seed(0)
    built = Policy(PolicySettings(base="equal_weight", hidden=4, **settings))
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return PolicyStrategy(built.eval(), context)


@pytest.mark.parametrize(("context", "settings"), [(1, {}), (2, {}), (9, {"memory": "belief", "trades": "rate"})])
def test_each_bar_is_a_row_of_the_plan(context, settings, bars):
    strategy = policy(context, **settings)
    plan, memory = strategy.plan(bars), PolicyMemory.of(strategy, bars[:1400])
    assert len(memory.state) == context - 1
    for row in range(1400, 1410):
        memory = memory.after(strategy, bars[: row + 1])
        for part, values in memory.plan.parts.items():
            np.testing.assert_allclose(values[0], getattr(plan, part)[row], rtol=0, atol=1e-12)


def test_a_bar_on_which_nothing_traded_changes_nothing(bars):
    close = bars.close.copy()
    close[1400] = np.nan
    strategy, gone = policy(5), Bars.make(bars.index, bars.symbols, close)
    memory = PolicyMemory.of(strategy, gone[:1400])
    assert memory.after(strategy, gone[:1401]) is memory


def test_what_has_no_recurrent_memory_keeps_none(bars):
    for strategy in (EqualWeight(), policy(5, memory="none"), policy(5, memory="transformer")):
        assert PolicyMemory.of(strategy, bars) is None
