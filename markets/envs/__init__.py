"""Gymnasium environments that trade through the account kernel."""

from markets.envs.config import EnvConfig
from markets.envs.market_env import MarketEnv
from markets.envs.rewards import Reward
from markets.envs.task_env import TaskEnv
from markets.envs.vector_env import VectorMarketEnv

__all__ = ["EnvConfig", "MarketEnv", "Reward", "TaskEnv", "VectorMarketEnv"]
