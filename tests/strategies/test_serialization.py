import errno
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

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


def read(folder):
    with saving.reading(folder, "it.json", "network") as config:
        network = torch.nn.Linear(config["inputs"], 2)
        network.load_state_dict(saving.weights(folder))
    return network


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("stop", ["write_tensors", "write_config"])
def test_regression_a_full_disk_leaves_the_old_model(tmp_path, monkeypatch, stop):
    """The old configuration stood beside new weights, which loads as neither."""
    old = torch.nn.Linear(3, 2)
    saving.write(tmp_path, "it.json", {"inputs": 3}, old)

    def full(path, *what):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(saving, stop, full)
    with pytest.raises(
        InputError, match=r"cannot be saved \(No space left on device\); what was there before is unchanged"
    ):
        saving.write(tmp_path, "it.json", {"inputs": 3}, torch.nn.Linear(3, 2))
    assert torch.equal(read(tmp_path).weight, old.weight)
    assert files(tmp_path) == ["it.json", "weights.safetensors"]


@pytest.mark.process
def test_regression_a_save_killed_at_any_step_leaves_the_old_or_the_new_model(tmp_path):
    """Killed after each of the calls that change the disk, in a process of its own."""
    old, new = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    code = (
        "import os, pathlib, sys, torch\n"
        "from strategies import serialization as saving\n"
        "network = torch.nn.Linear(3, 2)\n"
        "network.load_state_dict(saving.weights(sys.argv[1]))\n"
        "done = 0\n"
        "def counted(call):\n"
        "    def counting(*args, **options):\n"
        "        global done\n"
        "        found = call(*args, **options)\n"
        "        done += 1\n"
        "        if done == int(sys.argv[3]):\n"
        "            os._exit(9)\n"
        "        return found\n"
        "    return counting\n"
        "for name in ('mkdir', 'write_bytes', 'write_text', 'replace', 'rename'):\n"
        "    setattr(pathlib.Path, name, counted(getattr(pathlib.Path, name)))\n"
        "for at in range(1, 100):\n"
        "    if os.fork() == 0:\n"
        "        sys.argv[3] = str(at)\n"
        "        saving.write(f'{sys.argv[2]}/{at}', 'it.json', {'inputs': 3}, network)\n"
        "        os._exit(0)\n"
        "    if os.wait()[1] == 0:\n"
        "        break\n"
        "print(at)\n"
    )
    source = saving.write(tmp_path / "new", "it.json", {"inputs": 3}, new)
    for at in range(1, 100):
        saving.write(tmp_path / "all" / str(at), "it.json", {"inputs": 3}, old)
    command = [sys.executable, "-c", code, str(source), str(tmp_path / "all"), "0"]
    steps = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    found = [bool(torch.equal(read(tmp_path / "all" / str(at)).weight, new.weight)) for at in range(1, steps + 1)]
    assert steps > 8
    assert found == sorted(found)  # the old one up to some step, the new one from then on
    assert found[0] is False
    assert found[-1] is True
    saving.write(tmp_path / "all" / "1", "it.json", {"inputs": 3}, new)
    assert files(tmp_path / "all" / "1") == ["it.json", "weights.safetensors"]  # what was left half-written is gone


@pytest.mark.parametrize("writers", [1, 2])
def test_regression_a_reader_beside_writers_reads_one_model(tmp_path, writers):
    """It read the old configuration with the new weights."""
    saves = [torch.nn.Linear(3, 2) for _ in range(4)]
    for k, network in enumerate(saves):
        network.weight.data.fill_(k)

    def write(first):
        for i in range(25):
            k = (first + i) % 4
            saving.write(tmp_path / "m", "it.json", {"which": k}, saves[k])

    saving.write(tmp_path / "m", "it.json", {"which": 0}, saves[0])
    with ThreadPoolExecutor(writers) as pool:
        writing = [pool.submit(write, k) for k in range(writers)]
        reads = 0
        while reads < 50 or not all(save.done() for save in writing):
            with saving.reading(tmp_path / "m", "it.json", "network") as config:
                assert (saving.weights(tmp_path / "m")["weight"] == config["which"]).all()
            reads += 1
        for save in writing:
            save.result()
    assert files(tmp_path / "m") == ["it.json", "weights.safetensors"]


def test_a_folder_that_cannot_be_written_to_is_read(tmp_path, monkeypatch):
    folder = saving.write(tmp_path / "m", "it.json", {"inputs": 3}, torch.nn.Linear(3, 2))
    folder.chmod(0o555)
    read(folder)
    monkeypatch.setattr(saving.fcntl, "flock", mock.Mock(side_effect=OSError(errno.ENOLCK, "No locks available")))
    read(folder)
    folder.chmod(0o755)


def test_what_else_is_in_the_folder_stays(tmp_path):
    (tmp_path / "checkpoint").write_text("mine")
    saving.write(tmp_path, "it.json", {"inputs": 3}, torch.nn.Linear(3, 2))
    saving.write(tmp_path, "it.json", {"inputs": 3}, torch.nn.Linear(3, 2))
    assert files(tmp_path) == ["checkpoint", "it.json", "weights.safetensors"]
