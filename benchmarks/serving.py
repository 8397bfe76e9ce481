"""How fast a deployed model decides, in process and over HTTP, and whether its server stays whole.

The model is an RL2 policy of the size that ``regimeshift train`` makes, with random weights, on the 20 stocks: the time of a
decision does not depend on the weights.

*In process*: ``decide_p50_ms`` and ``decide_p99_ms``, one decision that carries what the one before read, from the next bar
alone; ``decide_from_bars_p50_ms``, from 250 raw bars as a request holds them, and none carried (its windows are shortened for
that, since the default ones read 313). *Over HTTP*, from this machine to a server with one process for each of two cores:
``http_p50_ms``, one client that waits for each answer; ``http_rps``, decisions a second that four clients get together, over
30 seconds; both from all bars that the model reads, in JSON, and ``http_state_p50_ms`` with the state of the answer before.

*Whole*: the server's memory over 50,000 requests, ``rss_growth_mb`` from the first fifth of them to the last, and the slope,
``rss_slope_kb``, per 1,000 requests of the last half; and 10,000 requests that are none (`benchmarks.fuzz`), of which
``fuzz_5xx`` were answered with a status of 500 or more, and ``fuzz_faults`` neither decided nor refused in a line of JSON.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

# before torch is imported: networks of this size are no faster with more threads, and clients need the other core
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import numpy as np
import requests
import torch
from hypothesis import HealthCheck, given
from rich.progress import track

from backtests import moves, registry, tracking
from backtests.carried import Deployed
from backtests.deployment import decide_row, make_contract
from backtests.request import to_request
from benchmarks.common import finish, options
from benchmarks.fuzz import JSON, fault, fuzzed
from markets import Bars, Features, load
from markets.common.progress import visible
from metalearner import RL2
from strategies import Policy, PolicySettings, PolicyStrategy

CLIENTS, WORKERS = 4, 2
RAW = 250  # bars


def policy(features: Features, seed: int) -> PolicyStrategy:
    """What RL2 deploys, with random weights."""
    learner, generator = RL2(), torch.random.fork_rng(devices=[])
    with generator:
        torch.manual_seed(seed)
        built = Policy(PolicySettings(features=features))
        for parameter in built.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return PolicyStrategy(built.eval(), learner.context, "RL2")


def timed(calls: Iterator[Callable[[], Any]], what: str, count: int, warm: int = 20) -> np.ndarray:
    """Milliseconds of each of `count` calls after some to warm up."""
    took = np.empty(count + warm)
    for k in track(range(count + warm), what, transient=True, disable=not visible(True)):
        call = next(calls)
        start = time.perf_counter()
        call()
        took[k] = 1e3 * (time.perf_counter() - start)
    return took[warm:]


def in_process(bars: Bars, count: int, seed: int) -> dict[str, float]:
    """Decisions that carry what the one before read, and from raw bars."""
    strategy = policy(Features(), seed)
    model = Deployed(strategy, make_contract(strategy, bars.rows(0, len(bars) - count - 100)))
    carried = model.decide(bars.rows(0, len(bars) - count - 50)).carried.remembering()

    def step(bar: Bars) -> None:
        nonlocal carried
        carried = model.decide(bar, carried=carried).carried

    def steps() -> Iterator[Callable[[], Any]]:
        for row in range(len(bars) - count - 50, len(bars)):
            yield partial(step, bars.rows(row, row + 1).without_past())

    took = timed(steps(), "carried", count)
    expected = strategy.plan(bars.rows(len(bars) - 31, len(bars) - 30)).aim[0]
    carried_over = model.decide(bars.rows(0, len(bars) - 31)).carried.remembering()
    last = model.decide(bars.rows(len(bars) - 31, len(bars) - 30).without_past(), carried=carried_over).plan.aim[0]
    short = policy(Features.scaled(180), seed)
    contract = make_contract(short, bars.rows(0, len(bars) - 100))
    asked = json.loads(json.dumps(to_request(bars[-RAW:].without_past())))

    raw = itertools.repeat(partial(decide_row, short, contract, asked, "the request"))
    whole = timed(raw, "from bars", max(count // 4, 100))
    return {
        "decide_p50_ms": float(np.median(took)),
        "decide_p99_ms": float(np.quantile(took, 0.99)),
        "decide_from_bars_p50_ms": float(np.median(whole)),
        "decide_from_bars_p99_ms": float(np.quantile(whole, 0.99)),
        "decide_difference": float(np.abs(last - expected).max()),
    }


@contextlib.contextmanager
def serving(bars: Bars, seed: int, workers: int) -> Iterator[tuple[str, int]]:
    """Context manager of a server of the policy, registered in a store of its own; yields its address and process id."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        registry.register("rl2", policy(Features(), seed), bars=bars, root=Path(folder) / "mlruns")
        with tracking.connected_to(Path(folder) / "mlruns"):
            moves.promote("rl2", 1, None)
        home = Path(__file__).resolve().parents[1]
        command = [sys.executable, "-P", "-m", "regimeshift", "serve", "rl2", "--port", "0", "--workers", str(workers)]
        environment = {**os.environ, "PYTHONPATH": str(home)}
        with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            address = process.stdout.readline().split(" is served on ")[1].split(" ")[0]
            with requests.Session() as session:
                session.get(f"{address}/health", timeout=120)  # answered when it has been loaded
            yield address, process.pid
            process.send_signal(signal.SIGINT)


