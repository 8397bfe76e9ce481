"""Curves of a report, as its script reads them."""

import base64

import numpy as np


def unpacked(curve):
    """Values of a curve that `backtests.report.compact.packed` packed, as assets/read.js reads it."""
    whole = np.frombuffer(base64.b64decode(curve["b"]), "<u2").astype(float)
    return np.where(whole == 65_535, np.nan, curve["lo"] + curve["step"] * whole)
