"""What is wrong with a tracking server, in one sentence each; tests/test_team.py asks a real one."""

import http.server
import os
import socket
import threading
import time

import mlflow
import pytest
import requests
from mlflow.exceptions import MlflowException, RestException

from backtests import registry, remote, tracking
from markets import InputError

SERVER = "http://ada:secret@mlflow.example.com:5000"


@pytest.fixture
def pages():
    """The address of a web server that is none of MLflow's, and the paths that it was asked for."""
    asked = []

    class Pages(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>Welcome</html>")

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


@pytest.fixture
def closed():
    """The address of a port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_a_server_that_is_away_is_found_out_within_seconds(closed, monkeypatch):
    """It took over four minutes of retries."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", closed)
    start = time.monotonic()
    with pytest.raises(InputError, match=f"^MLflow at {closed} does not answer .Connection refused.; is it running"):
        registry.history("momo")
    assert time.monotonic() - start < 10
    assert not [key for key in os.environ if key.startswith("MLFLOW_HTTP")]


def test_another_web_server_is_told_from_mlflows(pages, monkeypatch):
    address, asked = pages
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with pytest.raises(InputError, match=f"^{address} is not an MLflow server; see MLFLOW_TRACKING_URI$"):
        tracking.connect()
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("postgresql+psycopg://ada:secret@db:5432/mlflow", r"is the database postgresql.*//ada:\*\*\*@db:5432/mlflow, which"),
        ("127.0.0.1:5000", r"is 127.0.0.1:5000; name a server \(http://HOST:5000\) or a database file"),
        ("mlruns", "is mlruns; name a server"),
    ],
)  # fmt: skip
def test_what_is_no_place_for_runs_and_files_is_refused(address, message, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with pytest.raises(InputError, match=message) as refusal:
        tracking.connect()
    assert "secret" not in str(refusal.value)


def answered(status, body):
    answer = requests.Response()
    answer.status_code, answer._content = status, body.encode()
    return requests.HTTPError(f"{status} error: {body}", response=answer)


def not_json(status, body):
    """As MLflow raises it."""
    answer = requests.Response()
    answer.status_code, answer._content = status, body.encode()
    with pytest.raises(MlflowException) as raised:
        mlflow.utils.rest_utils.verify_rest_response(answer, "/api/2.0/mlflow/runs/create")
    return raised.value


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (not_json(401, "You are not authenticated."), "wants an account; set MLFLOW_TRACKING_USERNAME"),
        (not_json(403, "Permission denied"), r"does not permit this to you \(runs/create\); ask who administers it"),
        (not_json(403, "Invalid Host header - possible"), "does not answer to the name mlflow.example.com:5000: add it to its"),
        (not_json(404, "Not Found"), "is not an MLflow server"),
        (not_json(502, "Bad Gateway"), r"fails \(Bad Gateway.*\); its log says why"),
        (RestException({"error_code": "INTERNAL_ERROR", "message": "boom"}), r"fails \(INTERNAL_ERROR: boom\)"),
        (RestException({"error_code": "PERMISSION_DENIED", "message": "no"}), "does not permit this to you"),
        (answered(500, "Internal Server Error"), r"fails \(500 error: Internal Server Error\)"),
        (MlflowException("API request to x failed with exception too many 500 error responses"), r"fails \(too many 500"),
        (MlflowException("API request to x failed with timeout exception Read timed out."), "does not answer .no answer in time"),
        (MlflowException("API request to x failed with exception [SSL: WRONG_VERSION_NUMBER] bad"), r"answer \(\[SSL: WRONG"),
        (requests.ConnectionError("[Errno 111] Connection refused"), "does not answer .Connection refused"),
    ],
)  # fmt: skip
def test_each_kind_of_failure_has_its_sentence(error, words, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))  # no credentials of whoever runs the tests
    with pytest.raises(InputError, match=words) as refusal, remote.explained(SERVER):
        raise error
    assert "secret" not in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert remote.explanation(error, "sqlite:///mlruns/mlflow.db") is None


@pytest.mark.parametrize(
    "error",
    [
        MlflowException("Invalid parameter"),  # found on this side
        RestException({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such version"}),
        ValueError("a fault of ours"),
    ],
)
def test_what_is_not_the_servers_fault_is_raised_as_it_is(error):
    with pytest.raises(type(error), match=str(error)), remote.explained(SERVER):
        raise error


def test_the_account_is_that_of_the_environment_or_of_the_file(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert remote.account() is None
    (tmp_path / ".mlflow").mkdir()
    (tmp_path / ".mlflow" / "credentials").write_text(
        "[mlflow]\nmlflow_tracking_username = ada\nmlflow_tracking_password = x\n"
    )
    assert remote.account() == "ada"
    with pytest.raises(InputError, match="does not know ada with this password"), remote.explained(SERVER):
        raise not_json(401, "You are not authenticated.")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "bob")
    assert remote.account() == "bob"


def test_what_the_user_has_set_stays(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "9")
    with remote.unless_set({"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "2"}):
        assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "9"
        assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "2"
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "9"
    assert "MLFLOW_HTTP_REQUEST_TIMEOUT" not in os.environ
