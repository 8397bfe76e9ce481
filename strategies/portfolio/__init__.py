"""Portfolios that adapt their risk: a pool of estimates, differentiable layers, and the few parameters between them."""

from strategies.portfolio.estimates import Estimates, Pool, estimate
from strategies.portfolio.inputs import PortfolioInputs
from strategies.portfolio.picture import draw_adapted
from strategies.portfolio.policy import PortfolioPolicy
from strategies.portfolio.settings import PortfolioSettings
from strategies.portfolio.strategy import PortfolioStrategy

__all__ = [
    "Estimates",
    "Pool",
    "PortfolioInputs",
    "PortfolioPolicy",
    "PortfolioSettings",
    "PortfolioStrategy",
    "draw_adapted",
    "estimate",
]
