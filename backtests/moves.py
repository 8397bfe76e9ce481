"""Moves of a registered model's aliases ``champion`` and ``previous``: recorded, one at a time, and whole whatever is killed.

MLflow keeps an alias as one row, so that each write is whole; but a move is two of them. It is therefore written first as an
intent, in one tag of the registered model, and then carried out: ``previous``, ``champion``, the record of the move, and last
the intent is removed. Each of these writes can be repeated. A kill before the intent leaves what was; a kill after it leaves the
old champion or the new one, and the next move or look at the history carries the intent out before anything else. If its version
was deleted meanwhile, the intent is undone and recorded as such. In every state ``champion`` names a version that was promoted.

Records are tags of the registered model, one a move, which are added and never changed; so they are wherever MLflow keeps the
model, in ``mlruns/`` or on a server. What one process does, others must not do at once (`exclusively`):

* A store in an SQLite file has a lock file beside it. The operating system frees it when its holder dies.
* Elsewhere the claim is a registered model ``NAME.moving``, there for the moment of the move. Its name is a primary key of the
  database, so that of several who create it at once one succeeds. A holder that was killed leaves its claim: who waits takes it
  away when it has not changed for `PATIENCE` seconds. That is a lease, so this is all that is guaranteed: a client that stalls
  for so long between two of its writes may still make the second after others have moved on. The aliases are versions that
  passed their gates even then, and the records show both moves. On a server with accounts, who may not move the aliases finds
  that out before making a claim, by the tag ``moving.by``; and a claim that is left can be taken away by who may delete models.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import socket
import time
import uuid
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from filelock import FileLock, Timeout

from backtests import remote
from markets import InputError

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION, PREVIOUS = "champion", "previous"
CLAIMED = "moving.by"  # tag of the registered model: who claimed it last
INTENT = "moving"  # tag of the registered model: the move that is being carried out
RECORD = "move."  # before the time: tag of the registered model that records a move
PATIENCE = 30.0  # seconds after which a claim that has not changed is taken for one of a dead process
LONGEST = 4500  # characters of a record; MLflow's database holds 5,000 of such a tag


@dataclass(frozen=True)
class Move:
    """A move of the aliases of one registered model.

    Attributes
    ----------
    kind : str
        ``promote`` or ``rollback``; with ``undone: `` before it if its version was deleted before it was carried out.
    time : str
        ISO 8601 to the microsecond, in UTC; records are in this order.
    version : int
        The champion after it.
    before : int or None
        The champion before it, which is ``previous`` after it.
    previous : int or None
        What was ``previous`` before it.
    who : str
        User and host.
    why : str
        The reason given; may be empty.
    forced : tuple of str
        Names of the gates that were not passed, and overridden.
    gates : dict of str to str
        What each gate found, by its name.
    """

    kind: str
    time: str
    version: int
    before: int | None
    previous: int | None
    who: str
    why: str = ""
    forced: tuple[str, ...] = ()
    gates: dict[str, str] | None = None

    @property
    def text(self) -> str:
        """The move as JSON; sentences are cut short where it would be too long for MLflow's database."""
        found = asdict(self)
        whole = json.dumps(found)
        if len(whole) > LONGEST:
            found["why"] = self.why[:1000]
            found["gates"] = {name: text[:100] for name, text in (self.gates or {}).items()}
            whole = json.dumps(found)
        return whole

    @classmethod
    def read(cls, text: str) -> Move:
        """A move from its JSON."""
        found = json.loads(text)
        return cls(**found | {"forced": tuple(found["forced"])})


@dataclass(frozen=True)
class Aliases:
    """Which versions the aliases of a registered model name; None where there is none."""

    champion: int | None
    previous: int | None


def aliases(name: str) -> Aliases:
    """The aliases as they are; of a model that is not registered, none.

    If a move was cut off, they are those before it or after it; `finish` carries it out.
    """
    from mlflow.exceptions import MlflowException

    try:
        return _aliases(_client().get_registered_model(name))
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return Aliases(None, None)


