"""What the market is: bars, features, regimes, tasks, the account, environments."""

import gymnasium

from markets.accounting import Costs, Execution
from markets.bars import Bars
from markets.change_points import ChangePoints
from markets.custom import feature
from markets.envs import MarketEnv, TaskEnv, VectorMarketEnv
from markets.errors import InputError
from markets.features import Features
from markets.hidden_markov import HiddenMarkovRegimes
from markets.jump import JumpRegimes
from markets.ledger import Ledger
from markets.quality import QualityReport, check
from markets.regimes import RegimeDetector, RegimePath, load_detector
from markets.rewards import Reward
from markets.simulator import simulate
from markets.sources import load
from markets.tasks import Task, TaskSet
from markets.told import Told, UnitReturn
from markets.volatility_trend import VolatilityTrendRegimes

__all__ = [
    "Bars",
    "ChangePoints",
    "Costs",
    "Execution",
    "Features",
    "HiddenMarkovRegimes",
    "InputError",
    "JumpRegimes",
    "Ledger",
    "MarketEnv",
    "QualityReport",
    "RegimeDetector",
    "RegimePath",
    "Reward",
    "Task",
    "TaskEnv",
    "TaskSet",
    "Told",
    "UnitReturn",
    "VectorMarketEnv",
    "VolatilityTrendRegimes",
    "check",
    "feature",
    "load",
    "load_detector",
    "simulate",
]

gymnasium.register(
    "regimeshift/Market-v0", entry_point="markets.envs:MarketEnv", vector_entry_point="markets.envs:VectorMarketEnv"
)
