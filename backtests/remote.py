"""What goes wrong between here and an MLflow tracking server, in one sentence each; and for how long it is tried again.

MLflow raises one class of exception for most of it, with a URL, an HTTP status and the body of the answer in its text.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from markets import InputError

_PASSWORD = re.compile(r"(://[^:/@\s]*):[^/@\s]+@")
_CAUSES = {
    r"\[Errno -?\d+\] ([\w ]+)": "",
    r"(certificate verify failed)": "",
    r"(\[SSL[^]]*\])": "",
    r"(too many \d+ error responses)": "",
    r"timed out": "no answer in time",
    r"Response body: '(.{1,160})": "",
}
# MLflow's own defaults (seven retries, two minutes for an answer) let a command wait for over four minutes.
PATIENCE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
}  # a server that restarts is waited for
FIRST = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}  # which finds out whether there is one


def is_server(address: str) -> bool:
    """Whether a tracking URI is that of a server."""
    return urlsplit(address).scheme in ("http", "https")


def shown(address: str) -> str:
    """An address as it may be printed: without its password."""
    return _PASSWORD.sub(r"\1:***@", address)


def account() -> str | None:
    """Name of the account at the server, from the environment or from ``~/.mlflow/credentials``; None without one."""
    from mlflow.utils.credentials import read_mlflow_creds

    return read_mlflow_creds().username or None


@contextlib.contextmanager
def unless_set(variables: dict[str, str]) -> Iterator[None]:
    """Context in which environment variables have these values, except those that the user has set."""
    added = {key: value for key, value in variables.items() if key not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for key in added:
            os.environ.pop(key, None)


@contextlib.contextmanager
def explained(address: str) -> Iterator[None]:
    """Context in which what goes wrong with the server at `address` is an `InputError` that says what to do."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if words := explanation(error, address):
            raise InputError(words) from None
        raise


def explanation(error: Exception, address: str) -> str | None:
    """What went wrong, in a sentence.

    Parameters
    ----------
    error : Exception
    address : str
        Tracking URI.

    Returns
    -------
    str or None
        None if it has nothing to do with a server: the address is another one, or the error is none of MLflow's requests.
    """
    if not is_server(address) or not _of_a_request(error):
        return None
    text = " ".join(str(error).split())
    server, status = f"MLflow at {shown(address)}", _status(error)
    if "Invalid Host header" in text:
        name = urlsplit(address).netloc.rpartition("@")[2]
        return f"{server} does not answer to the name {name}: add it to its --allowed-hosts"
    if status == 401:
        who = account()
        way = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or write them to ~/.mlflow/credentials"
        return f"{server} does not know {who} with this password; {way}" if who else f"{server} wants an account; {way}"
    if status == 403:
        what = re.search(r"mlflow/([a-z/-]+)", text)
        where = f" ({what[1]})" if what else ""
        return f"{server} does not permit this to {account() or 'you'}{where}; ask who administers it"
    if "not in a valid JSON format" in text or "failed with error code 404" in text:
        return f"{shown(address)} is not an MLflow server; see MLFLOW_TRACKING_URI"
    if status >= 500:
        return f"{server} fails ({_cause(text)}); its log says why, such as its database or the place for its files"
    if status == 0:
        return f"{server} does not answer ({_cause(text)}); is it running? See MLFLOW_TRACKING_URI"
    return None


def _of_a_request(error: Exception) -> bool:
    """Whether a request to a server failed; MLflow raises the same class for what is wrong with an argument."""
    from mlflow.exceptions import MlflowException, RestException
    from requests import RequestException

    if isinstance(error, (RestException, RequestException)):
        return True
    return isinstance(error, MlflowException) and str(error).startswith("API request to")


def _status(error: Exception) -> int:
    """HTTP status of the answer; 0 if there was none."""
    from mlflow.exceptions import MlflowException

    text = str(error)
    if found := re.search(r"too many (\d+) error responses", text):
        return int(found[1])
    if isinstance(error, MlflowException):
        none = "failed with exception" in text or "failed with timeout" in text
        return 0 if none else error.get_http_status_code()
    answer = getattr(error, "response", None)
    return 0 if answer is None else answer.status_code


def _cause(text: str) -> str:
    """The innermost cause that a nested message names."""
    for pattern, words in _CAUSES.items():
        if found := re.search(pattern, text):
            return words or found[1].strip()
    return text[:160]
