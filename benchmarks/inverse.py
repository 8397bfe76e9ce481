"""Whether preferences of traders are found again from what they did, how well that is known, and what it is worth elsewhere.

*Maximum entropy*: 20,000 decisions of a logit trader (risk aversion .15, cost .02, temperature .01, discount .99) on a signal of
9 levels and 21 positions, 12 seeds. ``irl_gamma_err`` and ``irl_cost_err`` are the largest relative errors over the seeds.
``irl_coverage``: the smallest share, over the three preferences, of 200 replications of 5,000 decisions in which the 95 %
interval holds the truth; ``irl_coverage_most`` is the largest.

*Horizon*: how often the 95 % interval of `horizon` holds it (``irl_horizon_coverage``), over 40 traders who look 5 bars ahead and
40 who look 100, with 5,000 decisions in each of three markets; and how often it excludes not looking ahead
(``irl_horizon_ahead``).

*Closed form*: a trader with quadratic costs (γ = 5, λ = 50, as in Gârleanu and Pedersen) whose positions are off by .2 of his aim
per unit of the signal, 10,000 decisions, 12 seeds; coverage from 200.

*Another regime*: preferences are inferred in two regimes, and what he would do in a third, wilder one is worth so much of what
the trader himself would get there, by his own preferences. Beside it behaviour cloning, which repeats what he did at the same
level and position, and econirl's NFXP (Rust's nested fixed point with standard errors) on the same decisions where it is
installed (pip install econirl==0.1.1): its estimates, what they are worth, and its time, compilation included. Times are of the
processor.

Without ``--quick`` it also draws docs/inverse.png.
"""

from __future__ import annotations

import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from rich.progress import track

from benchmarks.common import finish, options
from markets.common.progress import visible
from markets.synthetic import GarleanuPedersen
from metalearner.inverse import Inferred, cloned, horizon, infer, infer_quadratic, long_run, soft_values
from metalearner.inverse.experts import autoregressive_market, decisions_of, quadratic_positions
from metalearner.inverse.soft import SignalMarket

GRID, TRUE, DISCOUNT = np.linspace(-1, 1, 21), np.array([0.15, 0.02, 0.01]), 0.99
MARKET = autoregressive_market()
SEEN = (MARKET, autoregressive_market(persistence=0.97, std=0.05))
THREE = (*SEEN, autoregressive_market(persistence=0.7))
NEAR, FAR = 5, 100  # bars ahead
UNSEEN = autoregressive_market(persistence=0.8, std=0.2, variance=2.0)
FAMILY = GarleanuPedersen()
PICTURE = Path(__file__).parents[1] / "docs" / "inverse.png"


def expert(market: SignalMarket, discount: float = DISCOUNT) -> np.ndarray:
    return np.exp(soft_values(market, GRID, TRUE, discount).log_policy)


def horizons(seeds: range) -> tuple[float, float]:
    """How often the interval of the horizon holds it, and how often it excludes that he does not look ahead."""
    holds, ahead = [], []
    for seed in track(seeds, "horizon", disable=not visible(), transient=True):
        for bars in (NEAR, FAR):
            policies = [expert(market, 1 - 1 / bars) for market in THREE]
            seen = [
                decisions_of(m, p, 5_000, seed + 1000 * k) for k, (m, p) in enumerate(zip(THREE, policies, strict=True))
            ]
            found = horizon(seen, GRID)
            holds.append(found.holds(bars))
            ahead.append(found.low > 1)
    return float(np.mean(holds)), float(np.mean(ahead))


def errors(found: Inferred, true: np.ndarray) -> np.ndarray:
    return np.array([abs(p.value / v - 1) for p, v in zip(found.parameters, true, strict=True)])


def covered(found: Inferred, true: np.ndarray) -> np.ndarray:
    return np.array([p.interval()[0] < v < p.interval()[1] for p, v in zip(found.parameters, true, strict=True)])


