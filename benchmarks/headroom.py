"""Whether `regimeshift headroom` tells the truth, where it is known.

Ten years of daily returns are drawn from markets of two regimes whose headroom is known exactly: what filtering the regime adds
per year to the certainty equivalent (γ = 5, 10 bp, exposure 0 to 1) of the best constant exposure. From each path alone the
headroom is estimated, with its 90 % interval, by `backtests.headroom.estimate`, as the command does. Printed per market: how
often the interval holds the truth, its mean ends and width, and the mean error of the estimate and the root of its mean square.

- ``both``: a calm regime that rises and a wild one that falls.
- ``means``: regimes that differ in their means alone, so weakly that ten years hardly show them.
- ``volatilities``: equal means, so that risk alone is worth adapting to.
- ``nothing``: one regime; the headroom is 0.

``headroom_coverage`` is the share over all markets, ``headroom_coverage_worst`` that of the worst one.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from rich.progress import track

from backtests.headroom import estimate
from benchmarks.common import finish, options
from markets.common.progress import visible
from markets.synthetic import TwoRegimes, calibrate
from strategies.optimal import Exposure, solve_filter

YEAR, BARS, DRAWS = 252, 2520, 60
PROBLEM = Exposure(risk_aversion=5.0, cost=0.001)
MARKETS = {
    "both": TwoRegimes((8e-4, -4e-4), (0.007, 0.016), (120, 50), 6.0),
    "means": TwoRegimes((12e-4, -12e-4), (0.01, 0.01), (100, 100), 6.0),
    "volatilities": TwoRegimes((4e-4, 4e-4), (0.007, 0.018), (120, 50), 6.0),
    "nothing": TwoRegimes((4e-4, 4e-4), (0.01, 0.01), (100, 100), 6.0),
}


def one(market: TwoRegimes, seed: list[int]) -> tuple[float, float, float]:
    """Estimate and ends of the interval, from one path; per year."""
    returns = market.sample(1, BARS, np.random.default_rng(seed))[0][0]
    calibration = calibrate(returns, YEAR, DRAWS, seed=sum(seed))
    found = estimate(PROBLEM, calibration) * YEAR
    return found.value, found.low, found.high


def main() -> None:
    """Measure and print."""
    chosen = options(__doc__ or "")
    paths = 6 if chosen.quick else 100
    rows, figures, held = {}, {}, []
    for k, (name, market) in enumerate(MARKETS.items()):
        # a fine grid of beliefs
        true = solve_filter(PROBLEM, market, 241).headroom * YEAR
        work = (delayed(partial(one, market))([chosen.seed, k, path]) for path in range(paths))
        results = Parallel(n_jobs=2, return_as="generator")(work)
        shown = track(results, name, total=paths, transient=True, disable=not visible(True))
        value, low, high = np.array(list(shown)).T
        inside = (low <= true + 1e-9) & (true <= high + 1e-9)
        held.append(inside)
        rows[name] = {
            "true": true, "coverage": inside.mean(), "low": low.mean(), "high": high.mean(), "width": (high - low).mean(),
            "bias": (value - true).mean(), "error": np.sqrt(((value - true) ** 2).mean()),
        }  # fmt: skip
        figures |= {f"{name}_{what}": round(float(v), 4) for what, v in rows[name].items()}
    print(f"{paths} paths of {BARS:,} bars each; gains in certainty equivalent per year")
    print(pd.DataFrame(rows).T.round(4).to_string())
    figures["headroom_coverage"] = round(float(np.mean(held)), 4)
    figures["headroom_coverage_worst"] = round(float(min(each.mean() for each in held)), 4)
    finish("headroom", figures, chosen.quick)


if __name__ == "__main__":
    main()
