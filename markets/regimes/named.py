"""`detector_from_name`: detectors as they are named on the command line."""

from __future__ import annotations

from typing import Any

from markets.common.errors import InputError
from markets.regimes.base import RegimeDetector
from markets.regimes.change_points import ChangePoints
from markets.regimes.hidden_markov import HiddenMarkovRegimes
from markets.regimes.jump import JumpRegimes
from markets.regimes.volatility_trend import VolatilityTrendRegimes

DETECTORS: dict[str, type[RegimeDetector]] = {
    "hmm": HiddenMarkovRegimes,
    "volatility": VolatilityTrendRegimes,
    "jump": JumpRegimes,
    "changepoints": ChangePoints,
}


def detector_from_name(name: str, n_regimes: int | None = None, seed: int = 0) -> RegimeDetector:
    """A new detector.

    Parameters
    ----------
    name : {"hmm", "volatility", "jump", "changepoints"}
    n_regimes : int, optional
        By default the detector's own number. An odd number of volatility regimes has no trend to split them by.
    seed : int
        Of the restarts, for the detectors that have any.

    Raises
    ------
    InputError
        When there is no detector of that name, or not with so many regimes.
    """
    if name not in DETECTORS:
        raise InputError(f"detector {name!r} is unknown; use {', '.join(DETECTORS)}")
    options: dict[str, Any] = {} if n_regimes is None else {"n_regimes": n_regimes}
    if name == "volatility" and n_regimes is not None and n_regimes % 2:
        options["trend"] = 0
    if name in ("hmm", "jump"):
        options["seed"] = seed
    return DETECTORS[name](**options)
