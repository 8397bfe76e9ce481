import pytest

from markets import InputError, TaskEnv


@pytest.mark.parametrize("setting", [{"regime": "crisis"}, {"fit_until": "2003", "regime": 0}, {"task": True}])
def test_regression_what_would_be_ignored_is_refused(tasks, setting):
    """A regime was fitted, and warned about, and then episodes ran in all tasks."""
    if "task" in setting:
        setting = {"task": tasks[0][0]}
    with pytest.raises(InputError, match="cannot be given to TaskEnv"):
        TaskEnv(tasks[0], **setting)
