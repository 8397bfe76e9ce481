import pytest
import torch

from markets import InputError
from strategies import serialization as saving


def test_what_is_written_is_read_and_the_callers_generator_is_left_alone(tmp_path):
    network = torch.nn.Linear(3, 2)
    saving.write(tmp_path / "a", "it.json", {"inputs": 3}, network)
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    with saving.reading(tmp_path / "a", "it.json", "network") as config:
        other = torch.nn.Linear(config["inputs"], 2)
        other.load_state_dict(saving.weights(tmp_path / "a"))
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(network.weight, other.weight)
    assert saving.fingerprint(1, network) == saving.fingerprint(1, other) != saving.fingerprint(2, network)


def test_another_weight_is_another_fingerprint():
    network = torch.nn.Linear(3, 2)
    before = saving.fingerprint({}, network)
    network.bias.data[0] += 1e-7
    assert saving.fingerprint({}, network) != before


def test_what_is_missing_or_does_not_belong_together_is_named(tmp_path):
    def read(folder, shape):
        with saving.reading(folder, "it.json", "network") as config:
            network = torch.nn.Linear(config["inputs"], shape)
            network.load_state_dict(saving.weights(folder))

    with pytest.raises(InputError, match="not a saved network"):
        read(tmp_path, 2)
    folder = saving.write(tmp_path, "it.json", {"inputs": 3}, torch.nn.Linear(3, 2))
    with pytest.raises(InputError, match=r"weights and it\.json do not belong together"):
        read(folder, 5)
    (folder / "weights.safetensors").write_bytes(b"no weights")
    with pytest.raises(InputError, match="not a saved network"):
        read(folder, 2)
    (folder / "it.json").write_text("[]")
    with pytest.raises(InputError, match="not a saved network"):
        read(folder, 2)


def test_regression_an_interrupted_overwrite_is_no_model(tmp_path, monkeypatch):
    """The old weights were read under the new configuration."""
    saving.write(tmp_path, "it.json", {"inputs": 3}, torch.nn.Linear(3, 2))

    def killed(path, tensors):
        raise KeyboardInterrupt

    monkeypatch.setattr(saving, "write_tensors", killed)
    with pytest.raises(KeyboardInterrupt):
        saving.write(tmp_path, "it.json", {"inputs": 3}, torch.nn.Linear(3, 2))
    with pytest.raises(InputError, match="not a saved network"), saving.reading(tmp_path, "it.json", "network"):
        pass
