"""Markets that never were: families whose best possible trader is known, and paths drawn from past bars."""

from markets.synthetic.families import (
    FAMILIES,
    DriftMomentum,
    Episodes,
    Family,
    GarleanuPedersen,
    HiddenMarkov,
    HiddenMarkovFamily,
    LinearCost,
)

__all__ = [
    "FAMILIES",
    "DriftMomentum",
    "Episodes",
    "Family",
    "GarleanuPedersen",
    "HiddenMarkov",
    "HiddenMarkovFamily",
    "LinearCost",
]
