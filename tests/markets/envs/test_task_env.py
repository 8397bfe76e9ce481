import numpy as np
import pytest

from markets import InputError, TaskEnv, TaskSet


@pytest.mark.parametrize("setting", [{"regime": "crisis"}, {"fit_until": "2003", "regime": 0}, {"task": True}])
def test_regression_what_would_be_ignored_is_refused(tasks, setting):
    """A regime was fitted, and warned about, and then episodes ran in all tasks."""
    if "task" in setting:
        setting = {"task": tasks[0][0]}
    with pytest.raises(InputError, match="cannot be given to TaskEnv"):
        TaskEnv(tasks[0], **setting)


def test_regression_episodes_start_where_features_are_warm(bars):
    """Tasks at the start of the bars showed features of nothing but zeros."""
    windows = TaskSet.from_windows(bars[:600], support=30, query=30, step=60)
    env = TaskEnv(windows, episodes=1)
    seen = set()
    for seed in range(60):
        observation, info = env.reset(seed=seed)
        assert np.abs(observation[:-5]).max() > 0
        seen.add(info["task"])
    assert min(windows[k].start for k in seen) > 0