def promote(
    name: str,
    version: int,
    before: int | None,
    *,
    why: str = "",
    forced: tuple[str, ...] = (),
    gates: dict[str, str] | None = None,
) -> Move:
    """Make `version` the champion of `name`, and the champion so far ``previous``.

    Parameters
    ----------
    name : str
    version : int
    before : int or None
        The champion that it was compared with. If it is another one by now, nothing is moved.
    why, forced, gates
        Recorded; see `Move`.

    Raises
    ------
    InputError
        When another move was first, or there is no such version.
    """
    with exclusively(name):
        client = _client()
        _finish(client, name)
        now = _aliases(client.get_registered_model(name))
        if now.champion == version:
            raise InputError(f"{name}/{version} became the champion meanwhile: another process promoted it, too")
        if now.champion != before:
            last = _records(client, name)[-1:]
            by = "".join(f", by {m.who} at {m.time[:19]} UTC" for m in last if m.version == now.champion)
            was = f"{name}/{before}" if before else "no champion"
            raise InputError(
                f"{name}/{now.champion or 'none'} became the champion meanwhile{by}; {name}/{version} was compared with {was}, "
                "and is not promoted: promote it again to compare it with the new one"
            )
        return _carry_out(client, name, "promote", version, now, why, forced, gates)


def roll_back(name: str, *, why: str = "") -> Move:
    """Exchange the champion of `name` and ``previous``.

    Raises
    ------
    InputError
        When there is no ``previous``.
    """
    with exclusively(name):
        client = _client()
        _finish(client, name)
        now = aliases(name)
        if now.previous is None or now.champion is None or now.previous == now.champion:
            raise InputError(f"{name} has no previous champion to go back to; see: regimeshift history {name}")
        return _carry_out(client, name, "rollback", now.previous, now, why, (), None)


def history(name: str) -> list[Move]:
    """Every move of the aliases of `name`, oldest first; one that was cut off is finished before.

    Raises
    ------
    InputError
        When there is no such model.
    """
    from mlflow.exceptions import MlflowException

    try:
        finish(name)
        return _records(_client(), name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise InputError(f"there is no registered model {name!r}; make one with: regimeshift register") from None


def finish(name: str) -> None:
    """Carry out a move of `name` that was cut off, if there is one."""
    client = _client()
    if INTENT in client.get_registered_model(name).tags:
        with exclusively(name):
            _finish(client, name)


def me() -> str:
    """The account at MLflow's server, or else the user, and the host."""
    import mlflow

    name = remote.account() if remote.is_server(mlflow.get_registry_uri()) else None
    try:
        user = name or getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


# ---------------------------------------------------------------------------------------------------- the writes


def _carry_out(
    client: MlflowClient, name: str, kind: str, version: int, now: Aliases, why: str, forced: tuple[str, ...],
    gates: dict[str, str] | None,
) -> Move:  # fmt: skip
    """Write the intent of a move, and do it."""
    from mlflow.exceptions import MlflowException

    try:
        client.get_model_version(name, str(version))
    except MlflowException:
        raise InputError(f"there is no version {version} of {name}") from None
    last = [pd.Timestamp(move.time) for move in _records(client, name)[-1:]]
    # later than the last one even if the clocks of two hosts differ
    at = max([pd.Timestamp.now("UTC"), *(time + pd.Timedelta("1us") for time in last)])
    move = Move(
        kind, at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), version, now.champion, now.previous, me(), why, forced, gates
    )
    _written("intent")
    client.set_registered_model_tag(name, INTENT, move.text)
    done = _finish(client, name)
    assert done is not None
    return done


def _finish(client: MlflowClient, name: str) -> Move | None:
    """Carry out the intended move, if there is one, from whichever of its writes it was cut off at."""
    from mlflow.exceptions import MlflowException

    model = client.get_registered_model(name)
    if INTENT not in model.tags:
        return None
    move = Move.read(model.tags[INTENT])
    there = {int(v.version) for v in client.search_model_versions(f"name = '{name}'")}
    if move.version not in there:
        move = Move.read(json.dumps(asdict(move) | {"kind": f"undone: {move.kind}"}))
        wanted = {PREVIOUS: move.previous, CHAMPION: move.before}
    else:
        wanted = {PREVIOUS: move.before, CHAMPION: move.version}
    for alias, number in wanted.items():
        if number in there:
            _written(alias)
            client.set_registered_model_alias(name, alias, str(number))
    _written("record")
    client.set_registered_model_tag(name, f"{RECORD}{move.time}", move.text)
    _written("end")
    with contextlib.suppress(MlflowException):  # on a server someone else may have removed it
        client.delete_registered_model_tag(name, INTENT)
    return move


