"""Speed and memory of features: on 20 stocks, per bar pushed to the live stream, and on a million bars of 100 symbols."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import markets
from benchmarks.common import finish, options
from markets import Bars, Features
from markets.features import Calendar, Drawdown, Rank, Trend, Volatility

# The default features, and all others that need closes only.
MANY = Features(
    (*Features().parts, Trend(8, 24), Trend(16, 48), Trend(32, 96), Volatility(), Drawdown(252), Rank(21), Rank(252), Calendar())
)  # fmt: skip


def milliseconds(run: Callable[[], object], repeats: int) -> float:
    """Median time of `repeats` runs after a warm-up, in milliseconds."""
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def push(bars: Bars, count: int) -> float:
    """Mean time to push one bar into a stream, in microseconds."""
    stream = Features().stream(bars[:-count])
    rows = list(zip(bars.close[-count:], bars.index[-count:], strict=True))
    start = time.perf_counter()
    for close, at in rows:
        stream.push(None, None, None, close, None, at)
    return (time.perf_counter() - start) / count * 1e6


def long_panel(length: int, symbols: int, seed: int) -> dict[str, float]:
    """Features of a long panel, computed by blocks in a new process: GiB of the bars, peak GiB, and seconds."""
    code = f"""
import resource, time, numpy as np, pandas as pd
from markets import Bars, Features
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
rng = np.random.default_rng({seed})
fields = dict(close=np.empty(({length}, {symbols})))
level = np.zeros({symbols})
for first in range(0, {length}, 10_000):
    part = fields["close"][first:first + 10_000]
    part[:] = level + rng.normal(0, 0.001, part.shape).cumsum(axis=0)
    level = part[-1].copy()
    np.exp(part, out=part)
index = pd.date_range("1900-01-01", periods={length}, freq="min")
bars = Bars.make(index, [str(i) for i in range({symbols})], fields.pop("close"))
made = peak()
start = time.perf_counter()
rows = sum(len(block) for block in Features().blocks(bars))
assert rows == {length}
print(made, peak(), time.perf_counter() - start)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    built, peak, took = (float(x) for x in done.stdout.split())
    return {"bars_gib": built, "peak_gib": peak, "s": took}


def main() -> None:
    """Run all measurements and print them."""
    chosen = options(__doc__ or "")
    bars = markets.load("stocks")
    repeats = 5 if chosen.quick else 31
    length = 100_000 if chosen.quick else 1_000_000
    found = long_panel(length, 100, chosen.seed)
    label = "1e6x100" if length == 1_000_000 else "1e5x100"
    figures = {
        "features_ms_8313x20": milliseconds(lambda: Features().compute(bars), repeats),
        "features_all_ms_8313x20": milliseconds(lambda: MANY.compute(bars), repeats),
        "features_columns": len(Features().names),
        "features_all_columns": len(MANY.names),
        "features_push_us_20": statistics.median(push(bars, 1000) for _ in range(5)),
        f"features_peak_gib_{label}": found["peak_gib"],
        f"features_bars_gib_{label}": found["bars_gib"],
        f"features_s_{label}": found["s"],
    }
    rounded = {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in figures.items()}
    for name, value in rounded.items():
        print(f"{name:30} {value}")
    finish("features", rounded, chosen.quick)


if __name__ == "__main__":
    main()
