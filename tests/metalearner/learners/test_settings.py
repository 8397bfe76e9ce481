import json
from dataclasses import replace

import pytest

from markets import InputError
from metalearner import LEARNERS, MAML, RL2, FineTune
from metalearner.learners.settings import settings_of, with_settings


@pytest.mark.parametrize("name", LEARNERS)
def test_a_learner_is_what_its_settings_say(name):
    learner = LEARNERS[name]()
    plain = {k: s.value for k, s in settings_of(learner).items() if k != "policy.features.parts"}
    assert with_settings(learner, json.loads(json.dumps(plain))) == learner


def test_settings_arrive_where_their_names_say():
    learner = with_settings(
        MAML(), {"training.learning_rate": 1, "policy.hidden": 16, "inner.step_size": [0.1, 0.2], "order": 2}
    )
    assert learner.training == replace(MAML().training, learning_rate=1.0)
    assert type(learner.training.learning_rate) is float
    assert learner.policy == replace(MAML().policy, hidden=16)
    assert learner.inner.step_size == (0.1, 0.2)
    assert learner.order == 2
    assert with_settings(FineTune(), {"step_sizes": []}).step_sizes == ()


def test_settings_that_fit_together_alone_are_set_together():
    assert with_settings(RL2(), {"training.keep": "last", "training.evidence": None, "training.on_validation": True})


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {"training.learning_rat": 1},
            "training.learning_rat: there is no such setting; is training.learning_rate meant?",
        ),
        ({"training.learning_rate": "fast"}, "training.learning_rate: 'fast' should be a valid number"),
        ({"training.learning_rate": True}, "training.learning_rate: True should be a valid number"),
        ({"training.steps": 2.5}, "training.steps: 2.5 should be a valid integer"),
        ({"training.steps": None}, "training.steps: None should be a valid integer"),
        ({"training.steps": 0}, "training.steps: training: steps is 0; it must be at least 1"),
        ({"control": "none"}, "control: 'none' should be 'cleared' or 'trained'"),
        ({"policy": {}}, "policy holds settings; name one of them"),
        ({"context": object}, "context: .* is nothing that a file can hold"),
    ],
)
def test_what_cannot_be_set_is_one_line_that_begins_with_its_name(values, words):
    with pytest.raises(InputError, match=words.replace("?", r"\?")):
        with_settings(RL2(), values)
