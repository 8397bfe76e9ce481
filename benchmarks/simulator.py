"""Speed of the simulator against peers on the same work in one run, and scaling with the size of the problem.

Peers are installed by the ``[peers]`` extra (``make bench``). FinRL's array environment is loaded from its file, because
importing the package requires broker libraries. Where FinRL is not installed, 20 assets are compared with 20 Gym-Trading-Envs.
"""

from __future__ import annotations

import importlib.util
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import gymnasium
import numpy as np
import pandas as pd
import torch

import markets
from benchmarks.common import RESULTS, finish, options
from markets import Bars, Costs, Execution, Features, simulate
from markets.accounting.differentiable import TensorPlan, equity_paths, equity_paths_reference
from markets.accounting.market import make_market
from markets.accounting.simulate import plan_rows, run_paths


def seconds(runs: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median time of each run in seconds; runs alternate, after a warm-up of each."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def walk(length: int, symbols: int, seed: int) -> Bars:
    """Bars with random-walk closes."""
    rng = np.random.default_rng(seed)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.01, (length, symbols)), axis=0))
    index = pd.date_range("1900-01-01", periods=length, freq="h")
    return Bars.make(index, [f"s{i}" for i in range(symbols)], close)


def vector_steps(bars: Bars, n: int, steps: int, seed: int) -> Callable[[], int]:
    """`steps` steps of `n` of our environments, vectorised, with random actions; includes observations and resets."""
    envs = gymnasium.make_vec("regimeshift/Market-v0", num_envs=n, bars=bars)
    envs.reset(seed=seed)
    rng = np.random.default_rng(seed)
    actions = rng.uniform(0, 1 / len(bars.symbols), (8, n, len(bars.symbols)))

    def run() -> int:
        for k in range(steps):
            envs.step(actions[k % 8])
        return n * steps

    return run


def stepping(env: gymnasium.Env, actions: list[int], seed: int) -> Callable[[], int]:
    """One environment stepped through `actions`, with resets where episodes end."""

    def run() -> int:
        env.reset(seed=seed)
        for action in actions:
            _, _, done, truncated, _ = env.step(action)
            if done or truncated:
                env.reset()
        return len(actions)

    return run


def scalar_steps(bars: Bars, steps: int, seed: int) -> Callable[[], int]:
    """One of our scalar environments, with the same eight features and three positions."""
    env = markets.MarketEnv(bars, actions="discrete", positions=(-1, 0, 1), costs="10bp", episode_bars=len(bars))
    return stepping(env, np.random.default_rng(seed).integers(0, 3, steps).tolist(), seed)


def gym_trading_env_steps(bars: Bars, steps: int, seed: int) -> Callable[[], int]:
    """One Gym-Trading-Env with eight features and random positions."""
    from gym_trading_env.environments import TradingEnv

    close = bars.close[:, 0]
    frame = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), close) | {"volume": 1.0}, index=bars.index)
    table = np.nan_to_num(Features().compute(bars)[:, 0])
    for f in range(8):
        frame[f"feature_{f}"] = table[:, f]
    env = TradingEnv(df=frame, positions=[-1, 0, 1], trading_fees=0.001, verbose=0)
    actions = np.random.default_rng(seed).integers(0, 3, steps).tolist()
    return stepping(env, actions, seed)


def gym_anytrading_steps(bars: Bars, steps: int, seed: int) -> Callable[[], int]:
    """One gym-anytrading stocks environment with a window of eight bars."""
    import gym_anytrading  # noqa: F401 (registers)
    from gym_anytrading.envs import StocksEnv

    frame = pd.DataFrame(
        dict.fromkeys(("Open", "High", "Low", "Close"), bars.close[:, 0]) | {"Volume": 1.0}, index=bars.index
    )
    env = StocksEnv(df=frame, window_size=8, frame_bound=(8, len(frame)))
    actions = np.random.default_rng(seed).integers(0, 2, steps).tolist()
    return stepping(env, actions, seed)


