"""Training time to 0.97 of a known ceiling, against sb3-contrib's recurrent PPO; and adaptation time on 20 assets.

Both learn the drift–momentum family from the same 16,384 tasks, and are evaluated by the same function on the same held-out
episodes: the family's reward as a fraction of the Bayes filter's. Clocks start before the tasks are sampled and are stopped
during evaluation; imports and compilation come before. Our runs are spread over the peer's run, so that other load on the machine
slows both.

The peer's settings favour it: 64 vectorised environments, the return as its only observation, the family's reward rescaled to
the order of one, a discount of 0 (an action affects only its own reward), and whole episodes per rollout.
"""

from __future__ import annotations

import os

# Once numba's kernels have run in a second thread, torch's small operations become several times slower on few cores. So use one
# thread for each; both variables must be set before the libraries are imported.
os.environ["NUMBA_NUM_THREADS"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"

import math
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from gymnasium import spaces

from benchmarks.common import finish, options
from markets import TaskSet, load
from markets.synthetic import DriftMomentum
from metalearner import RL2, Training
from metalearner.learners.inner_loop import ByGradient, Inner
from metalearner.learners.rl2 import InContext
from metalearner.objectives.pathwise import CostCurriculum, Pathwise, WindowSampler
from metalearner.objectives.utilities import MeanVariance
from strategies import Policy, PolicySettings
from strategies.ladder import rungs

GOAL = 0.97
LIMIT = 330.0  # seconds for the peer; in a run with 900 it reached 0.84 of the ceiling
TASKS = 16_384
FAMILY = DriftMomentum()


class Clock:
    """Wall-clock and processor time of this process, paused between `stop` and `go`."""

    def __init__(self) -> None:
        self._past, self._since = np.zeros(2), self._now()

    @staticmethod
    def _now() -> np.ndarray:
        return np.array([time.perf_counter(), time.process_time()])

    @property
    def seconds(self) -> np.ndarray:
        """Wall-clock and processor time in seconds."""
        return self._past + (self._now() - self._since)

    def stop(self) -> None:
        self._past = self.seconds

    def go(self) -> None:
        self._since = self._now()


class Judge:
    """Evaluates weights on held-out episodes, and knows the ceiling there.

    Parameters
    ----------
    episodes, seed : int
    """

    def __init__(self, episodes: int, seed: int):
        self.episodes = FAMILY.sample(episodes, seed)
        self.returns = np.ascontiguousarray(self.episodes.returns[..., 0])
        best = next(weights for _, is_ceiling, weights in rungs(FAMILY) if is_ceiling)
        self.ceiling = self.reward(best(self.episodes)[:, : FAMILY.length]).mean()

    def reward(self, weights: np.ndarray) -> np.ndarray:
        """Mean reward per bar of each episode, from weights (n, T)."""
        return FAMILY.reward(weights, self.returns).mean(axis=1)


@dataclass
class Curve:
    """Learning curve: fraction of the ceiling over time.

    Attributes
    ----------
    points : list of tuple
        Wall-clock seconds, processor seconds, fraction of the ceiling.
    """

    points: list[tuple[float, float, float]] = field(default_factory=list)

    def add(self, clock: Clock, share: float) -> None:
        wall, processor = clock.seconds
        self.points.append((float(wall), float(processor), share))

    @property
    def best(self) -> float:
        return max(share for *_, share in self.points)

    def reached(self, goal: float) -> tuple[float, float] | None:
        """Wall-clock and processor seconds until the fraction first reached `goal`; None if it did not."""
        return next(((wall, processor) for wall, processor, share in self.points if share >= goal), None)


# ------------------------------------------------------------------------------------------------------ ours


class _Judged(WindowSampler):
    """Windows scored by the judge, with the clock stopped."""

    judge: Judge
    clock: Clock
    curve: Curve

    def score(self, policy, params, batch):
        self.clock.stop()
        seen = torch.from_numpy(self.judge.returns).float()[..., None, None]
        weights = policy(seen, torch.zeros((*seen.shape[:3], 3))).aim[:, : FAMILY.length, 0]
        reward = self.judge.reward(weights.double().numpy())
        self.curve.add(self.clock, float(reward.mean() / self.judge.ceiling))
        self.clock.go()
        return torch.from_numpy(reward)


@dataclass(frozen=True)
class _Timed(Pathwise):
    """`Pathwise`, whose windows are `_Judged`."""

    watched: tuple = ()

    def sampler(self, tasks, policy, context, support=0):
        windows = _Judged(self, tasks, policy.settings, context, support)
        windows.judge, windows.clock, windows.curve = self.watched
        return windows

    def to_dict(self):
        return {"kind": "timed"}


def ours(judge: Judge, steps: int, seed: int) -> Curve:
    """Train `RL2` with the exact gradient; the learning rate falls over the last half of `steps`."""
    clock, curve = Clock(), Curve()
    objective = _Timed(
        costs=FAMILY.costs, execution=FAMILY.execution, utility=MeanVariance(1.0), curriculum=CostCurriculum(0, 0),
        unit=FAMILY.scale, symbols=0, watched=(judge, clock, curve),
    )  # fmt: skip
    policy = PolicySettings(hidden=32, base="flat", trades="at_once", features=FAMILY.features)
    training = Training(
        steps=steps, batch=64, learning_rate=1e-2, weight_decay=0, schedule="cosine", evidence=None,
        evaluate_every=min(20, steps), seed=seed, device="cpu",
    )  # fmt: skip
    tasks = FAMILY.sample(TASKS, 1000 + seed).tasks(1)
    RL2(policy, objective, training, context=1).fit(tasks, TaskSet(tasks.tasks[:1]), progress=False)
    return curve


# ---------------------------------------------------------------------------------------------------- the peer


def peer(judge: Judge, seed: int) -> Iterator[Curve]:
    """Train sb3-contrib's `RecurrentPPO`, yielding the curve after every four rollouts of 64 episodes, without end."""
    from sb3_contrib import RecurrentPPO

    clock, curve = Clock(), Curve()
    envs, length = 64, FAMILY.length
    world = family_envs(FAMILY.sample(TASKS, 1000 + seed).tasks(1), envs)
    model = RecurrentPPO(
        "MlpLstmPolicy", world, learning_rate=3e-3, n_steps=length, batch_size=envs * length // 4, n_epochs=4, gamma=0.0,
        gae_lambda=0.95, seed=seed, device="cpu",
        policy_kwargs={"lstm_hidden_size": 32, "net_arch": [32], "log_std_init": -1.0, "enable_critic_lstm": False},
    )  # fmt: skip
    while True:
        model.learn(4 * envs * length, reset_num_timesteps=False)
        clock.stop()
        curve.add(clock, float(judge.reward(_chosen(model, judge.returns)).mean() / judge.ceiling))
        yield curve
        clock.go()


def family_envs(tasks: TaskSet, count: int):
    """Episodes of `tasks` for stable-baselines3: the observation is the return, the reward is in the family's units."""
    from stable_baselines3.common.vec_env import VecEnvWrapper

    from markets.sb3 import StableVecEnv

    class Units(VecEnvWrapper):
        def __init__(self, world: StableVecEnv):
            super().__init__(world, spaces.Box(-np.inf, np.inf, (1,), np.float32), spaces.Box(-1, 1, (1,), np.float32))

        def reset(self) -> np.ndarray:
            return self.venv.reset()[:, :1]

        def step_wait(self):
            seen, reward, done, infos = self.venv.step_wait()
            for b in np.flatnonzero(done):
                infos[b]["terminal_observation"] = infos[b]["terminal_observation"][:1]
            return seen[:, :1], reward / FAMILY.scale, done, infos

    rules = {"features": FAMILY.features, "costs": FAMILY.costs, "execution": FAMILY.execution}
    return Units(StableVecEnv(count, task=tasks, episode_bars=FAMILY.length, reward=FAMILY.env_reward, **rules))


def _chosen(model, returns: np.ndarray) -> np.ndarray:
    """Weights (n, T) chosen by a recurrent model."""
    seen, state, first = returns.astype(np.float32), None, np.ones(len(returns), dtype=bool)
    weights = np.empty((len(returns), FAMILY.length))
    for t in range(FAMILY.length):
        action, state = model.predict(seen[:, t, None], state, first, deterministic=True)
        weights[:, t], first = action[:, 0], np.zeros_like(first)
    return weights


def race(quick: bool, seed: int) -> dict[str, float | bool]:
    """Time of both to the goal, in one process run."""
    limit, steps, runs = (10.0, 20, 1) if quick else (LIMIT, 900, 3)
    judge = Judge(256 if quick else 1024, seed + 500)
    ours(judge, 1, seed)  # compiles
    next(peer(judge, seed))
    mine = [ours(judge, steps, seed)]
    theirs = Curve()
    for theirs in peer(judge, seed):
        wall = theirs.points[-1][0]
        if theirs.best >= GOAL or wall >= limit:
            break
        # spread our other runs evenly over the peer's time
        if len(mine) < runs and wall >= len(mine) * limit / 6:
            mine.append(ours(judge, steps, seed + len(mine)))
    while len(mine) < runs:
        mine.append(ours(judge, steps, seed + len(mine)))
    # a run that did not reach the goal counts as infinitely long
    never = (math.inf, math.inf)
    wall, processor = (
        statistics.median(m.reached(GOAL)[k] if m.reached(GOAL) else never[k] for m in mine) for k in (0, 1)
    )  # type: ignore[index]
    there = theirs.reached(GOAL)
    peer_wall, peer_processor = there or theirs.points[-1][:2]
    bound = "" if there else "≥ "
    for number, curve in enumerate(mine):
        print(f"ours, seed {seed + number}: best {curve.best:.4f}, {GOAL} after {_in_words(curve.reached(GOAL))}")
    print(f"RecurrentPPO: best {theirs.best:.4f}, {GOAL} after {bound}{_in_words((peer_wall, peer_processor))}")
    some = theirs.points[:: max(len(theirs.points) // 8, 1)]
    print("  its curve: " + ", ".join(f"{share:.2f} at {processor:.0f} s" for _, processor, share in some))
    print(
        f"ratio {bound}{peer_wall / wall:.1f} by wall clock, {bound}{peer_processor / processor:.1f} by processor time"
    )
    return {
        "time_to_97_ratio": peer_wall / wall if math.isfinite(wall) else 0.0,
        "time_to_97_ratio_processor": peer_processor / processor if math.isfinite(wall) else 0.0,
        "time_to_97_s": wall if math.isfinite(wall) else None,
        "time_to_97_processor_s": processor if math.isfinite(wall) else None,
        "peer_time_to_97_s": peer_wall,
        "peer_time_to_97_processor_s": peer_processor,
        "peer_reached_97": there is not None,
        "best_share": statistics.median(m.best for m in mine),
        "peer_best_share": theirs.best,
    }  # type: ignore[return-value]


def _in_words(seconds: tuple[float, float] | None) -> str:
    return "never" if seconds is None else f"{seconds[0]:.1f} s ({seconds[1]:.1f} s of processor time)"


# ---------------------------------------------------------------------------------------------------- adapting


def adapting(quick: bool, seed: int) -> dict[str, float]:
    """Time of a default policy on 20 stocks: in context over all bars, for a single decision, and for 5 steps on 120 bars.

    The networks are untrained, since their weights do not affect the time.
    """
    stocks = load("stocks")
    bars = stocks[-1000:] if quick else stocks
    torch.manual_seed(seed)
    learner = RL2()
    policy = Policy(learner.policy)
    strategy = InContext("RL2", policy, learner.context, learner.objective).adapt(bars)
    steps = ByGradient(
        "fine-tune", Policy(PolicySettings(memory="none")), 1, Pathwise(), inner=Inner(steps=5, support=120)
    )
    took = _medians(
        {
            "all": lambda: strategy.plan(bars),
            "one": lambda: strategy.plan(bars[-1:]),
            "steps": lambda: steps.adapt(bars),
        },
        3 if quick else 7,
    )
    figures = {
        "adapt_ms_per_bar": took["all"] / len(bars) * 1e3,
        "adapt_one_decision_ms": took["one"] * 1e3,
        "adapt_gradient_s": took["steps"],
    }
    print(f"in context, {len(bars):,} bars x {len(bars.symbols)}: {figures['adapt_ms_per_bar']:.3f} ms per bar, one decision "
          f"alone {figures['adapt_one_decision_ms']:.1f} ms; 5 gradient steps on 120 bars {took['steps']:.3f} s")  # fmt: skip
    return figures


def _medians(runs: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median time of each run in seconds; runs alternate, after a warm-up of each."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(repeats + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if repeat:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    """Run both measurements and print them, with the load of the machine."""
    chosen = options(__doc__ or "")
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    load_before = os.getloadavg()[0]
    figures = {**adapting(chosen.quick, chosen.seed), **race(chosen.quick, chosen.seed)}
    print(f"load of the machine: {load_before:.1f} before, {os.getloadavg()[0]:.1f} after, on {os.cpu_count()} cores")
    rounded = {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in figures.items()}
    finish("training_speed", rounded, chosen.quick)


if __name__ == "__main__":
    main()
