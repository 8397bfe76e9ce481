import os
import socket
import subprocess
import time
import urllib.request

import pytest
from command import COMMAND, call, refused


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("ui")


def test_regression_a_port_that_is_taken_is_one_line(folder):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused(call("ui", "--port", port, cwd=folder), f"--port {port}: address already in use", "name another")
    refused(call("ui", "--port", 70000, cwd=folder), "--port 70000: it must be between 1 and 65535")


@pytest.mark.process
def test_regression_the_pages_open_on_runs_and_end_with_the_command(folder):
    """They opened on traces of language models, and the server survived the command."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"} | {"COLUMNS": "200"}
    command = [*COMMAND, "ui", "--port", str(port)]
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        lines = [process.stdout.readline().strip() for _ in range(3)]
        assert lines[1] == f"http://127.0.0.1:{port}/#/experiments/1/runs?workflowType=machine_learning"
        assert lines[2] == f"Store: sqlite:///{folder}/mlruns/mlflow.db"
        while not answers(port):
            assert process.poll() is None, process.stdout.read()
            time.sleep(0.2)
    finally:
        process.kill()
    process.stdout.read()  # ends when the last process that writes to it has ended
    assert not answers(port)


def test_regression_the_server_keeps_the_warnings_of_its_dependencies_to_itself(folder, monkeypatch):
    """MLflow's StarletteDeprecationWarning came with its line of source."""
    seen = []
    monkeypatch.delenv("PYTHONWARNINGS", raising=False)
    monkeypatch.setattr("regimeshift.tied.run_tied", lambda command, environment: seen.append(environment) or 0)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert call("ui", "--port", port, cwd=folder).returncode == 0
    assert seen[0]["PYTHONWARNINGS"] == "ignore"


def answers(port):
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).status == 200
    except OSError:
        return False
