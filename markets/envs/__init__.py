"""Gymnasium environments over the one account."""

from markets.envs.market_env import MarketEnv, TaskEnv, VectorMarketEnv
from markets.envs.rewards import Reward

__all__ = [
    "MarketEnv",
    "Reward",
    "TaskEnv",
    "VectorMarketEnv",
]
