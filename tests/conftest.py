"""Set before numba is imported: concurrent writers of one cache have crashed, so each worker has its own."""

import os
from pathlib import Path

worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
# Two workers and the processes that they start share two cores: threads that wait for each other would burn them.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["NUMBA_CACHE_DIR"] = str(Path(__file__).parents[1] / ".pytest_cache" / "numba" / worker)

import hypothesis  # noqa: E402
import pytest  # noqa: E402
import samples  # noqa: E402
import torch  # noqa: E402

# Compilation makes the first example slow; the same examples every time make a red run reproducible.
hypothesis.settings.register_profile("regimeshift", deadline=None, derandomize=True, max_examples=60)
hypothesis.settings.load_profile("regimeshift")


@pytest.fixture(scope="session")
def bars():
    """1,500 bars of three symbols with two regimes."""
    return samples.regime_bars(1500, 3, seed=1)


@pytest.fixture(scope="session")
def stocks():
    from markets import load

    return load("stocks")


@pytest.fixture(scope="session")
def tasks(bars):
    """(training, validation) tasks of `bars`."""
    from markets import HiddenMarkovRegimes, TaskSet

    regimes = HiddenMarkovRegimes(2, restarts=3).fit(bars[:900])
    return TaskSet.from_regimes(bars[:1300], regimes).split(bars.index[900])


@pytest.fixture(scope="session")
def meta(tasks):
    """A small RL² policy, its weights drawn after a little training, so that it does something whatever validation said."""
    from metalearner import RL2, Training

    built = RL2(context=20, training=Training(steps=6, evaluate_every=3, evidence=-1e9)).fit(*tasks, progress=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for parameter in built.policy.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    return built
