"""Market data and simulation: bars, features, regimes, tasks, trading accounts and gymnasium environments."""

import gymnasium

from markets.common import kernel_cache as _kernel_cache  # noqa: F401  before any kernel

# isort: split
from markets.accounting.costs import Costs, Execution
from markets.accounting.ledger import Ledger
from markets.accounting.plan import Plan
from markets.accounting.simulate import Paths, simulate
from markets.bars.bars import Bars
from markets.common.errors import InputError
from markets.data.loading import load
from markets.envs import EnvConfig, MarketEnv, TaskEnv, VectorMarketEnv
from markets.envs.rewards import Reward
from markets.features.composition import Features
from markets.features.external import External
from markets.features.known_units import Exogenous, UnitReturn
from markets.features.user_defined import feature
from markets.quality.report import QualityReport, check
from markets.regimes.base import RegimeDetector, RegimePath, load_detector
from markets.regimes.change_points import ChangePoints
from markets.regimes.hidden_markov import HiddenMarkovRegimes
from markets.regimes.jump import JumpRegimes
from markets.regimes.selection import supported_regimes
from markets.regimes.volatility_trend import VolatilityTrendRegimes
from markets.synthetic import Uncertainty, augment
from markets.tasks import Task, TaskSet

__all__ = [
    "Bars",
    "ChangePoints",
    "Costs",
    "EnvConfig",
    "Execution",
    "Exogenous",
    "External",
    "Features",
    "HiddenMarkovRegimes",
    "InputError",
    "JumpRegimes",
    "Ledger",
    "MarketEnv",
    "Paths",
    "Plan",
    "QualityReport",
    "RegimeDetector",
    "RegimePath",
    "Reward",
    "Task",
    "TaskEnv",
    "TaskSet",
    "Uncertainty",
    "UnitReturn",
    "VectorMarketEnv",
    "VolatilityTrendRegimes",
    "augment",
    "check",
    "feature",
    "load",
    "load_detector",
    "simulate",
    "supported_regimes",
]

gymnasium.register(
    "regimeshift/Market-v0", entry_point="markets.envs:MarketEnv", vector_entry_point="markets.envs:VectorMarketEnv"
)
