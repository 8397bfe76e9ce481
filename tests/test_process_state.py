"""The process belongs to the user: using the toolkit changes nothing in it. MLflow's part is in backtests/test_tracking.py."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import samples

CODE = """
import os, random, signal, sys, threading, warnings, logging
import matplotlib, numpy as np, pandas as pd, plotly.io, torch
from markets import EnvConfig, HiddenMarkovRegimes, JumpRegimes, TaskSet, simulate
from metalearner import RL2, Training
from backtests import walk_forward
from strategies import EqualWeight
import samples

def state():
    return {
        "environment": {k: v for k, v in os.environ.items() if k.startswith(("OMP", "NUMBA", "MLFLOW", "PYTHON", "CUDA"))},
        "signals": [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE)],
        "random": (random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()),
        "torch": (torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled(),
                  torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark),
        "numpy": (np.geterr(), str(np.get_printoptions())),
        "pandas": [pd.get_option(k) for k in ("display.width", "display.max_columns", "display.precision")],
        "plots": (dict.get(matplotlib.rcParams, "backend"), plotly.io.templates.default),
        "logging": (logging.root.level, list(logging.root.handlers), logging.root.manager.disable),
        "warnings": (warnings.formatwarning, warnings.showwarning),
        "python": (os.getcwd(), list(sys.path), sys.excepthook, threading.excepthook, sys.getrecursionlimit()),
    }

torch.set_num_threads(1)
random.seed(1), np.random.seed(1), torch.manual_seed(1)
before = state()
bars = samples.regime_bars(700, 3, seed=1)
regimes = HiddenMarkovRegimes(2, restarts=1).fit(bars[:500])
JumpRegimes(2, restarts=1).fit(bars[:500]).filter(bars)
tasks = TaskSet.from_regimes(bars[:600], regimes).split(bars.index[450])
meta = RL2(context=10, training=Training(steps=1, evaluate_every=1, evidence=None)).fit(*tasks, progress=False)
result = walk_forward([meta, EqualWeight()], bars[600:], progress=False)
result.report("report.html")
simulate(bars, np.full((64, 700, 3), 0.1))  # in threads
after = state()
print([name for name in before if before[name] != after[name]])
"""


@pytest.mark.process
def test_regression_using_the_toolkit_leaves_the_process_as_it_was(tmp_path):
    """Threads of torch became those of numba, and jumpmodels set numpy's errors and pandas' width at import."""
    path = f"{Path(samples.__file__).parent}{os.pathsep}{os.environ['PYTHONPATH']}"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CODE],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"
