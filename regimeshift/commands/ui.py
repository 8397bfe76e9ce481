"""``regimeshift ui``: MLflow's web interface."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Ui:
    """Serve MLflow's web interface: runs, metrics, reports, model versions. Stop it with Ctrl-C."""

    port: int = 5000
    """Port to serve on."""

    def run(self) -> None:
        import subprocess
        import sys

        from backtests import tracking
        from regimeshift.console import console

        address = tracking.connect()
        console.print(f"http://127.0.0.1:{self.port}  ({address})")
        command = [sys.executable, "-P", "-m", "mlflow", "ui", "--backend-store-uri", address, "--port", str(self.port)]
        raise SystemExit(subprocess.run(command, check=False).returncode)
