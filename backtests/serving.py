"""Model code that MLflow runs when it loads a version ("models from code"). Weights are safetensors; nothing is pickled.

===========  ===========================  ============================================================================
``symbols``  array of string              names of the columns of ``bars``: those that the model was made for
``times``    array of string              ISO 8601 times of the rows of ``bars``, oldest first
``bars``     array of arrays of numbers   closes, null where a symbol did not trade; at least ``bars_needed`` rows (a
                                          tag of the version), and as many closes of each symbol
``volume``   array of arrays of numbers   only for a model that reads it: as many rows of volumes; and likewise ``open``,
                                          ``high``, ``low`` and ``spread``. The signature of the model names them
``series``   object of objects            only for a model with external series: of each column ``times``, at which values
                                          got known, and ``values``, as far as they are newer than the model
===========  ===========================  ============================================================================

Send requests as ``{"dataframe_records": [{"symbols": [...], "times": [...], "bars": [[...], ...]}]}`` to ``/invocations``. The
response to each row has ``symbols`` in the order of the request, and for each ``target_weight``, ``band`` and ``rate``: trade
``rate`` of the way to the nearest edge of ``target_weight ± band``; a band of null has no end, and leaves the position alone.
With stops there are their levels as well, of which null is none. What else there is, is listed in `backtests.decider`. A request
whose bars are not such as the model was made for is refused with status 400 and one line. The implementation is in
`backtests.served`, `backtests.decider` and `backtests.deployment`.
"""

import contextlib
import importlib.util
import sys
from pathlib import Path

import mlflow

# MLflow's server puts the working directory first on the import path, where a user may have a folder called `markets`.
_here = [place for place in sys.path if Path(place).resolve() == Path.cwd()]
sys.path[:] = [place for place in sys.path if place not in _here]
try:
    from backtests.served import ServedStrategy
except ModuleNotFoundError:  # the working directory is where this package is
    sys.path[:0] = _here
    from backtests.served import ServedStrategy
else:
    sys.path[:0] = _here

# Python keeps compiled code beside this file, and a version that holds a file more than was registered is refused.
if Path(__file__).with_name("MLmodel").exists():
    with contextlib.suppress(OSError):
        Path(importlib.util.cache_from_source(__file__)).unlink()

mlflow.models.set_model(ServedStrategy())
