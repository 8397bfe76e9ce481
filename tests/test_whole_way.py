"""From training to rollback, by the command line: on this machine's `mlruns/`, and on a team's server with PostgreSQL."""

import contextlib
import json
import os
import subprocess

import numpy as np
import pandas as pd
import pytest
import requests
import samples
from command import COMMAND, call, refused

NAME = "desk"
GATES = ("files", "reload", "certificate", "champion", "deflated Sharpe", "latency", "freshness")


@pytest.fixture
def desk(tmp_path):
    """A working folder with the user's own bars."""
    bars = samples.regime_bars(1500, 3, seed=1)
    table = pd.DataFrame(bars.close, index=bars.index.rename("date"), columns=list(bars.symbols))
    table.to_csv(tmp_path / "my.csv")
    return tmp_path


@pytest.fixture(params=["mlruns", "server"])
def store(request, desk):
    """MLflow's environment variables of whoever runs a command."""
    if request.param == "mlruns":
        return lambda who: {}
    return request.getfixturevalue("team").variables


def gates(text):
    """What each gate found, of the printed table."""
    found = {}
    for line in text.splitlines():
        for gate in GATES:
            if line.strip().startswith(gate) and gate not in found:
                found[gate] = line.strip().removeprefix(gate).strip()
    return found


@contextlib.contextmanager
def served(model, folder, variables):
    """The address of ``regimeshift serve MODEL``."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
    command = [*COMMAND, "serve", model, "--port", "0"]
    with subprocess.Popen(command, env=kept | variables, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            assert " is served on http://" in line, line
            yield line.split(" is served on ")[1].split()[0]
        finally:
            process.terminate()


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.timeout(1800)  # a minute of an idle machine whose kernels are compiled
def test_the_whole_way(store, desk):
    """Train, backtest, register, gates, promote, serve, signal; a challenger, compared and promoted; and back again."""

    def run(who, *words):
        done = call(*words, cwd=desk, variables=store(who))
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stderr == ""
        return done.stdout

    def signal(model, who="bob"):
        printed = json.loads(run(who, "signal", "--model", model, "--bars", "my.csv", "--json"))
        return np.array(list(printed["target_weight"].values()))

    run("ada", "train", "my.csv", "--steps", 4, "--evidence=-1e9")
    run("ada", "backtest", "my.csv", "--models", "models/my-rl2", "--rules", "equal_weight")
    printed = run("ada", "register", "my.csv", "--model", "models/my-rl2", "--name", NAME, "--no-promote")
    assert f"Registered models:/{NAME}/1" in printed
    assert "Its backtest in MLflow" in printed

    # the first champion
    refused(call("signal", "--model", NAME, "--bars", "my.csv", cwd=desk, variables=store("bob")), "cannot be loaded")
    found = gates(run("bob", "promote", NAME, 1, "--history"))
    assert list(found) == list(GATES)
    assert all(text.startswith("passed") for text in found.values()), found
    assert "the first champion has nothing to beat" in found["champion"]
    assert "reloaded weights differ by 0 " in found["reload"]
    first = signal(NAME)
    assert first.shape == (3,)
    assert np.abs(first).sum() > 0

    with served(NAME, desk, store("bob")) as address:

        def answered():
            body = run("bob", "signal", "--model", NAME, "--bars", "my.csv", "--request").encode()
            done = requests.post(
                f"{address}/invocations", body, headers={"Content-Type": "application/json"}, timeout=60
            )
            assert done.status_code == 200, done.text
            (answer,) = done.json()["predictions"]
            return np.array(answer["target_weight"])

        np.testing.assert_allclose(answered(), first, atol=1e-12)

        # a challenger, of which nothing is known
        run("ada", "register", "my.csv", "--strategy", "equal_weight", "--name", NAME, "--no-promote")
        done = call("promote", NAME, 2, "--history", cwd=desk, variables=store("bob"))
        assert done.returncode == 2
        assert "no backtest of both is on record" in gates(done.stdout)["champion"]
        np.testing.assert_array_equal(signal(NAME), first)

        # compared with the champion on the same bars
        both = (f"models:/{NAME}@champion", f"models:/{NAME}/2")
        run("ada", "backtest", "my.csv", "--start", "2005", "--models", *both, "--rules", "equal_weight")
        found = gates(run("bob", "promote", NAME, 2, "--history", "--floor", 0, "--level", 0.999, "--why", "a trial"))
        assert all(text.startswith("passed") for text in found.values()), found
        assert f"against models:/{NAME}/1, 2005-" in found["champion"]
        second = signal(NAME)
        np.testing.assert_allclose(second, 1 / 3, atol=1e-12)
        assert np.abs(second - first).max() > 1e-3
        np.testing.assert_array_equal(signal(f"{NAME}@previous"), first)

        # and back
        run("ada", "rollback", NAME, "--why", "it lost")
        np.testing.assert_array_equal(signal(NAME), first)
        np.testing.assert_array_equal(signal(f"{NAME}@previous"), second)
        np.testing.assert_allclose(answered(), first, atol=1e-12)
        assert f"{NAME}/1" in requests.get(f"{address}/version", timeout=60).text

    moves = [json.loads(line) for line in run("carol", "history", NAME, "--json").splitlines()]
    assert [(m["kind"], m["before"], m["version"], m["why"]) for m in moves] == [
        ("promote", None, 1, ""), ("promote", 1, 2, "a trial"), ("rollback", 2, 1, "it lost"),
    ]  # fmt: skip
    if store("bob"):
        assert [m["who"].split("@")[0] for m in moves] == ["bob", "bob", "ada"]
    assert set(moves[1]["gates"]) == set(GATES)
    shown = run("carol", "history", NAME)
    assert shown.index(" none ") < shown.index("a trial") < shown.index("it lost")
