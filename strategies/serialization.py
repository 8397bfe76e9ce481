"""A network on disk: a JSON file that says what it is, and its weights as safetensors. Nothing is pickled."""

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
    """SHA-256 of what it is and of its weights: two of one name are not one model."""
    digest = hashlib.sha256(json.dumps(config).encode())
    for name, weight in sorted(module.state_dict().items()):
        digest.update(name.encode() + weight.detach().cpu().numpy().tobytes())
    return digest.hexdigest()


def write(folder: str | Path, file: str, config: dict[str, Any], module: nn.Module) -> Path:
    """Write `config` to `file`, with the format, and the weights beside it."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_config(folder / file, config)
    write_tensors(folder / WEIGHTS, module.state_dict())
    return folder


def write_config(path: Path, config: dict[str, Any]) -> None:
    """Write JSON that says in which format it is."""
    with replacing(path) as beside:
        beside.write_text(json.dumps({"format": FORMAT, **config}, indent=1))


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Tensors by name; whoever may read the folder may read them (``save_file`` lets nobody else: a server is another user)."""
    with replacing(path) as beside:
        beside.write_bytes(save({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}))


def weights(folder: str | Path) -> dict[str, torch.Tensor]:
    """The weights that `write` wrote."""
    return load_file(Path(folder) / WEIGHTS)


@contextlib.contextmanager
def reading(folder: str | Path, file: str, what: str) -> Iterator[dict[str, Any]]:
    """What `file` says, for a block that makes the network anew and gives it its `weights`.

    Raises
    ------
    InputError
        When the files are missing or do not belong together.
    """
    try:
        with torch.random.fork_rng(devices=[]):  # what is drawn at first is overwritten, so it must not cost the caller
            config = json.loads((Path(folder) / file).read_text())
            check_format(config, Path(folder) / file, f"save the {what} again with this one")
            yield config
    except InputError:
        raise
    except (OSError, KeyError, TypeError, AttributeError, json.JSONDecodeError, SafetensorError) as error:
        raise InputError(f"{folder}: not a saved {what} ({error})") from None
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise InputError(f"{folder}: weights and {file} do not belong together ({reason})") from None
