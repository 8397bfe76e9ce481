"""A sweep of a moving-average cross against vectorbt and backtesting.py, on the same bars, in one run, alternating.

The work is 100 settings × 20 stocks × 8,313 days, from closes to the equity and Sharpe ratio of each setting, averages included.

- *vectorbt* runs the same rule: equal shares of the symbols whose fast average is above the slow one, rebalanced every day at the
  close, 10 bp, one account for all symbols. Both of its engines (numba, and Rust from ``vectorbt-rust``) run in both of its
  layouts: all settings as columns of one call, and a call for each setting. The ratio is to the fastest of the four. It is given
  averages computed once per window, and prices laid out beforehand.
- *backtesting.py* trades one symbol, so it takes a backtest for each setting and symbol: 95 % of the money in whole shares while
  the fast average is above. It is measured on one symbol, as `Backtest.optimize` in a process per core, and as one `run` after
  another; the faster counts, times 20. ``sweep_ratio_backtesting_py`` is to our sweep of the 20 symbols, and
  ``sweep_ratio_backtesting_py_accounts`` to as many accounts of one symbol under its rules, where the equity is the same.

*Kernel to kernel*, each in a single thread: one call on arrays that are ready, 20 orders on each of 8,313 days for each of 50
portfolios, in nanoseconds per order. They return different things: ours the account bar by bar, theirs a record of each order.
"""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence

import backtesting
import numpy as np
import pandas as pd

import markets
from backtests.sweeps import sweep
from backtests.sweeps.grid import Grid
from benchmarks.common import finish, options
from benchmarks.simulator import seconds
from markets import Bars, Costs, Execution, simulate
from markets.common.statistics import bars_per_year, sharpe
from strategies import MovingAverageCross, Plan

ENGINES = ("numba", "rust")
FEE, CASH = 0.001, 1e6


def grid(quick: bool) -> Grid:
    """100 settings, or 12."""
    values = {"fast": range(5, 20, 5), "slow": range(60, 140, 20)} if quick else {
        "fast": range(5, 55, 5), "slow": range(60, 260, 20)
    }  # fmt: skip
    return Grid.of(values)


def same_close(**settings) -> Execution:
    """Filled at the close that is decided on, as both peers do here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # we warn about that
        return Execution(fill="same_close", cash=CASH, **settings)


def closes_once_more(bars: Bars) -> Bars:
    """The closes, and the last of them on a further day: the peers also trade on the last bar."""
    index = bars.index.append(bars.index[-1:] + pd.Timedelta("1D"))
    return Bars.make(index, bars.symbols, np.vstack([bars.close, bars.close[-1:]]))


def of_vectorbt(bars: Bars, lattice: Grid, engine: str, together: bool) -> Callable[[], tuple[np.ndarray, list[float]]]:
    """Vectorbt's sweep: all settings in one call, or a call for each; returns values (T, S) and Sharpe ratios."""
    import vectorbt as vbt
    from vectorbt.generic.dispatch import rolling_mean

    close, count, per_year = bars.close, len(bars.symbols), bars_per_year(bars.index)
    frame = pd.DataFrame(close, index=bars.index, columns=bars.symbols)
    wide = pd.DataFrame(np.tile(close, (1, len(lattice))), index=bars.index)
    wide.columns = pd.MultiIndex.from_product([range(len(lattice)), bars.symbols], names=["setting", "symbol"])
    usual = {
        "size_type": "targetpercent", "fees": FEE, "init_cash": CASH, "cash_sharing": True, "call_seq": "auto",
        "freq": "1D", "engine": engine,
    }  # fmt: skip

    def run() -> tuple[np.ndarray, list[float]]:
        windows = {window for setting in lattice.settings for window in setting.values()}
        average = {window: rolling_mean(close, window, engine=engine) for window in windows}
        weights = np.zeros((len(bars), len(lattice), count))
        for i, setting in enumerate(lattice.settings):
            # equal averages occur, and each rolling mean rounds them otherwise
            weights[:, i] = (average[setting["fast"]] > average[setting["slow"]] * (1 + 1e-12)) / count
        if together:
            size = pd.DataFrame(weights.reshape(len(bars), -1), index=wide.index, columns=wide.columns)
            value = vbt.Portfolio.from_orders(wide, size=size, group_by="setting", **usual).value().to_numpy()
        else:
            value = np.empty((len(bars), len(lattice)))
            for i in range(len(lattice)):
                size = pd.DataFrame(weights[:, i], index=frame.index, columns=frame.columns)
                value[:, i] = vbt.Portfolio.from_orders(frame, size=size, group_by=True, **usual).value().to_numpy()
        returns = value[1:] / value[:-1] - 1
        return value, [sharpe(column, per_year) for column in returns.T]

    return run


