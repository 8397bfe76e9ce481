"""Policies whose weights are drawn, so that they trade without training."""

import torch

from markets import Features
from strategies import Policy, PolicySettings, PolicyStrategy

FEATURES = Features.standard(horizons=(1, 5, 21), volatility=30, short_volatility=8, averages=(20,))


def random_strategy(seed: int = 0, context: int = 20, name: str = "random", **settings) -> PolicyStrategy:
    """A strategy whose policy has these settings, and normally distributed weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        policy = Policy(PolicySettings(**{"features": FEATURES} | settings))
        for parameter in policy.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    return PolicyStrategy(policy.eval(), context, name)
