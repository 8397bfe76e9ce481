"""How many regimes the data support."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import pandas as pd

from markets.bars.bars import Bars
from markets.common.errors import InputError
from markets.regimes.hidden_markov import HiddenMarkovRegimes

# EM may stop here when a step gains less per bar: more regimes than there are converge slowly, to no other answer.
TOLERANCE = 1e-7
# Longer histories are judged by this many of their last bars.
MOST_BARS = 10_000


class Supported(NamedTuple):
    """The number of regimes that the data support, and the table it was read from; see `supported_regimes`."""

    n_regimes: int
    table: pd.DataFrame


def supported_regimes(bars: Bars, most: int = 5, detector: HiddenMarkovRegimes | None = None) -> Supported:
    """Number of hidden Markov regimes with the lowest Bayesian information criterion.

    BIC = p log T − 2 log-likelihood, where p = K² + 2K − 1 is the number of free parameters of K regimes (Schwarz, "Estimating
    the dimension of a model", Annals of Statistics 1978).

    Parameters
    ----------
    bars : Bars
        Pass only past bars if the answer is to decide about later ones. Of more than 10,000 bars, the last 10,000 are used.
    most : int
        Largest number to try.
    detector : HiddenMarkovRegimes, optional
        Its parameters but `n_regimes` are used; by default those of ``HiddenMarkovRegimes()``, with less exact convergence.

    Returns
    -------
    Supported
        ``n_regimes``, and ``table`` with one row per number of regimes: ``log-likelihood``, ``parameters`` and ``BIC``.

    Raises
    ------
    InputError
        When `most` is below 1, or not even one regime can be fitted.
    """
    if most < 1:
        raise InputError(f"most is {most}; it must be at least 1")
    held = bars.with_past()
    held = held[-MOST_BARS:] if len(held) > MOST_BARS else held
    parameters = (detector or HiddenMarkovRegimes(tolerance=TOLERANCE)).get_params()
    rows: dict[int, dict[str, float]] = {}
    for k in range(1, most + 1):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that a number is too large is the question here
                fitted = HiddenMarkovRegimes(**parameters | {"n_regimes": k}).fit(held)
        except InputError:  # too few bars for as many regimes
            if not rows:
                raise
            break
        free, count = k * k + 2 * k - 1, np.isfinite(fitted._returns(held)).sum()
        likelihood = fitted.log_likelihood
        rows[k] = {"log-likelihood": likelihood, "parameters": free, "BIC": free * np.log(count) - 2 * likelihood}
    table = pd.DataFrame(rows).T.astype({"parameters": int}).rename_axis("n_regimes")
    return Supported(int(table["BIC"].idxmin()), table)