def against_vectorbt(quick: bool) -> dict[str, float]:
    """The sweep, timed beside vectorbt's, and the largest relative difference of the equity curves."""
    stocks, lattice = markets.load("stocks"), grid(quick)
    stocks = stocks[-1500:].without_past() if quick else stocks
    bars, execution = closes_once_more(stocks), same_close(shortfall="smallest_first")

    def ours():
        return sweep(
            MovingAverageCross, lattice, bars, metrics=("Sharpe",), equity=True, execution=execution, costs="10bp"
        )

    runs: dict[str, Callable[[], object]] = {"ours": ours}
    peers = {}
    for engine in ENGINES:
        for layout, together in (("one call", True), ("a call each", False)):
            peers[f"vectorbt {engine}, {layout}"] = of_vectorbt(stocks, lattice, engine, together)
    took = seconds(runs | peers, 2 if quick else 3)
    size = f"{len(lattice)} settings x {len(stocks.symbols)} x {len(stocks):,} bars"
    for name, value in took.items():
        print(f"{size}: {name:28} {value:8.3f} s, {value / took['ours']:6.1f} x")

    mine, apart = ours(), 0.0
    values = [peer()[0] for peer in peers.values()]
    for i, plan in enumerate(MovingAverageCross.plans(bars, lattice.settings)):
        paths = simulate(bars, plan, costs="10bp", execution=execution, holdings=False)
        assert np.array_equal(paths.equity[0], mine.equity[i]), "a sweep and a single account differ"
        after = paths.equity[0, :-1] - paths.cost[0, 1:]  # vectorbt's value is after the orders of its bar
        apart = max(apart, *(float(np.abs(value[:, i] / after - 1).max()) for value in values))
    assert apart < 1e-9, f"equity differs from vectorbt's by {apart}"
    return {
        "sweep_seconds": took["ours"],
        "sweep_ratio_vectorbt": min(took[name] for name in peers) / took["ours"],
        **{f"sweep_ratio_vectorbt_{e}": min(v for n, v in took.items() if e in n) / took["ours"] for e in ENGINES},
        "sweep_max_rel_diff_vectorbt": apart,
    }  # fmt: skip


class InAndOut(MovingAverageCross):
    """In with 95 % while the fast average is above, and no order in between: backtesting.py's rule for one symbol."""

    @classmethod
    def plans(cls, bars: Bars, settings: Sequence[Mapping[str, int]]) -> Iterator[Plan]:
        for setting, plan in zip(settings, super().plans(bars, settings), strict=True):
            inside = plan.aim > 0
            inside[: setting["slow"]] = False  # theirs begin on the bar after the first with both averages
            before = np.vstack([np.zeros_like(inside[:1]), inside[:-1]])
            yield Plan(np.where(inside, 0.95, 0.0), np.where(inside == before, np.inf, 0.0))


def mean(values: np.ndarray, window: int) -> np.ndarray:
    """Moving average, for backtesting.py."""
    return pd.Series(values).rolling(window).mean().to_numpy()


class Cross(backtesting.Strategy):
    """The rule of `InAndOut`, as backtesting.py has it."""

    fast, slow = 5, 60

    def init(self) -> None:
        """Compute both averages."""
        self.fast_mean = self.I(mean, self.data.Close, self.fast)
        self.slow_mean = self.I(mean, self.data.Close, self.slow)

    def next(self) -> None:
        """Decide at a bar's close."""
        inside = self.fast_mean[-1] > self.slow_mean[-1] * (1 + 1e-12)
        if inside and not self.position:
            self.buy(size=0.95)
        elif not inside and self.position:
            self.position.close()


