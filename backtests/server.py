"""One registered version on MLflow's own scoring server, behind a guard that refuses what is no request.

``mlflow models serve`` serves a version too. Beside it, this checks the version's files before one of them is read, refuses
payloads that are too large, nested too deeply or no JSON with a sentence, answers a stated fallback where the model cannot
decide, writes a log, and says at ``/version`` what it serves: a version, which stays the same when the champion moves.
"""

from __future__ import annotations

import gc
import json
import os
import re
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any

from backtests import lookup, moves, versions
from backtests.decider import Decider, Fallback
from markets import InputError

LARGEST = 10 * 2**20  # bytes of a request
_DRAINED = 20  # multiples of that which are read and thrown away, so that the client reads why
DEEPEST = 32  # nesting of its JSON; a state has 4 levels
_SETTINGS = "REGIMESHIFT_SERVED"  # in which worker processes find theirs
_STRINGS, _BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL), re.compile(rb"[\[\]{}]")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]


@dataclass(frozen=True)
class Settings:
    """What is served, and how.

    Attributes
    ----------
    model : str
        ``NAME/3``, a version.
    root : str
        MLflow's folder, unless ``MLFLOW_TRACKING_URI`` is set.
    fallback, max_age, log
        As of `backtests.decider.Decider`.
    """

    model: str
    root: str = lookup.ROOT
    fallback: Fallback = "refuse"
    max_age: float | None = None
    log: str | None = None


class Refused(Exception):
    """What is no request: an HTTP status and a sentence."""

    def __init__(self, status: HTTPStatus, sentence: str):
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


def serve(settings: Settings, listener: socket.socket, workers: int = 1) -> None:
    """Serve until the process is interrupted (Ctrl-C) or terminated.

    Parameters
    ----------
    settings : Settings
    listener : socket
        As `listening` returns it.
    workers : int
        Processes.
    """
    import uvicorn

    os.environ[_SETTINGS] = json.dumps(asdict(settings))
    uvicorn.run(
        "backtests.server:application", factory=True, fd=listener.fileno(), workers=workers, lifespan="off", access_log=False,
        log_level="warning", timeout_graceful_shutdown=5,
    )  # fmt: skip


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 is any that is free.

    Raises
    ------
    InputError
        When the port is taken, or the host is none of this machine.
    """
    if not 0 <= port < 2**16:
        raise InputError(f"cannot listen on port {port}; ports are 1 to 65535, and 0 is any that is free")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(found[0], found[1])
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # connections inherit it; asyncio sets it on sockets of its own alone, and without it an answer waits 40 ms for an ACK
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind(found[4])
        listener.listen(2048)
    except OSError as error:
        raise InputError(
            f"cannot listen on {host}:{port} ({error.strerror}); choose another --port or --host"
        ) from None
    listener.set_inheritable(True)
    return listener


def application() -> Application:
    """What each process of the server runs; its settings are in the environment."""
    from mlflow.pyfunc import scoring_server

    settings = Settings(**json.loads(os.environ[_SETTINGS]))
    model = versions.load(settings.model, root=settings.root)
    served = model.unwrap_python_model()
    served.decider = Decider(served.decider.model, model.name, settings.fallback, settings.max_age, settings.log)
    gc.freeze()  # what is loaded stays: the collector need not look at it again and again
    about = {"model": model.name, "fingerprint": served.decider.model.fingerprint} | asdict(settings)
    return Guard(scoring_server.init(model.model), about, _inputs(model))


def _inputs(model: versions.RegisteredStrategy) -> frozenset[str]:
    return frozenset(model.model.metadata.get_input_schema().input_names())


class Guard:
    """An ASGI application before MLflow's.

    Parameters
    ----------
    inner : ASGI application
    about : mapping
        What ``/version`` answers.
    inputs : set of str
        What a row of a request may hold.
    """

    def __init__(self, inner: Application, about: dict[str, Any], inputs: frozenset[str]):
        self.inner, self.about, self.inputs = inner, about, inputs

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        path, method = scope.get("path"), scope.get("method")
        if scope["type"] == "http" and method == "GET" and path in ("/health", "/version"):
            answer = {"status": "ok", "model": self.about["model"]} if path == "/health" else self._version()
            await _answer(send, HTTPStatus.OK, answer)
        elif scope["type"] == "http" and method == "POST" and path == "/invocations":
            try:
                body = await _body(scope, receive)
                _check(body, self.inputs)
            except Refused as refused:
                error = {"error_code": refused.status.name, "message": refused.sentence}
                await _answer(send, refused.status, error)
            else:
                await self.inner(scope, _replayed(body, receive), send)
        else:
            await self.inner(scope, receive, send)

    def _version(self) -> dict[str, Any]:
        """What is served, and the number of the champion now, if that can be read without asking a server."""
        found = lookup.find(self.about["model"].rpartition("/")[0], "", moves.CHAMPION, self.about["root"])
        return self.about | {"champion": found.number if found else None}


async def _answer(send: Send, status: HTTPStatus, content: dict[str, Any]) -> None:
    body = json.dumps(content).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": int(status), "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _body(scope: Message, receive: Receive) -> bytes:
    """The body of a request.

    Raises
    ------
    Refused
        When it is too large, however it is sent, or of another type.
    """
    parts, size = [], 0
    while True:
        message = await receive()
        size += len(part := message.get("body", b""))
        if size <= LARGEST:
            parts.append(part)
        else:
            parts.clear()
        if message["type"] == "http.disconnect" or not message.get("more_body") or size > _DRAINED * LARGEST:
            break
    if size > LARGEST:
        raise Refused(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"the request has more than {LARGEST // 2**20} MB; send fewer rows, or no more bars than the model reads",
        )
    kind = dict(scope["headers"]).get(b"content-type", b"").decode("latin-1")
    if not re.fullmatch(r'application/json(\s*;\s*charset\s*=\s*"?utf-?8"?)?\s*', kind, re.IGNORECASE):
        raise Refused(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"the content type is {kind[:100] or 'not given'}; send JSON in UTF-8, as application/json",
        )
    return b"".join(parts)


def _check(body: bytes, inputs: frozenset[str]) -> None:
    """Refuse what has not the form of a request; what its rows hold is checked where they are answered."""
    depth = deepest = 0
    for bracket in _BRACKETS.findall(_STRINGS.sub(b"", body)):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    if deepest > DEEPEST:
        raise Refused(HTTPStatus.BAD_REQUEST, f"the JSON is nested {deepest} levels deep; a request has no more than 5")
    try:
        found = json.loads(body, parse_constant=_no_number)
    except ValueError as error:  # also of bytes that are not UTF-8, and of numbers with thousands of digits
        raise Refused(HTTPStatus.BAD_REQUEST, f"the request is not JSON in UTF-8: {str(error)[:200]}") from None
    rows = found.get("dataframe_records") if isinstance(found, dict) and len(found) == 1 else None
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise Refused(
            HTTPStatus.BAD_REQUEST,
            'the request must be {"dataframe_records": [{"symbols": [...], "times": [...], "bars": [...]}]}, with one object for '
            "each decision",
        )
    unknown = next((key for row in rows for key in row if key not in inputs), None)
    if unknown is not None:
        raise Refused(
            HTTPStatus.BAD_REQUEST,
            f"the request has {unknown[:50]!r}, of which the model knows nothing; it reads {', '.join(sorted(inputs))}",
        )


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON; send null where there is none")


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A source of messages with the body that was read, and then what comes after it."""
    rest = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return rest.pop() if rest else await receive()

    return replay
