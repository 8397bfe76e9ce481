import numpy as np
import pandas as pd
import pytest

from backtests.deployment import deployable
from markets import External, InputError
from strategies import Policy, PolicySettings, PolicyStrategy


def test_a_model_that_reads_external_series_is_not_deployed():
    series = pd.Series(np.zeros(5), pd.date_range("2020-01-01", periods=5), name="vix")
    policy = PolicyStrategy(Policy(PolicySettings(features=External(series))).eval(), 5)
    with pytest.raises(InputError, match="ours reads external_vix; a deployed model is sent closes alone"):
        deployable(policy, "ours")
