"""The trading account: costs, order execution and simulation, shared by training, environments and backtests."""

from markets.accounting.costs import Costs, Execution
from markets.accounting.ledger import Ledger
from markets.accounting.plan import Plan
from markets.accounting.simulate import Paths, simulate

__all__ = ["Costs", "Execution", "Ledger", "Paths", "Plan", "simulate"]