def quadratic(seed: int) -> Inferred:
    positions, signal = quadratic_positions(FAMILY, 10_000, 0.2, seed)
    return infer_quadratic(positions, signal, slope=FAMILY.slope, reversion=FAMILY.reversion, variance=FAMILY.variance)


def worth(policy: np.ndarray) -> float:
    """Of what the trader would get in the unseen regime."""
    best = long_run(UNSEEN, GRID, expert(UNSEEN), TRUE[0], TRUE[1])
    return long_run(UNSEEN, GRID, policy, TRUE[0], TRUE[1]) / best


def peer(seed: int, bars: int) -> dict[str, float]:
    """What econirl's nested fixed point finds from the decisions of one seed, in our units; empty if it is not installed."""
    if find_spec("econirl") is None:
        return {}
    import jax.numpy as jnp
    from econirl.core.types import DDCProblem, Panel, Trajectory
    from econirl.estimation.nfxp import NFXPEstimator
    from econirl.preferences.linear import LinearUtility

    levels, places = len(MARKET.mean), len(GRID)
    counts = decisions_of(MARKET, expert(MARKET), bars, seed).counts
    state, action = [], []
    for z, p, q in np.argwhere(counts):
        state += [z * places + p] * int(counts[z, p, q])
        action += [q] * int(counts[z, p, q])
    features = np.zeros((levels * places, places, 3))
    moves = np.zeros((places, levels * places, levels * places))
    for z in range(levels):
        for p in range(places):
            gain, risk = MARKET.mean[z] * GRID, -0.5 * MARKET.variance[z] * GRID**2
            features[z * places + p] = np.stack([gain, risk, -np.abs(GRID - GRID[p])], axis=-1)
        for q in range(places):
            for after in range(levels):
                moves[q, z * places : (z + 1) * places, after * places + q] = MARKET.transition[z, after]
    following = np.zeros(len(state), dtype=int)  # the likelihood of choices does not read it
    panel = Panel([Trajectory(jnp.array(state), jnp.array(action), jnp.array(following))])
    utility = LinearUtility(jnp.array(features), ["gain", "risk", "cost"])
    start = time.process_time()
    found = NFXPEstimator().estimate(
        panel, utility, DDCProblem(levels * places, places, DISCOUNT, 1.0), jnp.array(moves),
        initial_params=jnp.array([50.0, 5.0, 1.0]),
    )  # fmt: skip
    seconds = time.process_time() - start
    gain, risk, cost = (float(x) for x in found.parameters)
    preferences = np.array([risk / gain, cost / gain, 1 / gain])
    policy = np.exp(soft_values(UNSEEN, GRID, preferences, DISCOUNT).log_policy)
    off = np.abs(preferences / TRUE - 1)
    return {"gamma_err": off[0], "cost_err": off[1], "seconds": seconds, "transfer": worth(policy)}


