"""Gymnasium environments as tasks, and policies for them."""

from metalearner.environments.actor_critic import ActorCritic
from metalearner.environments.agent import Agent
from metalearner.environments.distributions import Categorical, DiagonalGaussian, Spaces
from metalearner.environments.rollouts import Rollout, rollout
from metalearner.environments.tasks import Environments

__all__ = [
    "ActorCritic",
    "Agent",
    "Categorical",
    "DiagonalGaussian",
    "Environments",
    "Rollout",
    "Spaces",
    "rollout",
]
