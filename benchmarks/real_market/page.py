"""A Markdown page of a trial: the ladder, the pooled differences, each universe's figures, and what to know of its bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from benchmarks.real_market.comparison import COMPARED, Comparison
from benchmarks.real_market.contenders import Contender
from benchmarks.real_market.ladder import Rung
from benchmarks.real_market.text import NOTE
from benchmarks.real_market.verdict import opponents


def write(
    file: Path,
    head: Sequence[str],
    comparison: Comparison,
    contenders: Sequence[Contender],
    ladders: Mapping[str, Sequence[Rung]],
    pictures: Sequence[Path],
) -> Path:
    """Write the page.

    Parameters
    ----------
    file : Path
        Pictures are named relative to its folder.
    head : sequence of str
        What the run was, one line each.
    comparison : Comparison
    contenders : sequence of Contender
        Those that are judged, of which differences are shown.
    ladders : dict
        Rungs, by who is judged: as the protocol says, and each alone.
    pictures : sequence of Path
    """  # fmt: skip
    parts = [
        "# Real prices",
        "\n".join(f"- {line}" for line in head),
        "## The ladder",
    ]
    for who, rungs in ladders.items():
        parts += [who, _ladder(rungs, comparison.universes)]
    for contender in contenders:
        parts += [f"## {contender.name}: differences, pooled over universes", _differences(comparison, contender)]
    biases = [f"{t.universe.bars.source.survivorship or u}" for u, t in comparison.traded.items()]
    under = " ".join(text.rstrip(".") + "." for text in dict.fromkeys(biases))
    parts += [f"![{picture.stem}]({picture.name})\n\n{under}" for picture in pictures]
    for name in comparison.universes:
        universe = comparison.traded[name].universe
        parts += [
            f"## {name}, {universe.span}",
            _table(comparison.table(name)),
            f"{NOTE}\n\n" + "\n".join(f"- {text}" for text in (universe.bars.source.origin, *universe.caveats) if text),
        ]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return file


def _ladder(rungs: Sequence[Rung], universes: Sequence[str]) -> str:
    rows = [f"| | rung | pooled | {' | '.join(universes)} | by |", "|---" * (len(universes) + 4) + "|"]
    for rung in rungs:
        marks = [_mark(rung.by_universe.get(u)) for u in universes]
        rows.append(f"| {rung.number} | {rung.title} | **{_mark(rung.reached)}** | {' | '.join(marks)} | {rung.why} |")
    return "\n".join(rows)


def _mark(reached: bool | None) -> str:
    return "" if reached is None else "yes" if reached else "no"


def _differences(comparison: Comparison, contender: Contender) -> str:
    rows = ["| to | statistic | difference | 95 % interval | could see |", "|---|---|---|---|---|"]
    for other in opponents(comparison, contender):
        for statistic in COMPARED:
            one = comparison.difference(contender.name, other, statistic).pooled
            rows.append(
                f"| {other} | {statistic} | {one.value:+.4f} | [{one.low:+.4f}, {one.high:+.4f}] | {one.detectable:.4f} |"
            )
    return "\n".join(rows)


def _table(figures: pd.DataFrame) -> str:
    lines = [f"| | {' | '.join(figures.columns)} |", "|---" * (figures.shape[1] + 1) + "|"]
    lines += [f"| {name} | {' | '.join(f'{value:.4g}' for value in row)} |" for name, row in figures.iterrows()]
    return "\n".join(lines)
