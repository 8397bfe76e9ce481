"""`simulate`: run plans on bars through the account kernel, in threads."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numba import config
from numpy.typing import ArrayLike

from markets.accounting.costs import Costs, Execution
from markets.accounting.kernels import PlanRows, Records, path_kernel, stop_state, workspace
from markets.accounting.market import Market, Rules, make_market
from markets.accounting.plan import Plan
from markets.accounting.stops import NO_STOPS, Levels, PlanStops, make_stops
from markets.bars.bars import Bars
from markets.common.errors import InputError

# Below this number of weights (paths × bars × symbols), threads cost more time than they save.
LEAST_WORK = 30_000
_NONE = np.zeros((0, 0, 0))


class Paths(NamedTuple):
    """B accounts over T bars, in money unless stated otherwise. Index 0 in time is the initial state.

    Attributes
    ----------
    equity, cash, cost, traded : ndarray of shape (B, T)
        Cost and traded value of the bar from t to t + 1 are at index t + 1.
    shares : ndarray of shape (B, T, A)
        Number of shares held; (B, 1, A), the final holdings only, with ``holdings=False``.
    orders : ndarray of shape (B, T, A)
        Value of each order at its fill price, positive for buys. Orders of the bar from t to t + 1 are at index t + 1. Size
        0 with ``orders=False``.
    filled : ndarray of bool, shape (B, T)
        Whether there was a fill: false for an account that is closed, or ruined by the gap to the fill. Size 0 with
        ``orders=False``.
    scaled : ndarray of shape (B, T)
        Gross weight that the limits of `Execution` left of the plan's, as a fraction: 0.5 if the plan wanted a gross weight of
        2 and 1 is allowed. Decisions of bar t are at index t + 1.
    afforded : ndarray of shape (B, T)
        Likewise, what the cash allowed of that: 0.999 if costs of 10 bp were not left in cash.
    stop_price : ndarray of shape (B, T, 2, A)
        Price at which a stop-loss or take-profit closed a position, before and after the bar's fill; 0 where none did. Size 0
        with ``orders=False``, or without stops.
    stop_kind : ndarray of int8, of the same shape
        `STOP_LOSS`, `TRAILING_STOP` or `TAKE_PROFIT` of `markets.accounting.stops`; 0 where none.
    """

    equity: np.ndarray
    cash: np.ndarray
    shares: np.ndarray
    cost: np.ndarray
    traded: np.ndarray
    orders: np.ndarray
    filled: np.ndarray
    scaled: np.ndarray
    afforded: np.ndarray
    stop_price: np.ndarray
    stop_kind: np.ndarray


def simulate(
    bars: Bars,
    plan: Plan | ArrayLike,
    *,
    costs: Costs | str = "10bp",
    execution: Execution | None = None,
    holdings: bool = True,
    orders: bool = False,
) -> Paths:
    """Simulate one plan (T, A), or B plans (B, T, A), over the visible rows of `bars`.

    Parameters
    ----------
    bars : Bars of shape (T, A)
    plan : Plan, or array_like of target weights
        Row t is decided at the close of bar t; the last row is never filled. A DataFrame is read by its times and symbols.
    costs : Costs or str
        A string such as ``"10bp"`` is a commission per side.
    execution : Execution, optional
    holdings : bool
        Whether to keep the shares held at every bar, or only the final ones.
    orders : bool
        Whether to keep the value of every order.

    Returns
    -------
    Paths
        With a leading axis of length 1 for a single plan.

    Raises
    ------
    InputError
        When the shape of the plan does not match the bars, a value is out of range (the message names time and symbol), or
        the bars lack the data that the costs or the fill need.
    """
    costs, execution = Costs.parse(costs), execution or Execution()
    try:
        plan = Plan.of(plan, bars)
    except InputError as error:
        if error.cell is None or error.cell[0] >= len(bars) or error.cell[1] >= len(bars.symbols):
            raise
        row, symbol, _ = error.cell
        raise InputError(f"{error} ({bars.symbols[symbol]} at {bars.index[row]})", error.cell) from None
    if plan.aim.shape[-2:] != bars.shape or plan.aim.ndim > 3:
        raise InputError(f"the plan has shape {plan.aim.shape}, but the bars have shape {bars.shape}")
    market, rules = make_market(bars, costs, execution)
    parts = (None if part is None else part.reshape(-1, *bars.shape) for part in (plan.aim, plan.band, plan.rate))
    rows, stops = plan_rows(*parts), make_stops(bars, plan, execution)
    start = np.zeros(len(rows.aim), dtype=np.int64)
    return run_paths(market, rules, start, rows, execution.cash, holdings, orders, stops)


def plan_rows(aim: np.ndarray | None, band: np.ndarray | None, rate: np.ndarray | None) -> PlanRows:
    """Parts of a plan (B, T, A) in the form the kernels take; an absent part becomes an array of size 0."""
    assert aim is not None
    return PlanRows(*(_NONE if part is None else np.ascontiguousarray(part) for part in (aim, band, rate)))


def run_paths(
    market: Market,
    rules: Rules,
    start: np.ndarray,
    plan: PlanRows,
    money: float,
    holdings: bool = True,
    orders: bool = False,
    stops: PlanStops = NO_STOPS,
    shares: np.ndarray | None = None,
) -> Paths:
    """Simulate B plans of T bars by A symbols from rows `start` of the panel, in up to ``NUMBA_NUM_THREADS`` threads.

    Parameters
    ----------
    market, rules : Market, Rules
    start : ndarray of int64, shape (B,)
        First row of each path; ``start[b] + T`` must not exceed the number of rows of the panel.
    plan : PlanRows of shape (B, T, A)
    money : float
        Initial cash.
    holdings, orders : bool
        See `simulate`.
    stops : PlanStops
        From `markets.accounting.stops.make_stops`, of the same shape.
    shares : ndarray of shape (A,), optional
        Initial holdings; none by default.
    """
    paths, bars, n = plan.aim.shape
    stopping = stops is not NO_STOPS
    exits = (paths, bars, 2, n) if orders and stopping else (0, 0, 0, 0)
    start, plan = read_only(start), PlanRows(*(read_only(part) for part in plan))
    out = Records(
        cash=np.empty((paths, bars)),
        shares=np.empty((paths, bars if holdings else 1, n)),
        equity=np.empty((paths, bars)),
        cost=np.empty((paths, bars)),
        traded=np.empty((paths, bars)),
        orders=np.zeros((paths, bars, n)) if orders else np.zeros((0, 0, 0)),
        filled=np.zeros((paths, bars) if orders else (0, 0), dtype=bool),
        scaled=np.ones((paths, bars)),
        afforded=np.ones((paths, bars)),
        stop_price=np.zeros(exits),
        stop_kind=np.zeros(exits, dtype=np.int8),
    )
    out.cash[:, 0] = out.equity[:, 0] = money
    out.cost[:, 0] = out.traded[:, 0] = 0.0
    out.shares[:, 0] = 0.0 if shares is None else shares
    if shares is not None:
        out.equity[:, 0] += market.mark[start] @ shares

    def run(rows: slice) -> None:
        part, records = PlanRows(*(some(p, rows) for p in plan)), Records(*(some(r, rows) for r in out))
        levels, state = Levels(*(some(s, rows) for s in stops.levels)), stop_state(n if stopping else 0)
        path_kernel(market, stops.ranges, rules, start[rows], part, levels, records, np.empty(n), state, workspace(n))

    in_threads(run, paths, plan.aim.size)
    return Paths(**{name: getattr(out, name) for name in Paths._fields})


def some(array: np.ndarray, rows: slice) -> np.ndarray:
    """Rows of an optional array; an absent one, of size 0, is returned as is."""
    return array[rows] if array.size else array


def read_only(array: np.ndarray) -> np.ndarray:
    """A read-only view. Numba treats it as a type of its own, so kernels that only get such views compile once."""
    view = array.view()
    view.setflags(write=False)
    return view


def in_threads(run: Callable[[slice], None], paths: int, work: int) -> None:
    """Call `run` on slices that cover all paths: one per thread if `work` is large, else one. Kernels release the GIL."""
    # numba.get_num_threads would start numba's threads, and with OpenMP change the number of threads of torch as well
    count = min(config.NUMBA_NUM_THREADS, paths) if work > LEAST_WORK else 1
    if count == 1:
        run(slice(0, paths))
        return
    edges = np.linspace(0, paths, count + 1).astype(int).tolist()
    others = [_pool(os.getpid(), count).submit(run, slice(a, b)) for a, b in itertools.pairwise(edges[1:])]
    run(slice(0, edges[1]))
    for other in others:
        other.result()


@functools.cache
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """Persistent thread pool; cached per process, since threads do not survive a fork."""
    return ThreadPoolExecutor(threads - 1, thread_name_prefix="regimeshift")