def of_backtesting(bars: Bars) -> backtesting.Backtest:
    """Their backtest of one symbol, with closes as opens: they fill at the next open."""
    frame = pd.DataFrame(dict.fromkeys(("Open", "High", "Low", "Close"), bars.close[:, 0]), index=bars.index)
    return backtesting.Backtest(frame, Cross, cash=CASH, commission=FEE)


def against_backtesting_py(quick: bool) -> dict[str, float]:
    """Our sweep of all symbols, and an account for each setting and symbol, timed before and after backtesting.py's."""
    stocks, lattice = markets.load("stocks"), grid(quick)
    stocks = stocks[-1500:].without_past() if quick else stocks
    backtesting.backtesting._tqdm = lambda values, **_: values  # their progress bars
    backtesting.Pool = multiprocessing.get_context("fork").Pool  # a process per core, as they advise
    alone = [
        Bars.make(stocks.index, [name], stocks.close[:, i : i + 1], open=stocks.close[:, i : i + 1])
        for i, name in enumerate(stocks.symbols)
    ]
    usual = {"metrics": ("Sharpe",), "equity": True, "costs": "10bp"}
    execution = Execution(sizing="whole_lots", cash=CASH)
    first = of_backtesting(alone[0])
    values = {name: list(given) for name, given in lattice.values.items()}
    ours = {
        "a sweep of 20 symbols": lambda: sweep(MovingAverageCross, lattice, stocks, **usual),
        "accounts of one symbol": lambda: [
            sweep(InAndOut, lattice, bars, execution=execution, **usual) for bars in alone
        ],
    }
    before = seconds(ours, 2)
    theirs = {
        "optimize": once(lambda: first.optimize(maximize="Sharpe Ratio", **values)) * len(alone),
        "run": once(lambda: [first.run(**setting) for setting in lattice.settings]) * len(alone),
    }
    after = seconds(ours, 2)
    took = {name: (before[name] + after[name]) / 2 for name in ours}
    size = f"{len(lattice)} settings x {len(alone)} symbols x {len(stocks):,} bars"
    for name, value in took.items():
        print(f"{size}: ours, {name} {value:.3f} s")
    for name, value in theirs.items():
        print(f"{size}: backtesting.py, {name} {value:.1f} s (measured on one symbol)")
    mine, apart = sweep(InAndOut, lattice, alone[0], execution=execution, **usual), 0.0
    for i in range(0, len(lattice), max(len(lattice) // 10, 1)):
        equity = first.run(**lattice.settings[i])["_equity_curve"]["Equity"].to_numpy()
        apart = max(apart, float(np.abs(mine.equity[i] / equity - 1).max()))
    assert apart < 1e-9, f"equity differs from backtesting.py's by {apart}"
    return {
        "sweep_ratio_backtesting_py": min(theirs.values()) / took["a sweep of 20 symbols"],
        "sweep_ratio_backtesting_py_accounts": min(theirs.values()) / took["accounts of one symbol"],
        "sweep_max_rel_diff_backtesting_py": apart,
    }


def once(run: Callable[[], object]) -> float:
    """Seconds of one run; theirs take minutes, and compile nothing."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def kernels(quick: bool, seed: int) -> dict[str, float]:
    """Nanoseconds per order of the bare kernels, each in one thread, on arrays that are ready."""
    from vectorbt.portfolio.dispatch import simulate_from_orders
    from vectorbt.portfolio.enums import SizeType

    from markets.accounting.market import make_market
    from markets.accounting.simulate import plan_rows, run_paths

    stocks = markets.load("stocks")
    portfolios, length = (5, 2000) if quick else (50, len(stocks))
    bars = closes_once_more(stocks[:length])
    rng = np.random.default_rng(seed)
    aim = rng.dirichlet(np.ones(20), (portfolios, length)) * 0.98
    market, rules = make_market(bars, Costs.parse("10bp"), same_close(shortfall="smallest_first"))
    rows = [plan_rows(np.vstack([weights, weights[-1:]])[None], None, None) for weights in aim]
    start = np.zeros(1, np.int64)
    wide = np.ascontiguousarray(aim.transpose(1, 0, 2).reshape(length, -1))

    def ours() -> list[np.ndarray]:  # one portfolio a call, which takes one thread
        return [run_paths(market, rules, start, plan, CASH, False).equity[0] for plan in rows]

    def theirs(engine: str, together: bool) -> Callable[[], int]:
        width = portfolios if together else 1
        groups, cash, sequence = np.full(width, 20), np.full(width, CASH), np.tile(np.arange(20), (length, width))
        sizes = [wide] if together else [np.ascontiguousarray(weights) for weights in aim]
        close = np.ascontiguousarray(np.tile(stocks.close[:length], (1, width)))
        usual = {
            "size_type": np.asarray(SizeType.TargetPercent),
            "fees": np.asarray(FEE),
            "auto_call_seq": True,
            "engine": engine,
        }

        def run() -> int:
            return sum(
                len(
                    simulate_from_orders(close.shape, groups, cash, sequence.copy(), size=size, close=close, **usual)[0]
                )
                for size in sizes
            )

        return run

    peers = {f"{e}, {'one call' if t else 'a call each'}": theirs(e, t) for e in ENGINES for t in (True, False)}
    took = seconds({"ours": ours} | peers, 3 if quick else 5)
    orders = peers["rust, one call"]()
    ns = {name: value / orders * 1e9 for name, value in took.items()}
    print(
        f"{orders:,} orders in one thread, ns an order: "
        + ", ".join(f"{name} {value:.1f}" for name, value in ns.items())
    )
    best = {engine: min(value for name, value in ns.items() if engine in name) for engine in ENGINES}
    return {
        "kernel_ns_per_order": ns["ours"],
        **{f"kernel_ns_per_order_vectorbt_{engine}": value for engine, value in best.items()},
        **{f"kernel_ratio_vectorbt_{engine}": value / ns["ours"] for engine, value in best.items()},
    }  # fmt: skip


def memory(quick: bool) -> dict[str, float]:
    """Peak memory of a process that sweeps 10,000 settings over 20 stocks, and how much of it is there before."""
    count = 10 if quick else 100
    code = (
        "import re, markets\n"
        "from backtests.sweeps import sweep\n"
        "from strategies import MovingAverageCross\n"
        # not ru_maxrss, which a child process takes over from the one that started it
        "def peak(): return int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]) / 2**20\n"
        "bars = markets.load('stocks')\n"
        "sweep(MovingAverageCross, {'fast': [5], 'slow': [50]}, bars, metrics=('Sharpe',))\n"
        "before = peak()\n"
        f"grid = {{'fast': range(1, {count + 1}), 'slow': range(101, {101 + 2 * count}, 2)}}\n"
        "found = sweep(MovingAverageCross, grid, bars, metrics=('Sharpe', 'CAGR', 'max drawdown'))\n"
        "print(found.trials, before, peak())"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    trials, before, peak = done.stdout.split()
    print(f"{int(trials):,} settings: {time.perf_counter() - start:.1f} s, peak {peak} GiB, of which {before} before")
    return {
        "sweep_memory_settings": int(trials),
        "sweep_memory_gib": float(peak),
        "sweep_memory_gib_before": float(before),
    }


def main() -> None:
    """Run all measurements and print them."""
    chosen = options(__doc__ or "")
    warnings.simplefilter("ignore")
    figures: dict = against_vectorbt(chosen.quick)
    figures |= against_backtesting_py(chosen.quick)
    figures |= kernels(chosen.quick, chosen.seed)
    figures |= memory(chosen.quick)
    rounded = {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in figures.items()}
    for name, value in rounded.items():
        print(f"{name:34} {value}")
    finish("backtests", rounded, chosen.quick)


if __name__ == "__main__":
    main()
