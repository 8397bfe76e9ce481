"""What is left of a backtest when something is changed: a section each, with what it shows and what it does not."""

from backtests.robustness.case import Case
from backtests.robustness.null import compare_with_random
from backtests.robustness.parameters import numeric_parameters, perturb_parameters
from backtests.robustness.resampled import resample_markets
from backtests.robustness.robustness import robustness
from backtests.robustness.shuffled import shuffle_trades
from backtests.robustness.trading import break_even, later, trade_worse
from backtests.robustness.warm_up import check_warm_up

__all__ = [
    "Case",
    "break_even",
    "check_warm_up",
    "compare_with_random",
    "later",
    "numeric_parameters",
    "perturb_parameters",
    "resample_markets",
    "robustness",
    "shuffle_trades",
    "trade_worse",
]
