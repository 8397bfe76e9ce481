"""``regimeshift ui``: MLflow's web interface."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Ui:
    """Serve MLflow's web interface: runs, metrics, reports, model versions. Stop it with Ctrl-C."""

    port: int = 5000
    """Port to serve on."""

    def run(self) -> None:
        import os
        import sys

        from backtests import tracking
        from markets import InputError
        from regimeshift.console import console
        from regimeshift.tied import run_tied

        _require_free(self.port)
        address = tracking.connect()
        if address.startswith("http"):
            raise InputError(f"MLFLOW_TRACKING_URI is the server {address}, which shows its pages itself; open it")
        runs = f"#/experiments/{tracking.experiment_id(address)}/runs"
        # Without the type, MLflow opens its pages for language models.
        page = f"http://127.0.0.1:{self.port}/{runs}?workflowType=machine_learning"
        console.print(f"MLflow starts; in some seconds open\n{page}\nStore: {address}", soft_wrap=True)
        command = [sys.executable, "-P", "-m", "mlflow", "ui", "--backend-store-uri", address, "--port", str(self.port)]
        command += ["--workers", "1"]  # one person looks at it
        quiet = os.environ.get(
            "PYTHONWARNINGS", "ignore"
        )  # warnings of MLflow's own dependencies are for its developers
        environment = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PYTHONWARNINGS": quiet}
        raise SystemExit(run_tied(command, os.environ | environment))


def _require_free(port: int) -> None:
    """Raise an `InputError` unless a server can listen on the port."""
    import socket

    from markets import InputError

    if not 1 <= port <= 65535:
        raise InputError(f"--port {port}: it must be between 1 and 65535")
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(("127.0.0.1", port))
        except OSError as error:
            other = port + 1 if port < 65535 else 5000
            raise InputError(
                f"--port {port}: {(error.strerror or 'not available').lower()}; name another, such as --port {other}"
            ) from None