def _written(what: str) -> None:
    """Called before each write; tests replace it, to kill the process there."""


def _records(client: MlflowClient, name: str) -> list[Move]:
    tags = client.get_registered_model(name).tags
    return [Move.read(tags[key]) for key in sorted(tags) if key.startswith(RECORD)]


def _aliases(model: Any) -> Aliases:
    found = model.aliases
    return Aliases(*(int(found[alias]) if alias in found else None for alias in (CHAMPION, PREVIOUS)))


def _client() -> MlflowClient:
    import mlflow

    return mlflow.MlflowClient()


# ---------------------------------------------------------------------------------------------------- one at a time


@contextlib.contextmanager
def exclusively(name: str) -> Iterator[None]:
    """Context in which no other process moves aliases of `name`; see the module's docstring for what holds on a server.

    Raises
    ------
    InputError
        When another process holds it for longer than `PATIENCE` seconds.
    """
    import mlflow

    file = _sqlite_file(mlflow.get_registry_uri())
    if file is None:
        with _claimed(_client(), name):
            yield
        return
    lock = FileLock(f"{file}.moves.lock")
    try:
        lock.acquire(timeout=PATIENCE)
    except Timeout:
        raise InputError(
            f"another process has held {lock.lock_file} for {PATIENCE:g} seconds; is it stopped? Try again when it has ended"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _sqlite_file(address: str) -> Path | None:
    """The file of an SQLite store; None for another one."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(address)
    except ArgumentError:
        return None
    at_home = url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:")
    return Path(str(url.database)).resolve() if at_home else None


@contextlib.contextmanager
def _claimed(client: MlflowClient, name: str) -> Iterator[None]:
    """Context in which this process alone holds the claim on `name`: a registered model, whose name can be created once.

    Raises
    ------
    InputError
        When a claim was left, and this account may not take it away.

    Warns
    -----
    UserWarning
        When this account may make a claim, but not take it away again.
    """
    from mlflow.exceptions import MlflowException

    claim, token = f"{name}.{INTENT}", uuid.uuid4().hex
    about = f"{me()} moves the aliases of {name}; it is gone in a moment."
    client.set_registered_model_tag(name, CLAIMED, me())
    seen, since = "", time.monotonic()
    while True:
        try:
            client.create_registered_model(claim, {"token": token}, about)
            break
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        held = _holder(client, claim)
        if held != seen:
            seen, since = held, time.monotonic()
        elif (
            held and time.monotonic() - since > PATIENCE and _holder(client, claim) == held and not _gone(client, claim)
        ):
            who = client.get_registered_model(name).tags.get(CLAIMED, "someone")
            raise InputError(
                f"the registered model {claim} was left by a move that was cut off, and you may not delete it; {who} moved last: "
                "ask who administers MLflow to delete it"
            )
        time.sleep(0.05)
    left = False
    try:
        yield
    finally:
        with contextlib.suppress(MlflowException):  # the server may have gone
            left = _holder(client, claim) == token and not _gone(client, claim)
        if left:
            warnings.warn(
                f"the registered model {claim} is left, since you may not delete it: ask who administers MLflow to delete it, "
                "and to let you delete registered models and their versions",
                stacklevel=2,
            )


def _gone(client: MlflowClient, claim: str) -> bool:
    """Delete a claim; False if this is not permitted."""
    from mlflow.exceptions import MlflowException

    try:
        client.delete_registered_model(claim)
    except MlflowException as error:
        return error.error_code != "PERMISSION_DENIED"
    return True


def _holder(client: MlflowClient, claim: str) -> str:
    """The token of who holds a claim; empty if nobody does."""
    from mlflow.exceptions import MlflowException

    try:
        return str(client.get_registered_model(claim).tags.get("token", ""))
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return ""
