"""The one account: what trading costs, how orders are filled, and what is left."""

from markets.accounting.costs import Costs, Execution
from markets.accounting.ledger import Ledger
from markets.accounting.plan import Plan
from markets.accounting.simulate import Paths, simulate

__all__ = ["Costs", "Execution", "Ledger", "Paths", "Plan", "simulate"]
