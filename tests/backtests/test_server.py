"""A real server of a registered model: what it answers, refuses and writes down, and that nothing sent to it is its fault."""

import json
import socket
from pathlib import Path

import mlflow
import numpy as np
import pytest
import samples
import torch
from command import call, refused
from hypothesis import HealthCheck, given, settings
from served import Served

from backtests import audit, moves, registry, server, tracking
from backtests.request import to_request
from benchmarks.fuzz import JSON, fault, fuzzed
from markets import Features, InputError
from markets.features import Return
from strategies import Policy, PolicySettings, PolicyStrategy

pytestmark = [pytest.mark.process, pytest.mark.filterwarnings("ignore::UserWarning")]
BARS = samples.regime_bars(400, 3, seed=1)
END = 300  # bars at registration


def small_policy():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        built = Policy(PolicySettings(features=Features((Return(1, 6), Return(5, 6))), base_window=6, hidden=4))
        for parameter in built.parameters():
            torch.nn.init.normal_(parameter, std=0.7)
    return PolicyStrategy(built.eval(), 7)


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder with a registered champion."""
    folder = tmp_path_factory.mktemp("served")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        registry.register("small", small_policy(), bars=BARS[:END], root=folder / "mlruns")
        move(folder, 1, None)
    return folder


def move(folder, version, before):
    """Make a version the champion without its gates, which take a while."""
    with tracking.connected_to(folder / "mlruns"):
        moves.promote("small", version, before)


@pytest.fixture(scope="module")
def served(desk):
    found = Served(desk, "small/1", "--log", "decisions.jsonl")
    yield found
    out, err, code = found.end()
    assert (out.splitlines()[-1], err, code) == ("Ended.", "", 0)


@pytest.fixture(scope="module")
def asked():
    return json.loads(json.dumps(to_request(BARS[END - 30 : END + 10].without_past())))


def test_decisions_are_those_of_the_backtest_with_all_bars_and_with_the_state(served, asked):
    plan = small_policy().plan(BARS)
    answer = served.decide(asked | {"state": {}, "position": {"S0": 0.9}})
    for row in range(END + 10, END + 20):
        for part, values in (("target_weight", plan.aim), ("band", plan.band)):
            np.testing.assert_allclose(answer[part], values[row - 1], rtol=0, atol=1e-12)
        one = to_request(BARS.rows(row, row + 1).without_past())
        answer = served.decide(one | {"state": answer["state"]})
    aim, band = plan.aim[END + 9], plan.band[END + 9]
    expected = np.clip([0.9, 0, 0], aim - band, aim + band)
    np.testing.assert_allclose(
        served.decide(asked | {"position": {"S0": 0.9}})["trade_to"], expected, rtol=0, atol=1e-12
    )
    both = served.post({"dataframe_records": [asked, asked | {"state": {}}]}).json()["predictions"]
    assert both[0]["state"] is None
    assert both[0]["target_weight"] == both[1]["target_weight"]


def test_it_says_what_it_serves_and_the_champion_moves_without_it(served, desk):
    assert served.get("/health").json() == {"status": "ok", "model": "small/1"}
    about = served.get("/version").json()
    assert (about["model"], about["champion"], about["fallback"]) == ("small/1", 1, "refuse")
    assert about["fingerprint"] == registry.load("small/1", root=desk / "mlruns").fingerprint
    with tracking.connected_to(desk / "mlruns"):
        client = mlflow.MlflowClient()
        client.create_model_version("small", client.get_model_version("small", "1").source)
    move(desk, 2, 1)
    about = served.get("/version").json()
    assert (about["model"], about["champion"]) == ("small/1", 2)  # it goes on with what it was started with


def changed(asked, row, column, value):
    bars = [list(values) for values in asked["bars"]]
    bars[row][column] = value
    return asked | {"bars": bars}


def turned(asked):
    """Columns exchanged under names that were not, on bars that reach back to registration."""
    return asked | {"bars": [values[::-1] for values in asked["bars"][:-9]], "times": asked["times"][:-9]}


REFUSED = {
    "too few bars": (
        lambda a: {k: v[-3:] if k != "symbols" else v for k, v in a.items()},
        "has 3 bars; the model reads",
    ),
    "one bar": (
        lambda a: {k: v[-1:] if k != "symbols" else v for k, v in a.items()},
        "only 1 bar; at least 2 are needed",
    ),
    "stale": (
        lambda a: {k: v[:-11] if k != "symbols" else v for k, v in a.items()},
        "give bars that end then or later",
    ),
    "unsorted": (lambda a: a | {"times": a["times"][::-1]}, "times are not sorted"),
    "a gap at the end": (lambda a: changed(a, -1, 1, None), "S1 has no close at"),
    "other symbols": (lambda a: a | {"symbols": ["S0", "S1", "X"]}, "the request is without S2"),
    "exchanged columns": (turned, "are columns exchanged?"),
    "an unknown part": (lambda a: a | {"postion": {}}, "the request has 'postion', of which the model knows nothing"),
    "a huge number": (lambda a: changed(a, 5, 0, 10**400), "is not a number that a price can be"),
    "a long text": (lambda a: changed(a, 5, 0, "x" * 10**6), "which is not a number"),
    "no symbols": (lambda a: {k: v for k, v in a.items() if k != "symbols"}, "is without symbols"),
    "another state": (lambda a: a | {"state": {"model": "x"}}, "its state is none that was answered"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_request_is_refused_in_a_sentence(what, served, asked):
    change, message = REFUSED[what]
    done = served.post({"dataframe_records": [change(asked)]})
    assert done.status_code == 400
    found = done.json()["message"]
    assert message in found
    assert "\n" not in found
    assert len(found) < 400


@pytest.mark.parametrize(
    ("body", "headers", "status", "message"),
    [
        (b"{", JSON, 400, "is not JSON in UTF-8: "),
        (b"", JSON, 400, "is not JSON in UTF-8: "),
        (b"\xff\xfe", JSON, 400, "is not JSON in UTF-8: "),
        (b'{"dataframe_records": [{"bars": [[NaN]]}]}', JSON, 400, "NaN is no number of JSON; send null"),
        (b"[" * 100_000, JSON, 400, "nested 100000 levels deep"),
        (b'{"dataframe_records": []}', JSON, 400, 'must be {"dataframe_records": [{'),
        (b'{"dataframe_records": [1]}', JSON, 400, 'must be {"dataframe_records": [{'),
        (b'{"inputs": [1]}', JSON, 400, 'must be {"dataframe_records": [{'),
        (b'{"messages": [], "dataframe_records": [{}]}', JSON, 400, 'must be {"dataframe_records": [{'),
        (b"{}", {}, 415, "the content type is not given; send JSON"),
        (b"a,b", {"Content-Type": "text/csv"}, 415, "the content type is text/csv; send JSON"),
        (b"{}", {"Content-Type": "application/json; charset=utf-16"}, 415, "send JSON in UTF-8"),
        (b" " * (server.LARGEST + 1), JSON, 413, "more than 10 MB"),
        ((b" " * 2**20 for _ in range(11)), JSON, 413, "more than 10 MB"),  # in chunks, of a length that is not said
    ],
)
def test_what_is_not_even_json_is_refused_in_a_sentence(body, headers, status, message, served):
    done = served.post(body, headers)
    assert done.status_code == status
    assert message in done.json()["message"]
    assert "\n" not in done.json()["message"]


def test_other_paths_and_methods_are_not_there(served):
    assert served.get("/").status_code == 404
    assert served.get("/invocations").status_code == 405
    assert served.get("/ping").status_code == 200


def test_fuzzed_requests_are_decided_or_refused_and_never_the_servers_fault(served, asked):
    good = asked | {"position": {"S0": 0.1}, "state": served.decide(asked | {"state": {}})["state"]}
    faults = []

    @settings(max_examples=150, suppress_health_check=list(HealthCheck))
    @given(fuzzed(good))
    def fuzz(sent):
        if found := fault(served.session, served.address, sent):
            faults.append((found, sent))
        assert not found

    fuzz()
    assert served.decide(asked)["target_weight"]  # it is still there
    assert not faults


def test_each_decision_is_in_the_log(served, asked):
    before = len(audit.read(served.folder / "decisions.jsonl"))
    answer = served.decide(asked)
    records = audit.read(served.folder / "decisions.jsonl")
    assert len(records) == before + 1
    assert records[-1]["answer"] == answer
    assert records[-1]["model"] == "small/1"


@pytest.mark.slow  # three processes that import torch
def test_workers_share_a_port_and_a_log_and_a_fallback_is_flagged(desk, asked):
    found = Served(desk, "small/1", "--workers", "2", "--fallback", "hold", "--max-age", "5", "--log", "held.jsonl")
    try:
        answer = found.decide(asked | {"position": {"S0": 0.5}})
        assert (answer["flag"], answer["trade_to"], answer["band"]) == ("hold", [0.5, 0, 0], [None] * 3)
        assert "days ago, and 5 bars (5 days) are allowed" in answer["reason"]
        assert found.post({"dataframe_records": [asked | {"symbols": ["A"]}]}).status_code == 400
        assert audit.read(desk / "held.jsonl")[0]["answer"]["flag"] == "hold"
    finally:
        out, err, code = found.end()
    assert (out.splitlines()[-1], err, code) == ("Ended.", "", 0)


def test_a_port_that_is_taken_is_one_line(served):
    port = served.address.rpartition(":")[2]
    with pytest.raises(
        InputError, match=rf"cannot listen on 127\.0\.0\.1:{port} \(Address already in use\); choose another --port"
    ):
        server.listening("127.0.0.1", int(port))
    for host, other in (("127.0.0.1", 70_000), ("nowhere.invalid", 5001), ("127.0.0.1", -1)):
        with pytest.raises(InputError, match="cannot listen on"):
            server.listening(host, other)


def test_a_changed_file_is_refused_before_it_is_read(desk):
    path = Path(registry.load("small/1", root=desk / "mlruns").folder) / "python_env.yaml"
    kept = path.read_bytes()
    path.write_bytes(kept + b"#")
    try:
        refused(call("serve", "small/1", "--port", "0", cwd=desk), "python_env.yaml was changed since registration")
    finally:
        path.write_bytes(kept)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--workers", "0"], "--workers 0: it must be at least 1"),
        (["--max-age", "-1"], "the largest age is -1.0; it must be above 0 bars"),
        (
            ["--log", "nowhere/log.jsonl"],
            "--log: nowhere/log.jsonl: the log cannot be written (No such file or directory)",
        ),
        (["--log", "my.txt"], "--log: my.txt: line 1 is no record of this log"),
        (["--host", "nowhere.invalid"], "cannot listen on nowhere.invalid:0 ("),
    ],
)
def test_wrong_options_are_one_line(options, message, desk):
    (desk / "my.txt").write_text("mine\n")
    refused(call("serve", "small/1", "--port", "0", *options, cwd=desk), message)


def test_regression_an_answer_does_not_wait_for_the_client_to_acknowledge_its_head():
    """40 ms of each answer were Nagle's algorithm: uvicorn is given a socket, and does not see that it is one of TCP."""
    with server.listening("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
