import json

import pytest

from markets import InputError
from metalearner import MAML, RL2
from regimeshift.commands.train import Train
from regimeshift.configuration import Configuration, configured, differing, with_file_settings


@pytest.fixture
def file(tmp_path):
    return tmp_path / "best.json"


def test_a_file_is_read_as_it_was_written(file):
    config = Configuration({"learner": "maml", "symbols": ["A"]}, {"policy.hidden": 16}, {"score": 0.1})
    config.write(file)
    assert Configuration.read(file) == config
    options, settings = configured(Train(out="here"), file)
    assert (options.learner, options.symbols, options.out, options.steps) == ("maml", ("A",), "here", 300)
    assert with_file_settings(MAML(), settings, file).policy.hidden == 16


def test_what_differs_from_the_defaults_is_what_a_file_needs(file):
    given = Train(learner="maml", steps=7, costs="5bp", symbols=("A", "B"), device="cpu", long_only=True, out="here")
    Configuration(differing(given, leave=("device",)), {}).write(file)
    assert json.loads(file.read_text())["train"] == {
        "symbols": ["A", "B"], "costs": "5bp", "long_only": True, "learner": "maml", "steps": 7
    }  # fmt: skip
    again, _ = configured(Train(device="cpu", out="here"), file)
    assert again == given


def test_without_a_file_nothing_changes():
    options, settings = configured(Train(steps=7), None)
    assert (options, settings) == (Train(steps=7), {})
    assert with_file_settings(RL2(), settings, None) == RL2()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "line 1, column 2: Expecting property name"),
        ("[1]", "write an object with the parts train, settings, about"),
        ('{"learner": "rl2"}', "learner: unknown part; there are train, settings, about"),
        ('{"train": 3}', "train: write an object"),
        ('{"train": {"stepz": 3}}', "train: stepz: there is no such setting; is steps meant"),
        ('{"train": {"steps": "many"}}', "train: steps: 'many' should be a valid integer"),
        ('{"train": {"learner": "ppo"}}', "train: learner: 'ppo' should be 'rl2', 'latent'"),
        ('{"train": {"out": "x"}}', "train: out: there is no such setting"),
        ('{"train": {"steps": 9}}', "train: steps is 9, and the command line says 7; leave the option out, or change"),
        (
            '{"settings": {"policy.hiden": 3}}',
            "settings: policy.hiden: there is no such setting; is policy.hidden meant",
        ),
        ('{"settings": {"policy.hidden": "3"}}', "settings: policy.hidden: '3' should be a valid integer"),
        (
            '{"settings": {"training.batch": 0}}',
            "settings: training.batch: training: batch is 0; it must be at least 1",
        ),
    ],
)
def test_what_is_wrong_is_one_line_with_file_and_key(file, text, words):
    file.write_text(text)

    def apply():
        _, settings = configured(Train(steps=7), file)
        return with_file_settings(RL2(), settings, file)

    with pytest.raises(InputError) as caught:
        apply()
    assert str(caught.value).startswith(f"{file}: {words}")
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(file, tmp_path):
    for path, words in ((file, "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(InputError, match=words):
            configured(Train(), path)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not a text file"):
        configured(Train(), file)
