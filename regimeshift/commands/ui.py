"""``regimeshift ui``: MLflow's pages over our records."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Ui:
    """Open MLflow's pages: runs, metrics, reports, model versions. Ctrl-C ends it."""

    port: int = 5000
    """Port on this machine."""

    def run(self) -> None:
        import subprocess
        import sys

        from backtests import tracking
        from regimeshift.console import console

        address = tracking.connect()
        console.print(f"http://127.0.0.1:{self.port}  ({address})")
        command = [sys.executable, "-P", "-m", "mlflow", "ui", "--backend-store-uri", address, "--port", str(self.port)]
        raise SystemExit(subprocess.run(command, check=False).returncode)
