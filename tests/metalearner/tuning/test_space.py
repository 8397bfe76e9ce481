import pytest

from markets import InputError
from metalearner import LEARNERS, MAML, RL2, AdaptiveRisk, FineTune, Inner, Scratch
from metalearner.learners.settings import settings_of, with_settings
from metalearner.tuning import OneOf, Range, space
from metalearner.tuning.space import contains


@pytest.mark.parametrize("name", LEARNERS)
def test_each_learner_lies_in_its_own_space(name):
    learner = LEARNERS[name]()
    known, found = settings_of(learner), space(learner)
    assert found
    assert all(contains(searched, known[setting].value) for setting, searched in found.items())
    for setting, searched in found.items():
        values = (searched.low, searched.high) if isinstance(searched, Range) else searched.values
        for value in values:
            with_settings(learner, {setting: value})


def test_ranges_come_from_what_is_stated_and_choices_from_the_type():
    found = space(MAML())
    assert found["training.learning_rate"] == Range(1e-4, 3e-2, log=True)
    assert found["learn_step_sizes"] == OneOf((False, True))
    assert found["inner.steps"] == Range(1, 10)
    assert space(RL2(), {"policy.head": None, "training.batch": None}) == {
        "policy.head": OneOf(("plain", "film", "hyper")),
        "training.batch": Range(4, 32, log=True),
    }


def test_a_stated_range_is_widened_by_the_learners_own_value():
    assert space(Scratch())["inner.steps"] == Range(1, 50)
    assert space(AdaptiveRisk())["training.weight_decay"].high == 1.0


def test_what_has_no_effect_is_not_searched():
    assert not [name for name in space(Scratch()) if name.startswith("training.")]
    assert "inner.step_size" not in space(FineTune())
    assert "inner.step_size" in space(FineTune(step_sizes=()))
    assert "inner.step_size" not in space(MAML(inner=Inner(step_size=(0.1, 0.2))))
    with pytest.raises(InputError, match="batch is not searched: it has no effect in scratch"):
        space(Scratch(), {"training.batch": None})


@pytest.mark.parametrize(
    ("search", "words"),
    [
        ({"training.rate": None}, "training.rate: there is no such setting"),
        ({"learning_rate": None}, "is training.learning_rate meant?"),
        ({"training": None}, "training holds settings; name one of them, such as training.steps"),
        (
            {"objective.costs.commission": Range(0, 1)},
            "not searched: it is part of the figure by which trials are compared",
        ),
        ({"objective.utility.risk_aversion": Range(0, 1)}, "part of the figure"),
        ({"training.seed": Range(0, 9)}, "not searched: the luckiest seed"),
        ({"training.steps": None}, "training.steps: no range is stated for it"),
        ({"policy.head": Range(0, 1)}, "policy.head: 'plain' is not a number"),
        ({"policy.head": OneOf(("plain", "film", "big"))}, "policy.head: 'big' should be 'plain', 'film' or 'hyper'"),
        ({"policy.hidden": OneOf((8, 4.5))}, "policy.hidden: 4.5 should be a valid integer"),
        ({"policy.hidden": Range(0, 8)}, "policy.hidden: hidden is 0; it must be at least 1"),
        ({"policy.hidden": Range(2.5, 8)}, "policy.hidden: 2.5 should be a valid integer"),
    ],
)
def test_what_cannot_be_searched_is_one_line(search, words):
    with pytest.raises(InputError, match=words.replace("?", r"\?")):
        space(RL2(), search)


def test_ranges_are_checked():
    with pytest.raises(InputError, match="its end above its start"):
        Range(2, 1)
    with pytest.raises(InputError, match="it must start above 0"):
        Range(0, 1, log=True)
    assert str(Range(1e-4, 0.1, log=True)) == "0.0001 to 0.1, logarithmic"
