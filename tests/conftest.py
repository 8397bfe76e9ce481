"""What all tests share. What numba and the terminal read is set before anything that reads it is imported."""

import atexit
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")
CACHES = Path(__file__).parents[1] / ".pytest_cache" / "numba"
if WORKER == "main":  # a second run in the same checkout keeps out of the first one's caches
    CACHES.mkdir(parents=True, exist_ok=True)
    LOCK = os.open(CACHES / ".lock", os.O_CREAT | os.O_WRONLY)
    try:
        fcntl.flock(LOCK, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        CACHES = Path(tempfile.mkdtemp(prefix="numba-"))
        atexit.register(shutil.rmtree, CACHES, ignore_errors=True)
    os.environ["REGIMESHIFT_TEST_CACHES"] = str(CACHES)
CACHES = Path(os.environ["REGIMESHIFT_TEST_CACHES"])
# Two workers and the processes that they start share two cores: threads that wait for each other would burn them.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("COLUMNS", "100")
# Processes that tests start import this checkout, installed or not, whatever folder they run in.
ROOT = str(Path(__file__).parents[1])
if ROOT not in os.environ.get("PYTHONPATH", "").split(os.pathsep):
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (ROOT, os.environ.get("PYTHONPATH"))))
# Concurrent writers of one cache have crashed, so each worker has its own; it begins with what was compiled for all.
os.environ["NUMBA_CACHE_DIR"] = str(CACHES / WORKER)
if WORKER.startswith("gw") and (CACHES / "shared").exists():
    shutil.copytree(CACHES / "shared", CACHES / WORKER, dirs_exist_ok=True)

import hypothesis  # noqa: E402
import pytest  # noqa: E402
import samples  # noqa: E402
import torch  # noqa: E402

# Compilation makes the first example slow; the same examples every time make a red run reproducible.
hypothesis.settings.register_profile("regimeshift", deadline=None, derandomize=True, max_examples=60)
hypothesis.settings.load_profile("regimeshift")


def pytest_configure(config: pytest.Config) -> None:
    """Compile for all workers at once, on as many cores, before they start."""
    if WORKER != "main" or not config.getoption("numprocesses", None):
        return
    warm = Path(samples.__file__).with_name("warm.py")
    # each half into a folder of its own, since they share modules; then one beside the other
    parts = {part: CACHES / f"shared-{part}" for part in ("account", "others")}
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(warm.parent), os.environ["PYTHONPATH"]))}
    running = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", str(warm), part], env={**environment, "NUMBA_CACHE_DIR": str(place)}
        )
        for part, place in parts.items()
    ]
    codes = [process.wait() for process in running]
    if any(codes):
        raise pytest.UsageError(f"the kernels do not compile; see above, or run: python {warm} account")
    for place in parts.values():
        shutil.copytree(place, CACHES / "shared", dirs_exist_ok=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU where there is none."""
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs a GPU: torch finds no CUDA device"))


@pytest.fixture(autouse=True)
def mlflow_variables_kept():
    """A test leaves MLflow's variables as they were: a store that one forgot made others fail, in some orders only."""

    def variables():
        return {k: v for k, v in os.environ.items() if k.startswith("MLFLOW_")}

    before = variables()
    yield
    assert variables() == before


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request):
    """Each device that torch can train on."""
    return request.param


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
    """A small RL² policy, its weights sampled after a little training, so that it trades whatever validation decided."""
    from metalearner import RL2, Training

    trained = RL2(context=20, training=Training(steps=6, evaluate_every=3, evidence=-1e9)).fit(*tasks, progress=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for parameter in trained.policy.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    return trained


@pytest.fixture(scope="session")
def team():
    """A team's MLflow server on PostgreSQL; see tests/support/team.py."""
    from team import started

    with started() as running:
        yield running
