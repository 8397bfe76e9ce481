"""Model code that MLflow runs when it loads a version ("models from code"). Weights are safetensors; nothing is pickled.

========  =============================  ======================================================================
``bars``  array of arrays of double      closes, oldest first: one row per bar, one column per symbol; at least
                                         ``bars_needed`` rows (a tag of the version)
========  =============================  ======================================================================

Send requests as ``{"dataframe_records": [{"bars": [[...], ...]}]}`` to ``/invocations``. The response to each row has
``target_weight`` and ``band``, with one double per symbol: trade to the nearest edge of ``target_weight ± band``. The
implementation is in `backtests.deployment`.
"""

import sys
from pathlib import Path

import mlflow

# MLflow's server puts the working directory first on the import path, where a user may have a folder called `markets`.
_path = sys.path
sys.path = [place for place in _path if Path(place).resolve() != Path.cwd()]
try:
    from backtests.deployment import ServedStrategy
except ModuleNotFoundError:  # the working directory is where this package is
    sys.path = _path
    from backtests.deployment import ServedStrategy
finally:
    sys.path = _path

mlflow.models.set_model(ServedStrategy())
