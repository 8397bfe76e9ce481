"""What the market is: bars, features, regimes, tasks, the account, environments."""

import gymnasium

from markets.accounting import Costs, Execution
from markets.bars import Bars
from markets.envs import MarketEnv, Reward, TaskEnv, VectorMarketEnv
from markets.errors import InputError
from markets.features import Features
from markets.hidden_markov import HiddenMarkovRegimes
from markets.ledger import Ledger
from markets.regimes import RegimeDetector, RegimePath, load_detector
from markets.simulator import simulate
from markets.sources import load
from markets.tasks import Task, TaskSet

__all__ = [
    "Bars",
    "Costs",
    "Execution",
    "Features",
    "HiddenMarkovRegimes",
    "InputError",
    "Ledger",
    "MarketEnv",
    "RegimePath",
    "Reward",
    "Task",
    "TaskEnv",
    "TaskSet",
    "VectorMarketEnv",
    "load",
    "simulate",
]

gymnasium.register(
    "regimeshift/Market-v0", entry_point="markets.envs:MarketEnv", vector_entry_point="markets.envs:VectorMarketEnv"
)
