"""Networks on disk: a JSON file with the configuration, and the weights as safetensors. Nothing is pickled."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from markets import InputError
from markets.common.files import replacing
from markets.common.formats import FORMAT, check_format

WEIGHTS = "weights.safetensors"


def fingerprint(config: Any, module: nn.Module) -> str:
    """SHA-256 of the configuration and the weights, to tell models of the same name apart."""
    digest = hashlib.sha256(json.dumps(config).encode())
    for name, weight in sorted(module.state_dict().items()):
        digest.update(name.encode() + weight.detach().cpu().numpy().tobytes())
    return digest.hexdigest()


def write(folder: str | Path, file: str, config: dict[str, Any], module: nn.Module) -> Path:
    """Write `config` and the format version to `file`, and the weights of `module` to the same folder."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file).unlink(missing_ok=True)  # an interrupted write leaves no model, rather than half of two
    write_tensors(folder / WEIGHTS, module.state_dict())
    write_config(folder / file, config)
    return folder


def write_config(path: Path, config: dict[str, Any]) -> None:
    """Write `config` as JSON, with the format version."""
    with replacing(path) as beside:
        beside.write_text(json.dumps({"format": FORMAT, **config}, indent=1))


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write named tensors as safetensors, with the usual file permissions.

    safetensors' ``save_file`` makes the file readable by its owner only, which breaks a server that runs as another user.
    """
    with replacing(path) as beside:
        beside.write_bytes(save({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}))


def weights(folder: str | Path) -> dict[str, torch.Tensor]:
    """Read the weights written by `write`."""
    return load_file(Path(folder) / WEIGHTS)


@contextlib.contextmanager
def reading(folder: str | Path, file: str, what: str) -> Iterator[dict[str, Any]]:
    """Context manager that yields the configuration in `file`, for a block that rebuilds the network and loads its `weights`.

    Parameters
    ----------
    folder : str or Path
    file : str
        Name of the JSON file in `folder`.
    what : str
        What is being read, for error messages.

    Raises
    ------
    InputError
        When files are missing or inconsistent with each other; errors raised in the block are converted too.
    """
    try:
        # The initial weights are overwritten, so drawing them must not advance the caller's random state.
        with torch.random.fork_rng(devices=[]):
            config = json.loads((Path(folder) / file).read_text())
            check_format(config, Path(folder) / file, "train it, or adapt it, again")
            yield config
    except InputError:
        raise
    except (OSError, KeyError, TypeError, AttributeError, json.JSONDecodeError, SafetensorError) as error:
        raise InputError(f"{folder}: not a saved {what} ({error})") from None
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise InputError(f"{folder}: weights and {file} do not belong together ({reason})") from None
