"""The tables of ``docs/ceilings.md``: each ceiling exactly where it is known, and sampled, with its standard error.

Exact values are long-run means (`strategies.optimal.value_of_switching`). Sampled ones leave out the first bars of each episode,
in which the beliefs are still near their prior. Takes about two minutes.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from benchmarks.common import finish, options
from markets.synthetic import DriftMomentum, Family, GarleanuPedersen, HiddenMarkov, LinearCost
from strategies.ladder import ladder
from strategies.optimal import (
    GarleanuPedersenOptimum,
    HiddenMarkovFilter,
    LinearCostOptimum,
    hidden_markov_threshold,
)

LENGTH, SKIP = 10_000, 500
HIDDEN_MARKOV = [(0.1, 0.99, 0.1), (0.2, 0.99, 0.1), (0.1, 0.995, 0.5)]
LINEAR_COST = [(0.01, 0.01, 0.05), (0.01, 0.01, 1.0), (0.05, 0.02, 0.1)]


def sampled(family: Family, episodes: int, seed: int, skip: int, repeats: int) -> pd.DataFrame:
    """The ladder with the reward and standard error of `repeats` sets of episodes taken together."""
    tables = [ladder(family, episodes, seed + 1000 * i, skip) for i in range(repeats)]
    table = sum(tables) / repeats
    table["error"] = np.sqrt(sum(t["error"] ** 2 for t in tables)) / repeats
    return table


def shown(table: pd.DataFrame, row: str) -> str:
    """A rung's reward and standard error, with the digits that the error leaves."""
    reward, error = table.loc[row, ["reward", "error"]]
    digits = int(np.ceil(-np.log10(error))) if error > 0 else 4
    return f"{reward:.{digits}f} ± {error:.{digits}f}"


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def main() -> None:
    """Sample every ladder, solve every value, and print the tables."""
    chosen = options(__doc__ or "")
    repeats, episodes = (1, 40) if chosen.quick else (8, 400)
    figures: dict[str, float] = {}

    def record(key: str, table: pd.DataFrame, row: str, exact: float = np.nan) -> None:
        figures[f"{key}_sampled"], figures[f"{key}_error"] = (float(v) for v in table.loc[row, ["reward", "error"]])
        if exact == exact:
            figures[f"{key}_exact"] = exact

    table = sampled(DriftMomentum(), 50 * episodes, chosen.seed, 0, max(1, repeats // 2))
    record("drift_momentum", table, "Bayes filter")
    print(
        markdown(
            ["parameters known", "Bayes filter"], [[shown(table, "parameters known"), shown(table, "Bayes filter")]]
        )
    )

    rows = []
    for mean, stay, cost in HIDDEN_MARKOV:
        family = HiddenMarkov(mean, stay, cost, length=LENGTH)
        table, value = sampled(family, episodes, chosen.seed, SKIP, repeats), HiddenMarkovFilter(family).value
        record(f"hidden_markov_{mean}_{stay}_{cost}", table, "filter", value)
        threshold = hidden_markov_threshold(mean, stay, cost, 1601)
        exactly = [
            f"{mean}, {stay}, {cost}",
            f"{threshold:.3f}",
            f"{mean - 2 * cost * (1 - stay):.3f}",
            f"**{value:.5f}**",
        ]
        rows.append(exactly + [shown(table, r) for r in ("filter", "sign of the belief", "hindsight")])
    titles = [
        "m, q, G",
        "long above P(up) =",
        "next state known",
        "ceiling",
        "ceiling, sampled",
        "sign of the belief",
        "hindsight",
    ]
    print(markdown(titles, rows))

    optimum = GarleanuPedersenOptimum(GarleanuPedersen(length=LENGTH))
    table = sampled(optimum.family, episodes, chosen.seed, SKIP, repeats)
    record("garleanu_pedersen", table, "partial adjustment", optimum.value)
    print(markdown(["ceiling", "ceiling, sampled"], [[f"**{optimum.value:.7f}**", shown(table, "partial adjustment")]]))

    rows = []
    for speed, std, cost in LINEAR_COST:
        threshold = LinearCostOptimum(LinearCost(speed, std, cost, length=LENGTH))
        table = sampled(threshold.family, episodes, chosen.seed, SKIP, repeats)
        record(f"linear_cost_{speed}_{std}_{cost}", table, "threshold", threshold.value)
        exactly = [f"{speed}, {std}, {cost}", f"{threshold.threshold:.5f}", f"**{threshold.value:.5f}**"]
        rows.append([*exactly, shown(table, "threshold")])
    print(markdown(["ε, β, Γ", "long above p =", "ceiling", "ceiling, sampled"], rows))
    finish("ceilings", {k: float(f"{v:.5g}") for k, v in figures.items()}, chosen.quick)


if __name__ == "__main__":
    main()
