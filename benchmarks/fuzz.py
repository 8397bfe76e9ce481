"""Requests to a model server as they should not be: hypothesis strategies, for tests and for ``python -m benchmarks.serving``.

Each is made from a good request by one or more changes: another value anywhere in it, rows cut, turned, repeated or mixed up,
bytes lost or added, other headers, nesting, numbers that nothing can hold.
"""

from __future__ import annotations

import copy
import json
from typing import Any, NamedTuple

import requests
from hypothesis import strategies as st

JSON = {"Content-Type": "application/json"}
NUMBERS = st.sampled_from(
    [0, -1, 1e308, -1e308, 1e-308, 5e-324, 2**63, -(2**63), 10**400, 1e999, float("nan"), -0.0, 0.1]
)
TEXTS = st.sampled_from(
    ["", "S0", "null", "NaN", "\x00", "\ud800", "é" * 50, "x" * 5000, "0001-01-01", "9999-12-31T23:59:59.999999999", "+00:00"]
) | st.text(max_size=8)  # fmt: skip
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
HEADERS = st.sampled_from(
    [
        {}, {"Content-Type": ""}, {"Content-Type": "text/csv"}, {"Content-Type": "application/vnd.apache.parquet"},
        {"Content-Type": "application/json; charset=latin-1"}, {"Content-Type": "application/json; q=1"},
        {"Content-Type": "multipart/form-data"}, {"Content-Encoding": "gzip", **JSON}, {"Accept": "text/html", **JSON},
    ]
)  # fmt: skip


class Sent(NamedTuple):
    """A request: its body and headers."""

    body: bytes
    headers: dict[str, str]


def fuzzed(good: dict[str, Any]) -> st.SearchStrategy[Sent]:
    """Requests made from a good one, of whose row `good` is a copy that holds all that the model reads, with a state."""
    rows = st.lists(_row(good), min_size=1, max_size=2)
    whole = rows.map(lambda found: {"dataframe_records": found}) | _altered({"dataframe_records": [good]})
    bodies = whole.map(_encoded) | VALUES.map(_encoded) | whole.map(_encoded).flatmap(_bytes) | st.binary(max_size=200)
    nested = st.integers(1, 5000).map(lambda depth: b"[" * depth + b"]" * (depth % 3))
    return st.builds(Sent, bodies, st.just(JSON)) | st.builds(Sent, bodies | nested, HEADERS | st.just(JSON))


def _encoded(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=True).encode()


@st.composite
def _row(draw: st.DrawFn, good: dict[str, Any]) -> dict[str, Any]:
    """A row with some of its parts changed as a whole."""
    row = copy.deepcopy(good)
    for _ in range(draw(st.integers(0, 3))):
        key = draw(st.sampled_from(sorted(row) or ["symbols"]))
        part = row.get(key)
        if isinstance(part, list) and part and draw(st.booleans()):
            first, last = sorted(draw(st.tuples(*[st.integers(0, len(part))] * 2)))
            row[key] = draw(
                st.sampled_from([part[first:last], part[::-1], part * 2, part[first:] + part[:first], [part]])
            )
        elif draw(st.booleans()):
            row[key] = draw(VALUES)
        elif draw(st.booleans()):
            row.pop(key, None)
        else:
            row[draw(TEXTS)] = draw(VALUES)
    return draw(_altered(row)) if draw(st.booleans()) else row


@st.composite
def _altered(draw: st.DrawFn, value: Any) -> Any:
    """A copy of `value` with something else somewhere in it."""
    value = copy.deepcopy(value)
    at = value
    while True:
        keys = sorted(at) if isinstance(at, dict) else list(range(len(at)))
        if not keys:
            return value
        key = draw(st.sampled_from(keys))
        if not isinstance(at[key], (dict, list)) or not at[key] or draw(st.integers(0, 4)) == 0:
            at[key] = draw(VALUES)
            return value
        at = at[key]


@st.composite
def _bytes(draw: st.DrawFn, body: bytes) -> bytes:
    """A body with bytes cut out, or others put in."""
    first, last = sorted(draw(st.tuples(*[st.integers(0, len(body))] * 2)))
    return body[:first] + draw(st.binary(max_size=4)) + body[last if draw(st.booleans()) else first :]


def fault(session: requests.Session, address: str, sent: Sent) -> str:
    """What is wrong with the answer to a request; empty if nothing is: a decision, or a refusal in one line."""
    done = session.post(f"{address}/invocations", data=sent.body, headers=sent.headers, timeout=60)
    try:
        answer = json.loads(done.text, parse_constant=lambda name: name)
        if done.status_code == 200:
            right = all(set(row) >= {"symbols", "target_weight", "band", "rate"} for row in answer["predictions"])
            right = right and not any(name in done.text for name in ("NaN", "Infinity"))
        else:
            right = "\n" not in answer["message"] and 10 < len(answer["message"]) < 600
    except (ValueError, KeyError, TypeError):
        right = False
    return "" if right and done.status_code < 500 else f"{done.status_code}: {done.text[:500]}"
