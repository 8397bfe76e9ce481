"""Tables in Markdown, for places that show no pages: MLflow's descriptions, and model cards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def markdown_table(heads: Sequence[Any], rows: Sequence[Sequence[Any]]) -> str:
    """A table in Markdown; whatever a cell holds stays inside it.

    Parameters
    ----------
    heads : sequence of length C
    rows : sequence of sequences of length C
    """
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(_cell(value) for value in line) + " |" for line in lines)


def _cell(value: Any) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")