def picture(found: list[Inferred], transfers: np.ndarray) -> None:
    """What was found in each seed beside the truth, and what it is worth in another regime."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    for k, (parameter, colour) in enumerate(zip(found[0].parameters, ("#0072b2", "#b35900", "#009e73"), strict=True)):
        at = np.arange(len(found)) + 0.25 * (k - 1)
        ratios = np.array([f.parameters[k].value for f in found]) / TRUE[k]
        ends = np.array([f.parameters[k].interval() for f in found]).T / TRUE[k]
        left.errorbar(at, ratios, np.abs(ends - ratios), fmt="o", markersize=4, color=colour, label=parameter.name)
    left.axhline(1.0, color="#868e96", linewidth=1)
    left.set(xlabel="seed", ylabel="found / true", xticks=range(len(found)))
    left.legend(frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, 1.14))
    names, values = ("inferred", "cloned"), np.median(transfers, axis=0)
    bars = right.barh(names, values, color=("#0072b2", "#b4bcc4"), height=0.5)
    right.bar_label(bars, [f"{value:.0%}" for value in values], padding=4)
    right.axvline(1.0, color="#868e96", linewidth=1)
    right.set(xlim=(0, 1.18), xlabel="of what the trader gets in a regime not in the data")
    right.invert_yaxis()
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(PICTURE, dpi=110, metadata={"Software": None})
    print(f"wrote {PICTURE}")


def main() -> None:
    chosen = options(__doc__ or "")
    seeds, replications, bars = (3, 20, 20_000) if chosen.quick else (12, 200, 20_000)
    first = chosen.seed * 10_000
    found, seconds = [], []
    for seed in track(range(first, first + seeds), "maximum entropy", disable=not visible(), transient=True):
        decisions = [decisions_of(MARKET, expert(MARKET), bars, seed)]
        start = time.process_time()
        found.append(infer(decisions, GRID))
        seconds.append(time.process_time() - start)
    off = np.array([errors(f, TRUE) for f in found])
    inside = [
        covered(infer([decisions_of(MARKET, expert(MARKET), 5_000, seed)], GRID), TRUE)
        for seed in track(range(first, first + replications), "coverage", disable=not visible(), transient=True)
    ]
    coverage = np.mean(inside, axis=0)
    preferences = np.array([FAMILY.risk_aversion, FAMILY.impact])
    closed = [quadratic(seed) for seed in range(first, first + replications)]
    closed_off = np.array([errors(f, preferences) for f in closed[:seeds]])
    closed_coverage = np.mean([covered(f, preferences) for f in closed], axis=0)
    transfers = []
    for seed in range(first, first + seeds):
        decisions = [decisions_of(m, expert(m), bars // 4, seed + 100 * k) for k, m in enumerate(SEEN)]
        transfers.append((worth(infer(decisions, GRID).policy(UNSEEN)), worth(cloned(decisions))))
    ours, clone = np.median(transfers, axis=0)
    held, ahead = horizons(range(first, first + replications // 5))
    other = peer(first, bars)
    print(f"maximum entropy, {seeds} seeds: largest error of γ {off[:, 0].max():.1%}, of the cost {off[:, 1].max():.1%}, of the "
          f"temperature {off[:, 2].max():.1%}; {np.median(seconds):.2f} s a fit")  # fmt: skip
    print(
        f"95 % intervals hold the truth in {coverage.min():.1%} to {coverage.max():.1%} of {replications} replications"
    )
    print(f"closed form: largest error of γ {closed_off[:, 0].max():.1%}, of λ {closed_off[:, 1].max():.1%}; intervals hold in "
          f"{closed_coverage.min():.1%} to {closed_coverage.max():.1%}")  # fmt: skip
    print(f"in a regime not in the data: {ours:.2%} of what the trader gets there, behaviour cloning {clone:.1%}")
    print(f"horizon: intervals hold it in {held:.1%}, and say that he looks ahead at all in {ahead:.1%}")
    if other:
        print(f"econirl NFXP, the same decisions: error of γ {other['gamma_err']:.1%}, of the cost {other['cost_err']:.1%} (ours "
              f"{off[0, 0]:.1%} and {off[0, 1]:.1%}), {other['transfer']:.2%} there, {other['seconds'] / seconds[0]:.0f} times "
              f"our time")  # fmt: skip
    if not chosen.quick:
        picture(found, np.array(transfers))
    figures = {
        "irl_gamma_err": off[:, 0].max(), "irl_cost_err": off[:, 1].max(), "irl_temperature_err": off[:, 2].max(),
        "irl_coverage": coverage.min(), "irl_coverage_most": coverage.max(), "irl_seconds": float(np.median(seconds)),
        "quadratic_gamma_err": closed_off[:, 0].max(), "quadratic_lambda_err": closed_off[:, 1].max(),
        "quadratic_coverage": closed_coverage.min(), "irl_horizon_coverage": held, "irl_horizon_ahead": ahead,
        "transfer": ours, "transfer_cloned": clone,
    }  # fmt: skip
    figures |= {f"econirl_{name}": value for name, value in other.items()}
    if other:
        figures["econirl_time_ratio"] = other["seconds"] / np.median(seconds)
    finish("inverse", {name: float(f"{value:.4g}") for name, value in figures.items()}, chosen.quick)


if __name__ == "__main__":
    main()
