"""Many settings of one strategy: a sweep over a grid, and walk-forward optimisation, which chooses among them as time goes on."""

from backtests.sweeps.grid import Found, Grid
from backtests.sweeps.optimise import Optimisation, Optimised, optimise
from backtests.sweeps.sweep import Sweep, sweep

__all__ = ["Found", "Grid", "Optimisation", "Optimised", "Sweep", "optimise", "sweep"]
