"""Pictures of the main plots, as PNG: what a page shows of one strategy, for places that show no pages, such as MLflow.

They are drawn by matplotlib's own canvas, without pyplot, so that nothing of the process is set.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from backtests.metrics import by_month
from backtests.report import curves
from backtests.report.remarks import grouped
from backtests.results import Backtest, Backtests
from markets import RegimePath
from markets.common.pages import rows_to_draw, segments_to_draw
from markets.regimes.colours import shade

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import Formatter

CHOSEN, BENCHMARK, OTHERS = "#0072b2", "#b35900", "#b4bcc4"  # as on the page
_COLUMNS = 900  # of pixels
_INCH = 100  # pixels


def shown_first(result: Backtests) -> str:
    """Name of the strategy that a page and pictures show at first: the first that is not the benchmark, if there is one."""
    return next((b.name for b in result if b.name != result.benchmark), result.benchmark)


def pictures(result: Backtests, name: str | None = None, plots: Sequence[str] | None = None) -> dict[str, bytes]:
    """PNG files of the main plots of one strategy beside the benchmark.

    Parameters
    ----------
    result : Backtests
    name : str, optional
        Strategy; by default `shown_first`.
    plots : sequence of str, optional
        Which; by default all.

    Returns
    -------
    dict
        ``equity`` (with drawdown), ``rolling`` (Sharpe ratio and volatility), ``weights``, ``turnover`` (and costs),
        ``months`` and ``distribution``, each a PNG file.
    """
    chosen = result[name or shown_first(result)]
    draws: dict[str, Callable[[Figure, Backtest, Backtests], None]] = {
        "equity": _equity, "rolling": _rolling, "weights": _weights, "turnover": _turnover, "months": _months,
        "distribution": _distribution,
    }  # fmt: skip

    def picture(plot: str) -> bytes:
        return _png(lambda figure: draws[plot](figure, chosen, result))

    return {plot: picture(plot) for plot in plots or draws}


def weights_picture(index: pd.DatetimeIndex, symbols: Sequence[str], weights: np.ndarray, title: str) -> bytes:
    """A PNG file of weights over time, one line per symbol.

    Parameters
    ----------
    index : DatetimeIndex of shape (T,)
    symbols : sequence of str, length A
    weights : ndarray of shape (T, A)
        Of more than 40 symbols those with the largest are drawn.
    title : str
    """
    return _png(partial(_cells, index=index, symbols=symbols, weights=weights, title=title))


def _png(draw: Callable[[Figure], None]) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5))
    FigureCanvasAgg(figure)
    draw(figure)
    figure.subplots_adjust(
        0.09, 0.11, 0.98, 0.94, hspace=0.08
    )  # a layout that is solved for takes as long as all drawing
    held = io.BytesIO()
    # without the version of matplotlib, so that equal pictures are equal files
    figure.savefig(held, format="png", dpi=_INCH, metadata={"Software": None})
    return held.getvalue()


def _pair(chosen: Backtest, result: Backtests) -> list[tuple[Backtest, dict]]:
    """The benchmark, dashed, then the chosen strategy, with how their curves are drawn."""
    found = [(chosen, {"color": CHOSEN, "linewidth": 1.6, "label": chosen.name, "zorder": 3})]
    if chosen.name != result.benchmark:
        style = {"color": BENCHMARK, "linewidth": 1.2, "linestyle": "--", "label": result.benchmark, "zorder": 2}
        found.insert(0, (result[result.benchmark], style))
    return found


def _curve(axes: Axes, index: pd.DatetimeIndex, values: np.ndarray, **style: Any) -> None:
    rows = rows_to_draw(index, values, _COLUMNS)
    axes.plot(index[rows].tz_localize(None), values[rows], **style)


def _two(
    figure: Figure, result: Backtests, first: str, second: str, heights: tuple[int, int] = (1, 1)
) -> tuple[Axes, Axes]:
    """Two axes over one time, with regimes shaded."""
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=heights)
    for axes, label in ((above, first), (below, second)):
        axes.set_ylabel(label)
        axes.grid(color="#e3e8ee", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0)
        if result.regimes is not None:
            _shaded(axes, result.regimes)
    return above, below


def _shaded(axes: Axes, regimes: RegimePath) -> None:
    from matplotlib.dates import date2num

    times = date2num(regimes.index.tz_localize(None))
    stretches = segments_to_draw(regimes.index, regimes.labels, 200)
    for label, name in enumerate(regimes.names):
        edges = [(times[first], times[min(stop, len(times) - 1)]) for first, stop, of in stretches if of == label]
        colour = [int(channel) / 255 for channel in re.findall(r"\d+", shade(name, regimes.names))]
        spans = [(start, end - start) for start, end in edges]
        axes.broken_barh(
            spans, (0, 1), transform=axes.get_xaxis_transform(), facecolor=colour, alpha=0.6, linewidth=0, zorder=0
        )


def _equity(figure: Figure, chosen: Backtest, result: Backtests) -> None:
    above, below = _two(figure, result, "equity, start = 1 (log)", "drawdown", (3, 1))
    for other in (head for head, _ in grouped(result.backtests) if head.name not in (chosen.name, result.benchmark)):
        _curve(above, other.index, curves.equity(other), color=OTHERS, linewidth=0.7, zorder=1)
    for backtest, style in _pair(chosen, result):
        _curve(above, backtest.index, curves.equity(backtest), **style)
        _curve(below, backtest.index, curves.drawdown(backtest), **style)
    above.set_yscale("log")
    above.yaxis.set_major_formatter("{x:g}")
    above.legend(frameon=False, loc="upper left")
    below.yaxis.set_major_formatter(_per_cent())


def _rolling(figure: Figure, chosen: Backtest, result: Backtests) -> None:
    window = curves.rolling_window(result)
    above, below = _two(figure, result, f"Sharpe ratio of {window:,} bars", "volatility per year")
    for backtest, style in _pair(chosen, result):
        sharpe, volatility = curves.rolling(backtest, window, result.bars.bars_per_year)
        _curve(above, backtest.index, sharpe, **style)
        _curve(below, backtest.index, volatility, **style)
    above.axhline(0, color="#54636f", linewidth=0.8)
    above.legend(frameon=False, loc="upper left")
    below.yaxis.set_major_formatter(_per_cent())


def _turnover(figure: Figure, chosen: Backtest, result: Backtests) -> None:
    above, below = _two(figure, result, "turnover per year", "costs so far")
    for backtest, style in _pair(chosen, result):
        turnover, costs = curves.trading(backtest, result.every, result.bars.bars_per_year)
        _curve(above, backtest.index, turnover, **style)
        _curve(below, backtest.index, costs, **style)
    above.yaxis.set_major_formatter("{x:g}x")
    above.legend(frameon=False, loc="upper left")
    below.yaxis.set_major_formatter(_per_cent())


def _weights(figure: Figure, chosen: Backtest, result: Backtests) -> None:
    _cells(figure, chosen.index, chosen.symbols, chosen.weights, f"Weights of {chosen.name}")


def _cells(figure: Figure, index: pd.DatetimeIndex, symbols: Sequence[str], weights: np.ndarray, title: str) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    size = np.abs(weights).mean(axis=0)
    held = np.sort(np.argsort(-size, kind="stable")[:40])
    rows = np.unique(np.linspace(0, len(index) - 1, min(len(index), _COLUMNS)).astype(int))
    cells = weights[rows][:, held].T
    most, short = max(float(np.abs(cells).max()), 1e-6), bool((cells < -1e-4).any())
    colours = LinearSegmentedColormap.from_list("weights", [BENCHMARK, "white", CHOSEN] if short else ["white", CHOSEN])
    axes = figure.subplots()
    edges = index.tz_localize(None)[np.append(rows, rows[-1])]
    mesh = axes.pcolormesh(edges, np.arange(len(held) + 1), cells, cmap=colours, vmin=-most if short else 0, vmax=most)
    axes.set_yticks(np.arange(len(held)) + 0.5, [symbols[k] for k in held], fontsize=7)
    axes.invert_yaxis()
    axes.set_title(title, loc="left", fontsize=10)
    figure.colorbar(mesh, format=_per_cent(), pad=0.01)


def _months(figure: Figure, chosen: Backtest, result: Backtests) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    table = by_month(chosen)
    cells = table.to_numpy(dtype=float)
    high = float(np.nanquantile(np.abs(cells), 0.98)) or 0.01
    figure.set_size_inches(10, max(2.0, 0.8 + 0.25 * len(table)))
    axes = figure.subplots()
    axes.imshow(
        cells,
        cmap=LinearSegmentedColormap.from_list("months", ["#e69f4a", "white", "#6bb1de"]),
        vmin=-high,
        vmax=high,
        aspect="auto",
    )
    for row, column in np.argwhere(np.isfinite(cells)):
        axes.text(column, row, f"{100 * cells[row, column]:.1f}", ha="center", va="center", fontsize=7)
    axes.set_xticks(range(12), ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"])
    axes.set_yticks(range(len(table)), [str(year) for year in table.index])
    axes.set_title(f"Monthly returns of {chosen.name}, per cent", loc="left", fontsize=10)


def _distribution(figure: Figure, chosen: Backtest, result: Backtests) -> None:
    pair = _pair(chosen, result)
    edge = max(float(np.quantile(np.abs(np.concatenate([b.returns for b, _ in pair])), 0.999)), 1e-6)
    axes = figure.subplots()
    for backtest, style in pair:
        share = np.full(len(backtest.returns), 1 / len(backtest.returns))
        returns = np.clip(backtest.returns, -edge, edge)
        axes.hist(returns, bins=61, range=(-edge, edge), weights=share, histtype="step", log=True, **style)
    axes.set_xlabel("return per bar; the outermost bars hold all beyond")
    axes.set_ylabel("share of bars (log)")
    axes.xaxis.set_major_formatter(_per_cent())
    axes.legend(frameon=False)


def _per_cent() -> Formatter:
    from matplotlib.ticker import PercentFormatter

    return PercentFormatter(1.0)
