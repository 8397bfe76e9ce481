"""The file that MLflow runs when it loads a version ("models from code"): weights are safetensors, nothing is pickled.

========  =============================  ======================================================================
``bars``  array of arrays of double      closes, oldest first, one row a bar, one column a symbol; at least
                                         ``bars_needed`` of them (a tag of the version)
========  =============================  ======================================================================

A request is ``{"dataframe_records": [{"bars": [[...], ...]}]}`` to ``/invocations``, and the answer to each
row has ``target_weight`` and ``band``, a double a symbol: trade to the nearest edge of
``target_weight ± band``. Everything else is in `backtests.deployment`.
"""

import mlflow

from backtests.deployment import ServedStrategy

mlflow.models.set_model(ServedStrategy())
