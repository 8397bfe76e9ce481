"""Many settings of one strategy: a sweep over a grid, and walk-forward optimisation, which chooses among them as time goes on."""

from backtests.sweeps.optimise import Optimisation, Optimised, optimise
from backtests.sweeps.sweep import Found, Sweep, sweep

__all__ = ["Found", "Optimisation", "Optimised", "Sweep", "optimise", "sweep"]
