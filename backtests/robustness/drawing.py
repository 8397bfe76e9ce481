"""The plots of the sections, in one style."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import plotly.graph_objects as go


def figure(x: str, y: str) -> go.Figure:
    """An empty plot with titled axes."""
    import plotly.graph_objects as go  # takes a second to import

    plot = go.Figure()
    plot.update_layout(
        height=360, template="plotly_white", xaxis_title=x, yaxis_title=y, margin={"l": 48, "r": 12, "t": 24, "b": 30},
        legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0},
    )  # fmt: skip
    return plot


def histogram(samples: Mapping[str, np.ndarray], real: float, x: str) -> go.Figure:
    """Distributions of one figure over each other, and where the real one stands."""
    plot = figure(x, "share of them")
    for name, values in samples.items():
        plot.add_histogram(x=values[np.isfinite(values)], name=name, histnorm="probability", opacity=0.6, nbinsx=40)
    plot.update_layout(barmode="overlay")
    if np.isfinite(real):
        plot.add_vline(x=real, line_dash="dash", annotation_text="real")
    return plot
