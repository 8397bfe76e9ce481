"""A process that has imported what is slow to import, and answers each request in a fork of itself.

``python page_runner.py SOCKET`` serves. With ARGUMENTS after it, it asks: it does what ``regimeshift ARGUMENTS`` would do, with
the folder, environment and streams of the caller. `ask` can run Python code instead. Each fork starts from the imported
modules and nothing else, so requests cannot influence each other.
"""

import contextlib
import importlib
import json
import os
import signal
import socket
import sys
import traceback
import types
from pathlib import Path

IMPORTED = (
    "regimeshift.__main__", "markets", "strategies", "strategies.ladder", "metalearner", "metalearner.evaluation", "backtests",
    "backtests.certificate", "backtests.deployment", "backtests.engine.lookahead", "backtests.report.page", "mlflow",
    "mlflow.pyfunc", "torch._dynamo", "mlflow.store.tracking.sqlalchemy_store", "mlflow.store.model_registry.sqlalchemy_store",
    "alembic.command", "git", "opentelemetry.sdk.metrics", "plotly.subplots", "matplotlib.pyplot", "skfolio.datasets",
    "arch.bootstrap", "arch.data.sp500", "exchange_calendars", "tyro.extras", "gymnasium.wrappers.vector",
    "reloading",
)  # fmt: skip


def serve(address: str) -> None:
    """Answer requests until the process is ended."""
    for name in IMPORTED:
        importlib.import_module(name)
    certificate, versions = sys.modules["backtests.certificate"], sys.modules["backtests.versions"]
    certificate.ROWS, certificate.FUZZED = 5, 5  # test_certificate.py has more of them
    versions._in_new_process = sys.modules["reloading"].here
    # one use of numba, whose own start takes a second; small enough for one thread, as forks need it
    markets = sys.modules["markets"]
    bars = markets.load("sp500")
    markets.simulate(bars, 0 * bars.close)
    signal.signal(signal.SIGCHLD, _reap)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        while True:
            connection, _ = listening.accept()
            if os.fork() == 0:
                _answer(connection)
            connection.close()


def _reap(*_: object) -> None:
    """Wait for forks that have answered, so that their time counts as this process's."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _answer(connection: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    message, streams, _, _ = socket.recv_fds(connection, 1 << 20, 3)
    request = json.loads(message)
    worker = os.fork()
    if worker == 0:
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        os._exit(_run(request))
    _, status = os.waitpid(worker, 0)
    connection.sendall(json.dumps(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _run(request: dict) -> int:
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    code = 0
    try:
        if "code" in request:
            sys.argv, sys.path[0] = ["-c"], request["folder"]
            sys.modules["__main__"] = main = types.ModuleType("__main__")
            exec(compile(request["code"], "<page>", "exec"), main.__dict__)
        else:
            sys.argv = ["regimeshift", *request["arguments"]]
            sys.modules["regimeshift.__main__"].main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    if (
        "joblib.externals.loky" in sys.modules
    ):  # its workers would hold the streams of a fork, which does nothing at exit
        sys.modules["joblib.externals.loky"].get_reusable_executor().shutdown(kill_workers=True)
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()
        sys.stderr.flush()
    return code


def ask(address: str, request: dict, streams: tuple[int, int, int] = (0, 1, 2)) -> int:
    """Have a request run with its own stdin, stdout and stderr; returns its exit status."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        socket.send_fds(connection, [json.dumps(request).encode()], list(streams))
        return json.loads(connection.recv(1 << 10) or b"1")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        here = {"folder": str(Path.cwd()), "environment": dict(os.environ)}
        sys.exit(ask(sys.argv[1], {"arguments": sys.argv[2:], **here}))
    serve(sys.argv[1])