def finrl_steps(bars: Bars, steps: int, seed: int) -> Callable[[], int] | None:
    """FinRL's array environment of 20 stocks with eight technical features each; None where FinRL is not installed."""
    spec = importlib.util.find_spec("finrl")
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0]) / "meta/env_stock_trading/env_stocktrading_np.py"
    file = importlib.util.spec_from_file_location("finrl_array_env", path)
    assert file is not None
    assert file.loader is not None
    module = importlib.util.module_from_spec(file)
    file.loader.exec_module(module)
    table = np.nan_to_num(Features().compute(bars)).reshape(len(bars), -1)
    config = {"price_array": bars.close, "tech_array": table, "turbulence_array": np.zeros(len(bars)), "if_train": True}
    env = module.StockTradingEnv(config)
    actions = np.random.default_rng(seed).uniform(-1, 1, (64, len(bars.symbols)))

    def run() -> int:
        env.reset()
        for k in range(steps):
            if env.step(actions[k % 64])[2]:
                env.reset()
        return steps

    return run


def environments(quick: bool, seed: int) -> dict[str, float]:
    """Steps per second through the public API."""
    repeats, n, peer = (3, 4096, 2000) if quick else (9, 4096, 10_000)
    one, twenty = walk(5000, 1, seed), walk(5000, 20, seed)
    runs = {
        "ours, 1 asset x 4,096": vector_steps(one, n, 40 if quick else 600, seed),  # takes about as long as the peer
        "ours, 1 asset x 1": scalar_steps(one, peer, seed),
        "Gym-Trading-Env, 1 asset": gym_trading_env_steps(one, peer, seed),
        "gym-anytrading, 1 asset": gym_anytrading_steps(one, peer, seed),
        "ours, 20 assets x 4,096": vector_steps(twenty, n, 5 if quick else 60, seed),
    }
    finrl = finrl_steps(twenty, peer // 5, seed)
    if finrl is not None:
        runs["FinRL arrays, 20 assets"] = finrl
    took = seconds(runs, repeats)
    rate = {name: runs[name]() / took[name] for name in runs}  # type: ignore[operator]
    for name, value in rate.items():
        print(f"{name:28} {value:14,.0f} steps/s")
    twenty_rate = rate.get("FinRL arrays, 20 assets", rate["Gym-Trading-Env, 1 asset"] / 20)
    return {
        "env_ratio_gym_trading_env": rate["ours, 1 asset x 4,096"] / rate["Gym-Trading-Env, 1 asset"],
        "env_ratio_gym_anytrading": rate["ours, 1 asset x 4,096"] / rate["gym-anytrading, 1 asset"],
        "scalar_ratio_gym_trading_env": rate["ours, 1 asset x 1"] / rate["Gym-Trading-Env, 1 asset"],
        "scalar_ratio_gym_anytrading": rate["ours, 1 asset x 1"] / rate["gym-anytrading, 1 asset"],
        "env_ratio_20_assets": rate["ours, 20 assets x 4,096"] / twenty_rate,
        "env_20_assets_peer_is_finrl": finrl is not None,
    }


def backtests(quick: bool, seed: int) -> dict[str, float]:
    """50 portfolios of 20 stocks over 8,313 days against both of vectorbt's engines, and the largest difference of equity."""
    import vectorbt as vbt

    stocks = markets.load("stocks")
    portfolios, length = (5, 2000) if quick else (50, len(stocks))
    close = stocks.close[:length]
    rng = np.random.default_rng(seed)
    aim = rng.dirichlet(np.ones(20), (portfolios, length)) * 0.98
    bars = Bars.make(stocks.index[:length].append(stocks.index[length - 1 : length] + pd.Timedelta("1D")), stocks.symbols,
                     np.vstack([close, close[-1:]]))  # fmt: skip
    plan = np.concatenate([aim, aim[:, -1:]], axis=1)
    with warnings.catch_warnings():  # vectorbt fills at the same close, which we warn about
        warnings.simplefilter("ignore")
        execution = Execution(fill="same_close", cash=1e6, shortfall="smallest_first")
    # vectorbt needs the portfolios as columns
    wide = pd.DataFrame(np.tile(close, (1, portfolios)), index=stocks.index[:length])
    wide.columns = pd.MultiIndex.from_product([range(portfolios), stocks.symbols], names=["portfolio", "symbol"])
    weights = pd.DataFrame(aim.transpose(1, 0, 2).reshape(length, -1), index=wide.index, columns=wide.columns)

    def ours() -> np.ndarray:
        paths = simulate(bars, plan, costs="10bp", execution=execution, holdings=False)
        return paths.equity[:, :-1] - paths.cost[:, 1:]  # vectorbt's value is after the orders of its bar

    def theirs(engine: str) -> np.ndarray:
        return vbt.Portfolio.from_orders(
            wide, size=weights, size_type="targetpercent", fees=0.001, init_cash=1e6, cash_sharing=True,
            group_by="portfolio", call_seq="auto", freq="1D", engine=engine,
        ).value().to_numpy()  # fmt: skip

    engines = ("numba", "rust")
    runs = {"ours": ours} | {engine: partial(theirs, engine) for engine in engines}
    took = seconds(runs, 3 if quick else 5)
    apart = max(float(np.abs(ours().T / theirs(engine) - 1).max()) for engine in engines)
    print(f"{portfolios} portfolios x 20 x {length:,} bars: " + ", ".join(f"{k} {v:.3f} s" for k, v in took.items()))
    return {
        "backtest_ratio_vectorbt": min(took[engine] for engine in engines) / took["ours"],
        **{f"backtest_ratio_vectorbt_{engine}": took[engine] / took["ours"] for engine in engines},
        "backtest_max_rel_diff": apart,
    }


def gradients(quick: bool, seed: int) -> dict[str, float]:
    """Forward and backward pass of 64 paths x 250 bars x 20 symbols against plain torch."""
    paths, length, symbols = (16, 100, 20) if quick else (64, 250, 20)
    bars = walk(paths * length, symbols, seed)
    market, rules = make_market(bars, Costs.parse("10bp"), Execution())
    rng = np.random.default_rng(seed)
    aim = torch.tensor(rng.uniform(0, 0.1, (paths, length, symbols)), requires_grad=True)
    band = torch.full_like(aim, 0.01).requires_grad_()
    start = np.arange(paths) * length

    def run(function) -> None:
        aim.grad = band.grad = None
        function(market, rules, start, TensorPlan(aim, band), money=1e6).equity.log().sum().backward()

    took = seconds({"ours": lambda: run(equity_paths), "torch": lambda: run(equity_paths_reference)}, 3 if quick else 7)
    print(
        f"gradient of {paths} x {length} x {symbols}: ours {took['ours'] * 1e3:.1f} ms, plain torch {took['torch'] * 1e3:.0f} ms"
    )
    return {"adjoint_ratio_torch": took["torch"] / took["ours"]}


def growth(quick: bool, seed: int) -> dict[str, list]:
    """Nanoseconds per step for growing numbers of environments, assets and bars."""

    def paths(n: int, length: int, symbols: int) -> float:
        bars = walk(length, symbols, seed)
        market, rules = make_market(bars, Costs.parse("10bp"), Execution())
        aim = np.random.default_rng(seed).uniform(0, 1 / symbols, (n, length, symbols))
        plan, start = plan_rows(aim, None, None), np.zeros(n, dtype=np.int64)
        took = seconds({"x": lambda: run_paths(market, rules, start, plan, 1e6, False)}, 3)["x"]
        return took / (n * (length - 1)) * 1e9

    def envs(n: int) -> float:
        steps = max(20_000 // n, 5)
        run = vector_steps(walk(2000, 1, seed), n, steps, seed)
        return seconds({"x": run}, 3)["x"] / (n * steps) * 1e9

    largest = 4096 if quick else 65_536
    found: dict[str, list] = {
        "environments": [[n, envs(n)] for n in (1, 16, 256, 4096, 16_384, 65_536) if n <= largest],
        "assets": [[a, paths(16, 500, a)] for a in (1, 2, 5, 20, 50, 100, 200, 500)],
        "bars": [[t, paths(1, t, 5)] for t in (1000, 10_000, 100_000, 1_000_000) if t <= largest * 16],
    }
    for name, rows in found.items():
        print(f"ns per step by {name}: " + ", ".join(f"{n:,}: {ns:,.0f}" for n, ns in rows))
    if not quick:
        picture(found)
    return found


def picture(found: dict[str, list]) -> None:
    """Plot total time against size, on log–log axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.6), layout="constrained")
    for axis, (name, rows) in zip(figure.subplots(1, 3), found.items(), strict=True):
        size, ns = np.array(rows).T
        total = ns if name == "assets" else size * ns
        axis.loglog(size, total / 1e3, "o-", label="measured")
        axis.loglog(size, total[-1] / 1e3 * size / size[-1], "--", lw=0.8, label="linear")
        axis.set(xlabel=name, ylabel="microseconds" if name != "assets" else "microseconds per bar")
        axis.legend()
    FigureCanvasAgg(figure)
    RESULTS.mkdir(exist_ok=True)
    figure.savefig(RESULTS / "simulator_growth.png", dpi=110)


def bandwidth(quick: bool, seed: int) -> dict[str, float]:
    """Bytes that a step must move, as a fraction of what the machine can copy in the same time."""
    n = 4096
    run = vector_steps(walk(5000, 1, seed), n, 20, seed)
    source = np.zeros(1 << 24)
    target = np.empty_like(source)
    took = seconds({"step": run, "copy": lambda: np.copyto(target, source)}, 3 if quick else 9)
    # read: action, features, cash, shares, equity, row; written: observation, cash, shares, equity, cost, traded, reward
    moved = 8 + 8 * 4 + 8 * 4 + 9 * 4 + 8 * 6
    copied = 2 * source.nbytes / took["copy"]
    return {"bandwidth_fraction": moved * n * 20 / took["step"] / copied, "bytes_per_step": moved}


def starts() -> dict[str, float]:
    """Seconds from importing markets to the first step, with an empty numba cache and with a full one."""
    code = (
        "import time; start = time.perf_counter()\n"
        "import markets, numpy as np, pandas as pd\n"
        "close = 50 + np.random.default_rng(0).normal(0, 1, (400, 1)).cumsum(axis=0) * 0.1\n"
        "bars = markets.Bars.make(pd.date_range('2020', periods=400), ['x'], close)\n"
        "env = markets.MarketEnv(bars); env.reset(seed=0); env.step(np.array([0.5]))\n"
        "print(time.perf_counter() - start)"
    )
    with tempfile.TemporaryDirectory() as cache:
        import os

        environment = {**os.environ, "NUMBA_CACHE_DIR": cache}

        def once() -> float:
            command = [sys.executable, "-c", code]
            return float(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)

        return {"cold_start_s": once(), "warm_start_s": min(once() for _ in range(3))}


def main() -> None:
    """Run all measurements and print them."""
    chosen = options(__doc__ or "")
    warnings.simplefilter("ignore")
    figures: dict = {}
    for part in (environments, backtests, gradients, bandwidth):
        figures |= part(chosen.quick, chosen.seed)
    figures |= starts()
    figures["growth_ns_per_step"] = growth(chosen.quick, chosen.seed)
    rounded = {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in figures.items()}
    for name, value in rounded.items():
        if not isinstance(value, dict):
            print(f"{name:30} {value}")
    finish("simulator", rounded, chosen.quick)


if __name__ == "__main__":
    main()
