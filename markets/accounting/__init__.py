"""The one account: what trading costs, how orders are filled, and what is left."""

from markets.accounting.costs import Costs, Execution
from markets.accounting.kernels import Paths, simulate
from markets.accounting.ledger import Ledger

__all__ = [
    "Costs",
    "Execution",
    "Ledger",
    "Paths",
    "simulate",
]
