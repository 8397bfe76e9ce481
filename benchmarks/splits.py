"""How many unadjusted splits the quality check finds, and how many false alarms it gives.

A split is planted at a random bar of a real series, by a random ratio of 2:1 to 20:1 or the reverse; closes only, which is the
hardest case. A false alarm is a split that is found where none was planted, although prices are adjusted. The thresholds of
`markets.quality.findings` were chosen on every other symbol (``chosen``); the figures to quote are those of the rest
(``reported``). Further data sets, such as the public ones of ``DATA.md``, are given by their paths.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.common import finish, options
from markets import Bars, load
from markets.quality.findings import Finding, faults

LARGEST = 20  # new shares to old
STALE = 10  # as in `markets.check`


def splits(index: pd.DatetimeIndex, close: np.ndarray) -> list[Finding]:
    """Findings of kind "split" in the closes (T,) of one symbol."""
    return [f for f in faults("", index, {"close": close}, None, STALE) if f.kind == "split"]


def found(index: pd.DatetimeIndex, close: np.ndarray, rng: np.random.Generator) -> bool:
    """Whether a split that is planted at a random bar is found there."""
    at = rng.choice(np.flatnonzero(np.isfinite(close))[1:])
    ratio = float(rng.integers(2, LARGEST + 1))
    raw = close.copy()
    raw[at:] *= ratio if rng.random() < 0.5 else 1 / ratio
    return any(at in f.rows[:, 0] for f in splits(index, raw))


def measured(sets: dict[str, Bars], plants: int, seed: int) -> pd.DataFrame:
    """By set and half: symbol-years, splits planted and found, and false alarms."""
    rng = np.random.default_rng(seed)
    rows: dict[tuple[str, str], dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for name, bars in sets.items():
        for column in range(len(bars.symbols)):
            row = rows[name, "reported" if column % 2 or len(bars.symbols) == 1 else "chosen"]
            close = np.ascontiguousarray(bars.close[:, column])
            times = bars.index[np.isfinite(close)]
            row["symbol_years"] += (times[-1] - times[0]).days / 365.25
            row["planted"] += plants
            row["found"] += sum(found(bars.index, close, rng) for _ in range(plants))
            row["false"] += sum(len(f.rows) for f in splits(bars.index, close))
    return pd.DataFrame(rows).T.rename_axis(["set", "half"])


def main() -> None:
    """Measure on the packaged sets and on those given, and print the table."""
    chosen = options(__doc__ or "", sources="further data sets: files or folders")
    sources = ["stocks", "sp500", "nasdaq", *chosen.sources]
    sets = {Path(source).stem: load(source) for source in sources}
    table = measured(sets, 5 if chosen.quick else 50, chosen.seed)
    print(table.astype(int).to_string())
    figures = {}
    for half, sums in table.groupby("half").sum().iterrows():
        figures[f"splits_found_{half}"] = round(sums["found"] / sums["planted"], 4)
        figures[f"splits_false_per_50_symbol_years_{half}"] = round(50 * sums["false"] / sums["symbol_years"], 4)
    finish("splits", figures, chosen.quick)


if __name__ == "__main__":
    main()
