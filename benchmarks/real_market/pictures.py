"""Two pictures of a trial: differences with their intervals, and the growth and volatility of accounts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.real_market.comparison import Comparison
from benchmarks.real_market.contenders import Contender
from markets.common.statistics import bars_per_year, returns_of

_PANELS = {
    "log variance": "log variance (left is less risk)",
    "certainty equivalent": "certainty equivalent per year",
    "sharpe": "Sharpe ratio",
}
_WINDOW = 63
_COLOURS = ("#d55e00", "#0072b2", "#333333", "#8fa1ad")  # told apart by the colour-blind too


def forest(comparison: Comparison, contenders: Sequence[Contender], file: Path, note: str) -> Path:
    """Differences of contenders to their controls: a row for each universe, and one for the pool.

    The thick line is the interval, the grey band what this much data could not have told from zero.
    """
    count, height = len(contenders), 0.45 * (len(comparison.universes) + 1)
    figure, axes = _figure(len(_PANELS), count, width=13, height=1.2 + count * (0.6 + height))
    for contender, panels in zip(contenders, axes, strict=True):
        for axis, (statistic, title) in zip(panels, _PANELS.items(), strict=True):
            found = comparison.difference(contender.name, contender.control, statistic)
            rows = {**found.by_universe, "pooled": found.pooled}
            at = np.arange(len(rows))
            axis.barh(at, [2 * i.detectable for i in rows.values()], left=[-i.detectable for i in rows.values()],
                      height=0.7, color="#ddd")  # fmt: skip
            colours = ["C0"] * (len(rows) - 1) + ["C3"]
            axis.hlines(at, [i.low for i in rows.values()], [i.high for i in rows.values()], colors=colours, lw=2.5)
            axis.scatter([i.value for i in rows.values()], at, c=colours, s=28, zorder=3)
            axis.axvline(0, color="#666", lw=0.8)
            axis.set(title=title, yticks=at, yticklabels=rows if axis is panels[0] else [])
            axis.invert_yaxis()
            axis.locator_params(axis="x", nbins=5)
        panels[0].set_ylabel(f"{contender.name}\nminus {contender.control}", fontsize=8)
    figure.suptitle("95 % intervals; grey: what could not be told from 0")
    return _saved(figure, file, note)


def paths(comparison: Comparison, names: Sequence[str], file: Path, note: str) -> Path:
    """Growth of 1, and volatility of a quarter, of strategies, a row for each universe; the first stands out."""
    from matplotlib.ticker import StrMethodFormatter

    rows = len(comparison.universes)
    figure, axes = _figure(2, rows, width=11, height=2.2 * rows + 1)
    for (growth, risk), universe in zip(axes, comparison.universes, strict=True):
        for k, name in enumerate(names):
            if name not in comparison.traded[universe].backtests:
                continue
            account = comparison.backtest(universe, name)
            style: dict[str, Any] = {
                "lw": 1.6 if k == 0 else 0.9, "label": name, "color": _COLOURS[k % len(_COLOURS)], "zorder": 3 - k / 10,
            }  # fmt: skip
            growth.semilogy(account.index, account.equity / account.equity[0], **style)
            volatility = pd.Series(returns_of(account.equity)).rolling(_WINDOW).std()
            risk.plot(account.index[1:], 100 * volatility * np.sqrt(bars_per_year(account.index)), **style)
        growth.set_title(f"{universe}: growth of 1", loc="left", fontsize=10)
        risk.set_title("volatility of the last quarter, % per year", loc="left", fontsize=10)
        growth.yaxis.set_major_formatter(StrMethodFormatter("{x:.3g}"))
        growth.yaxis.set_minor_formatter(StrMethodFormatter("{x:.3g}"))
        growth.tick_params(axis="y", which="minor", labelsize=7)
    lines = {line.get_label(): line for line in axes[0][0].get_lines()}
    figure.legend(lines.values(), lines, loc="outside upper center", ncols=len(lines))
    return _saved(figure, file, note)


def _figure(columns: int, rows: int = 1, *, width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def _saved(figure: Any, file: Path, note: str) -> Path:
    """Write the picture, with what its bars are beneath it."""
    figure.supxlabel(note, fontsize=7, color="#555", wrap=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=100)
    return file
