import json

import pytest

from markets import HiddenMarkovRegimes, InputError, load_detector
from markets.common.formats import FORMAT, check_format
from metalearner import load_meta
from strategies import PolicyStrategy


def test_this_versions_format_passes():
    check_format({"format": FORMAT}, "x.json", "train it again")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, r"x\.json: .*earlier version.*; train it again"),
        ({"format": 0}, r"format 0 .*earlier version.*; train it again"),
        ({"format": FORMAT + 1}, r"later version.*upgrade regimeshift"),
        ({"format": "1"}, r"format is '1'; it must be a whole number"),
        ({"format": True}, r"format is True; it must be a whole number"),
    ],
)
def test_another_format_is_refused_with_what_to_do(config, message):
    with pytest.raises(InputError, match=message):
        check_format(config, "x.json", "train it again")


def test_every_saved_file_says_its_format(meta, bars, tmp_path):
    """So that names can change without a model ever being read as another one."""
    folder = meta.save(tmp_path / "m")
    HiddenMarkovRegimes(2, restarts=1).fit(bars[:600]).save(folder / "regimes.json")
    files = sorted(path.name for path in folder.glob("*.json"))
    assert files == ["meta.json", "regimes.json", "strategy.json"]
    for name, load in (("meta.json", load_meta), ("strategy.json", PolicyStrategy.load)):
        config = json.loads((folder / name).read_text())
        assert config["format"] == FORMAT
        for other in ({k: v for k, v in config.items() if k != "format"}, config | {"format": 99}):
            (folder / name).write_text(json.dumps(other))
            with pytest.raises(InputError, match=f"{name}: "):
                load(folder)
        (folder / name).write_text(json.dumps(config))
        load(folder)
    config = json.loads((folder / "regimes.json").read_text())
    (folder / "regimes.json").write_text(json.dumps(config | {"format": 99}))
    with pytest.raises(InputError, match="later version"):
        load_detector(folder / "regimes.json")
