"""What other parts hand to a report: `Section`, one question answered by a table and a plot, and `Judged`, a verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import pandas as pd

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclass(frozen=True, eq=False)
class Section:
    """A question, and what the bars answer.

    Attributes
    ----------
    title : str
    finding : str
        The answer in one sentence, with its figure.
    shows, does_not_show : str
        What follows from it, and what does not, in a sentence each.
    table : DataFrame
        The figures, unrounded.
    draw : callable
        Returns the plotly figure; plotly is imported when it is called.
    """

    title: str
    finding: str
    shows: str
    does_not_show: str
    table: pd.DataFrame
    draw: Callable[[], go.Figure]


class Judged(Protocol):
    """A verdict on each strategy, as `backtests.significance.verdict` gives it."""

    @property
    def benchmark(self) -> str:
        """Name of the strategy that the others were compared with."""
        ...

    @property
    def sentences(self) -> Mapping[str, str]:
        """By strategy, a sentence without its full stop."""
        ...

    @property
    def finding(self) -> str:
        """All of it in one sentence."""
        ...

    def section(self) -> Section:
        """Its figures."""
        ...