def post(session: requests.Session, address: str, body: bytes) -> dict[str, Any]:
    done = session.post(f"{address}/invocations", data=body, headers=JSON, timeout=60)
    done.raise_for_status()
    return done.json()["predictions"][0]


def over_http(address: str, body: bytes, bars: Bars, count: int, seconds: float) -> dict[str, float]:
    """One client that waits, and several for as long as is said."""
    with requests.Session() as session:
        alone = timed(itertools.repeat(partial(post, session, address, body)), "HTTP", count)
        row = json.loads(body)["dataframe_records"][0]
        state: dict[str, Any] = post(session, address, _body(row | {"state": {}}))["state"]

        def step(bar: Bars) -> None:
            nonlocal state
            state = post(session, address, _body(to_request(bar) | {"state": state}))["state"]

        def carrying() -> Iterator[Callable[[], Any]]:
            for at in range(len(bars) - count - 50, len(bars)):
                yield partial(step, bars.rows(at, at + 1).without_past())

        carried = timed(carrying(), "HTTP with a state", count)
    until = time.perf_counter() + seconds

    def client(_: int) -> int:
        answered = 0
        with requests.Session() as session:
            while time.perf_counter() < until:
                post(session, address, body)
                answered += 1
        return answered

    start = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        answered = sum(pool.map(client, range(CLIENTS)))
    return {
        "http_p50_ms": float(np.median(alone)),
        "http_p99_ms": float(np.quantile(alone, 0.99)),
        "http_state_p50_ms": float(np.median(carried)),
        "http_rps": answered / (time.perf_counter() - start),
    }


def _body(row: dict[str, Any]) -> bytes:
    return json.dumps({"dataframe_records": [row]}).encode()


def resident(process: int) -> float:
    """Memory of a process in MB."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def memory(address: str, process: int, body: bytes, count: int) -> dict[str, float]:
    """Memory of a server of one process over many requests."""
    looks = []

    def some(n: int) -> None:
        with requests.Session() as session:
            for _ in range(n):
                post(session, address, body)

    for _ in track(range(50), f"{count:,} requests", transient=True, disable=not visible(True)):
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(some, [count // 50 // CLIENTS] * CLIENTS))
        looks.append(resident(process))
    late = np.array(looks[25:])
    slope = np.polyfit(np.arange(len(late)), late, 1)[0]
    return {
        "rss_mb": looks[-1],
        "rss_growth_mb": looks[-1] - looks[9],
        "rss_slope_kb": 1024 * slope / (count / 50 / 1000),
        "rss_requests": count,
    }


def fuzz(address: str, row: dict[str, Any], count: int, seed: int) -> dict[str, float]:
    """Requests that are none."""
    faults: list[str] = []
    with requests.Session() as session:
        good = row | {"position": {}, "state": post(session, address, _body(row | {"state": {}}))["state"]}

        @hypothesis.settings(max_examples=count, database=None, deadline=None, suppress_health_check=list(HealthCheck))
        @hypothesis.seed(seed)
        @given(fuzzed(good))
        def send(sent: Any) -> None:
            if found := fault(session, address, sent):
                faults.append(found)

        send()
    for found in faults[:5]:
        print(f"fault: {found[:300]}", file=sys.stderr)
    return {"fuzz_5xx": sum(found[0] == "5" for found in faults), "fuzz_faults": len(faults), "fuzz_requests": count}


def main() -> None:
    """Measure and print."""
    chosen = options(__doc__ or "")
    bars = load("stocks")
    torch.set_num_threads(1)
    few, many, seconds, fuzzes = (100, 400, 3.0, 200) if chosen.quick else (1000, 50_000, 30.0, 10_000)
    figures = in_process(bars, few, chosen.seed)
    registered = bars.rows(0, len(bars) - few - 100)
    row = json.loads(json.dumps(to_request(bars.rows(len(bars) - few - 50 - 313, len(bars) - few - 50).without_past())))
    with serving(registered, chosen.seed, WORKERS) as (address, _):
        figures |= over_http(address, _body(row), bars, few, seconds)
    with serving(registered, chosen.seed, 1) as (address, process):
        figures |= memory(address, process, _body(row), many)
        short = {"symbols": row["symbols"], **{key: row[key][-313:] for key in ("times", "bars")}}
        figures |= fuzz(address, short, fuzzes, chosen.seed)
    for name, value in figures.items():
        print(f"{name:26} {value:,.4g}")
    finish("serving", {name: round(value, 4) for name, value in figures.items()}, chosen.quick)


if __name__ == "__main__":
    main()
