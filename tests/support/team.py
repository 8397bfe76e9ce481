"""A team's MLflow: a real PostgreSQL and a real `mlflow server`, started by the commands and settings of docs/team.md.

What differs from the compose file is where things are: hosts, ports and folders.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

PAGE = Path(__file__).parents[2] / "docs" / "team.md"
MEMBERS = ("ada", "bob", "carol")  # of whom the page makes accounts
UNPRIVILEGED = (
    "postgres"  # under whom PostgreSQL runs if the tests are root's, which it refuses; Debian's package makes it
)


@dataclass(frozen=True)
class Team:
    """A running server.

    Attributes
    ----------
    address : str
        Its tracking URI.
    artifacts : Path
        Where it keeps files.
    passwords : dict of str to str
        By account.
    """

    address: str
    artifacts: Path
    passwords: dict[str, str]

    def variables(self, who: str) -> dict[str, str]:
        """MLflow's variables of a member."""
        return {
            "MLFLOW_TRACKING_URI": self.address,
            "MLFLOW_TRACKING_USERNAME": who,
            "MLFLOW_TRACKING_PASSWORD": self.passwords[who],
        }


def block(language: str) -> str:
    """The block of the page in this language."""
    found = re.search(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None, language
    return found[1]


def compose(values: dict[str, str]) -> dict[str, Any]:
    """The compose file, with the values of its variables filled in."""
    text = re.sub(r"\$\{(\w+)(?::\?[^}]*)?\}", lambda found: values[found[1]], block("yaml"))
    return yaml.safe_load(text)


@contextlib.contextmanager
def started() -> Iterator[Team]:
    """PostgreSQL, MLflow's server on it and the accounts of the page; all of it is gone afterwards."""
    programs = _postgres()
    passwords = {who: secrets.token_hex(12) for who in ("admin", "database", *MEMBERS)}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="team-")))
        folder.chmod(0o711)  # the unprivileged user passes through
        database = stack.enter_context(_database(programs, folder, passwords["database"]))
        address = stack.enter_context(_server(folder, database, passwords))
        team = Team(address, folder / "artifacts", passwords)
        _make_accounts(team)
        yield team


def _postgres() -> Path:
    """The folder of PostgreSQL's programs; without them the test is skipped, or fails where everything must run."""
    known = [*Path("/usr/lib/postgresql").glob("*/bin"), Path(shutil.which("initdb") or "/nowhere").parent]
    for place in known:
        if (place / "initdb").exists():
            return place
    reason = "needs PostgreSQL's programs (on Debian: apt-get install postgresql)"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def _tied(command: list[str], log: Path, **options: Any) -> Iterator[subprocess.Popen]:
    """A process that ends with this one, even by ``kill -9``, with all that it started; see `regimeshift.tied`."""
    tied = [sys.executable, "-P", "-m", "regimeshift.tied", *command]
    with log.open("a") as file, subprocess.Popen(
        tied, stdin=subprocess.PIPE, stdout=file, stderr=file, start_new_session=True, **options
    ) as process:  # fmt: skip
        yield process
        assert process.stdin is not None
        process.stdin.close()


def _wait(ready: Callable[[], bool], process: subprocess.Popen, log: Path) -> None:
    """Wait until a process is ready, as long as it lives (limited by pytest's timeout)."""
    while not ready():
        assert process.poll() is None, log.read_text()
        time.sleep(0.1)


@contextlib.contextmanager
def _database(programs: Path, folder: Path, password: str) -> Iterator[int]:
    """The port of a new PostgreSQL with an empty database."""
    place, log, port = folder / "database", folder / "postgres.log", free_port()
    place.mkdir()
    secret = place / "password"
    secret.write_text(password)
    other = []
    if os.geteuid() == 0:
        other = ["setpriv", f"--reuid={UNPRIVILEGED}", f"--regid={UNPRIVILEGED}", "--clear-groups"]
        for path in (place, secret):
            shutil.chown(path, UNPRIVILEGED)
    owner = compose(_values({}))["services"]["database"]["environment"]["POSTGRES_USER"]
    data = ["-D", str(place / "data")]

    def run(program: str, *words: str) -> bool:
        environment = os.environ | {"PGPASSWORD": password}
        done = subprocess.run(
            [*other, str(programs / program), *words], env=environment, cwd=place, capture_output=True, check=False
        )
        return done.returncode == 0

    assert run("initdb", *data, "-U", owner, "--pwfile", str(secret), "-A", "scram-sha-256", "--no-sync")
    settings = ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={place}", "-c", "fsync=off"]
    command = [*other, str(programs / "postgres"), *data, "-p", str(port), *settings]
    there = ["-h", "127.0.0.1", "-p", str(port), "-U", owner]
    with _tied(command, log, cwd=place) as process:
        _wait(lambda: run("pg_isready", *there), process, log)
        assert run("createdb", *there, "mlflow")
        yield port


def _values(passwords: dict[str, str]) -> dict[str, str]:
    """The compose file's variables."""
    return {
        "DATABASE_PASSWORD": passwords.get("database", "unknown"),
        "ADMIN_PASSWORD": passwords.get("admin", "unknown"),
        "SECRET_KEY": secrets.token_hex(12),
        "SERVER_NAME": "mlflow.example.com:5000",
    }


@contextlib.contextmanager
def _server(folder: Path, database: int, passwords: dict[str, str]) -> Iterator[str]:
    """The address of MLflow's server, which answers."""
    whole, port = compose(_values(passwords)), free_port()
    elsewhere = {
        "@database:5432/": f"@127.0.0.1:{database}/",
        "=/artifacts": f"={folder / 'artifacts'}",
        "--host=0.0.0.0": "--host=127.0.0.1",
        "--port=5000": f"--port={port}",
        "--workers=2": "--workers=1",
    }

    def placed(text: str) -> str:
        for there, here in elsewhere.items():
            text = text.replace(there, here)
        return text

    accounts = folder / "accounts.ini"
    accounts.write_text(placed(whole["configs"]["accounts"]["content"]))
    (folder / "artifacts").mkdir()
    service = whole["services"]["mlflow"]
    variables = service["environment"] | {"MLFLOW_AUTH_CONFIG_PATH": str(accounts)}
    kept = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # it starts uvicorn by its name
    command = [sys.executable, "-W", "ignore", "-m", *map(placed, service["command"])]
    address, log = f"http://127.0.0.1:{port}", folder / "mlflow.log"
    with _tied(command, log, env=kept | variables | {"PATH": path}, cwd=folder) as process:
        _wait(lambda: _answers(address), process, log)
        yield address


def _answers(address: str) -> bool:
    try:
        return urllib.request.urlopen(f"{address}/health", timeout=5).status == 200
    except OSError:
        return False


def _make_accounts(team: Team) -> None:
    """Run the page's block, as the administrator."""
    variables = team.variables("admin") | {f"PASSWORD_OF_{who.upper()}": team.passwords[who] for who in MEMBERS}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", block("python server")], env=os.environ | variables, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
