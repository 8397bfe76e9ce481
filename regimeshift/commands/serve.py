"""``regimeshift serve``: a registered model over HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

if TYPE_CHECKING:
    from backtests.server import Settings


@dataclass
class Serve:
    """Serve a registered model over HTTP, on MLflow's scoring server. Ctrl-C ends it."""

    model: Annotated[str, tyro.conf.Positional]
    """Model in the registry: NAME (its champion now, which stays the one that is served), NAME@ALIAS, or NAME/VERSION."""
    host: str = "127.0.0.1"
    """Address to listen on. On 0.0.0.0 other machines reach it too; it asks nobody who they are, so put a proxy before it."""
    port: int = 5001
    """Port to listen on; 0 is any that is free."""
    workers: int = 1
    """Processes that decide side by side."""
    fallback: Literal["refuse", "hold", "flat"] = "refuse"
    """What is answered where the model cannot decide safely: an error; or, flagged, to leave positions alone or to close them."""
    max_age: float | None = None
    """Largest age of the last bar of a request, in bars, counted from the end of its day; by default any is decided on."""
    log: str | None = None
    """File to which a line is appended for each decision, before it is answered (JSON, one a line, chained by hashes)."""

    def run(self) -> None:
        from markets import InputError

        if self.workers < 1:
            raise InputError(f"--workers {self.workers}: it must be at least 1")
        from backtests import server
        from regimeshift.console import say, step

        listener = server.listening(self.host, self.port)
        with listener:
            with step(f"loading {self.model}"):
                settings = self._settings()
            host, port = listener.getsockname()[:2]
            address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
            say(f"{settings.model} is served on {address} (/invocations, /health, /version). Ctrl-C ends it. Try:")
            say(
                f"  regimeshift signal --model {settings.model} --bars DATA --request |\n"
                f"    curl -s -H 'Content-Type: application/json' -d @- {address}/invocations"
            )
            server.serve(settings, listener, self.workers)
        say("Ended.")

    def _settings(self) -> Settings:
        """The settings, after a check that the version can be loaded and the log written.

        Raises
        ------
        InputError
            When they cannot.
        """
        from backtests import audit, server, versions
        from backtests.carried import Deployed
        from backtests.decider import Decider
        from regimeshift.console import naming

        found = versions.load(self.model)
        Decider(Deployed(found.strategy, found.contract), found.name, self.fallback, self.max_age)
        if self.log is not None:
            with naming("--log"):
                audit.prepare(self.log)
        return server.Settings(found.name, fallback=self.fallback, max_age=self.max_age, log=self.log)
