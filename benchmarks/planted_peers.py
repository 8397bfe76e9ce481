"""PPO of stable-baselines3 and RecurrentPPO of sb3-contrib on `Planted`, in our environment.

Their settings favour them: actions are short, flat or long, so that noise in the action costs nothing; the observation is what
our policies read and the position; the reward is in the family's units; PPO, which has no memory, sees the last 63 bars at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces

from markets.features.parts import LARGEST
from markets.synthetic import Episodes

POSITIONS = (-1.0, 0.0, 1.0)
FRAMES, ENVS, STEPS = 63, 64, 126


def environment(episodes: Episodes) -> Any:
    """Episodes for stable-baselines3: observed are the symbol's features and its weight, actions are `POSITIONS`."""
    from stable_baselines3.common.vec_env import VecEnvWrapper

    from markets.sb3 import StableVecEnv

    family = episodes.family
    count = len(family.features.names)
    columns = [*range(count), 2 * count]  # of the traded symbol; the other one is the advice

    class Small(VecEnvWrapper):
        def __init__(self, inner: StableVecEnv):
            super().__init__(inner, spaces.Box(-np.inf, np.inf, (len(columns),), np.float32), spaces.Discrete(3))

        def reset(self) -> np.ndarray:
            return self.venv.reset()[:, columns]

        def step_async(self, actions: np.ndarray) -> None:
            self.venv.step_async(np.column_stack([np.asarray(POSITIONS)[actions], np.zeros(len(actions))]))

        def step_wait(self):
            seen, reward, done, infos = self.venv.step_wait()
            for b in np.flatnonzero(done):
                infos[b]["terminal_observation"] = infos[b]["terminal_observation"][columns]
            return seen[:, columns], reward / family.scale, done, infos

    rules = {"features": family.features, "costs": family.costs, "execution": family.execution}
    inner = StableVecEnv(ENVS, task=episodes.tasks(1), episode_bars=family.length, reward=family.env_reward, **rules)
    return Small(inner)


def peer(name: str, episodes: Episodes, seed: int, budget: float) -> Callable[[Episodes], np.ndarray]:
    """Train for `budget` seconds of processor time; returns a function from episodes to weights (n, T)."""
    inner = environment(episodes)
    shared: dict[str, Any] = {
        "learning_rate": 1e-3, "n_steps": STEPS, "batch_size": ENVS * STEPS // 4, "n_epochs": 4, "gamma": 0.9,
        "gae_lambda": 0.9, "ent_coef": 1e-3, "seed": seed, "device": "cpu",
    }  # fmt: skip
    if name == "PPO":
        from stable_baselines3 import PPO
        from stable_baselines3.common.vec_env import VecFrameStack

        model: Any = PPO("MlpPolicy", VecFrameStack(inner, FRAMES), policy_kwargs={"net_arch": [64, 64]}, **shared)
    else:
        from sb3_contrib import RecurrentPPO

        model = RecurrentPPO(
            "MlpLstmPolicy", inner,
            policy_kwargs={"lstm_hidden_size": 16, "net_arch": [16], "enable_critic_lstm": False}, **shared,
        )  # fmt: skip
    begun = time.process_time()
    while time.process_time() - begun < budget:
        model.learn(ENVS * STEPS, reset_num_timesteps=False)
    frames = FRAMES if name == "PPO" else 1
    return lambda fresh: agent_weights(model, fresh, frames)


def agent_weights(model: Any, episodes: Episodes, frames: int) -> np.ndarray:
    """Weights (n, T) that a trained model chooses, most likely actions only."""
    returns, advice = (x[..., 0].astype(np.float32) for x in (episodes.returns, episodes.signal))
    n, bars = returns.shape
    followed = np.zeros_like(returns)
    followed[:, 1:] = returns[:, 1:] * advice[:, :-1]
    weights, held = np.zeros((n, bars)), np.zeros(n, dtype=np.float32)
    seen, state, first = np.zeros((n, frames * 4), dtype=np.float32), None, np.ones(n, dtype=bool)
    for t in range(bars - 1):
        now = np.column_stack([returns[:, t], advice[:, t], followed[:, t], held]).clip(-LARGEST, LARGEST)
        seen = np.hstack([seen[:, 4:], now])
        action, state = model.predict(seen, state, first, deterministic=True)
        held, first = np.asarray(POSITIONS, dtype=np.float32)[action], np.zeros_like(first)
        weights[:, t] = held
    return weights
