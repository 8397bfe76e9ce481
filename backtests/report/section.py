"""`Section`: one question about a backtest, answered by a table and a plot; a report shows any number of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

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
