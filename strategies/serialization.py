"""Networks on disk: a JSON file with the configuration, and the weights as safetensors. Nothing is pickled.

The files of a model are replaced together. `replacing_files` has them written into a hidden folder, and one rename of that folder
to ``.saved`` decides: before it the model is the old one, after it the new one. The files are then moved to their places;
`settled` finishes that for a process that was killed meanwhile. The folder itself is locked (``flock``, which ends with the
process, leaves no file and needs no right to write): by the writer during the moves, and by readers, who share it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import threading
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
_SAVING, _SAVED = ".saving.", ".saved"  # being written; a complete set of files, on the way to their places


def fingerprint(config: Any, module: nn.Module) -> str:
    """SHA-256 of the configuration and the weights, to tell models of the same name apart."""
    digest = hashlib.sha256(json.dumps(config).encode())
    for name, weight in sorted(module.state_dict().items()):
        digest.update(name.encode() + weight.detach().cpu().numpy().tobytes())
    return digest.hexdigest()


@contextlib.contextmanager
def replacing_files(folder: str | Path) -> Iterator[Path]:
    """Context manager that yields an empty folder to write a model to, whose files replace those in `folder` all at once.

    Files of `folder` that are not written again stay. If the block raises, or the process is killed, `folder` holds the model
    that it held before, or the new one, and never a part of each.

    Parameters
    ----------
    folder : str or Path
        Created if needed.

    Raises
    ------
    InputError
        When the disk is full or the folder cannot be written to.
    """
    folder = Path(folder)
    if any(part.startswith(_SAVING) for part in folder.parts):  # a part of a model that is being saved
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    beside = folder / f"{_SAVING}{os.getpid()}-{threading.get_ident()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(f"{_SAVING}*"):  # by a process that was killed
            if not _alive(int(left.suffix[1:].partition("-")[0])):
                shutil.rmtree(left, ignore_errors=True)
        beside.mkdir()
        yield beside
        for path in (*beside.rglob("*"), beside):
            _flush(path)
        with _locked(folder, fcntl.LOCK_EX):
            _finish(folder)
            beside.rename(folder / _SAVED)
            _flush(folder)
            _finish(folder)
    except OSError as error:
        raise InputError(
            f"{folder}: the model cannot be saved ({error.strerror or error}); what was there before is unchanged"
        ) from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


@contextlib.contextmanager
def settled(folder: str | Path) -> Iterator[None]:
    """Context manager in which the files of a model are read: they are all of one save, and no other is put in their place.

    A save that was interrupted after its files were complete is finished first.

    Raises
    ------
    InputError
        When it cannot be, since the folder cannot be written to.
    """
    folder = Path(folder)
    if not folder.is_dir():
        yield  # whoever reads says what is missing
        return
    while True:
        with _locked(folder, fcntl.LOCK_SH):
            if not (folder / _SAVED).is_dir():
                yield
                return
        try:
            with _locked(folder, fcntl.LOCK_EX):
                _finish(folder)
        except OSError as error:
            raise InputError(
                f"{folder}: a save was interrupted, and cannot be finished ({error.strerror}); allow writing there once"
            ) from None


def _finish(folder: Path) -> None:
    """Move the files of a complete save to their places; the folder is locked by this thread alone."""
    saved = folder / _SAVED
    if not saved.is_dir():
        return
    for path in sorted(saved.rglob("*")):
        place = folder / path.relative_to(saved)
        if path.is_dir():
            place.mkdir(exist_ok=True)
        else:
            with contextlib.suppress(FileNotFoundError):  # moved by another one, where folders cannot be locked
                path.replace(place)
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(saved)


@contextlib.contextmanager
def _locked(folder: Path, how: int) -> Iterator[None]:
    """Hold a lock on `folder`, shared or exclusive; without effect on a file system that has no locks."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, how)
        yield
    finally:
        os.close(handle)


def _flush(path: Path) -> None:
    """Force a file or folder to disk, or a power cut could leave an empty one under a name that was already given."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def write(folder: str | Path, file: str, config: dict[str, Any], module: nn.Module) -> Path:
    """Save `config` and the format version as `file`, and the weights of `module`, to the same folder."""
    with replacing_files(folder) as beside:
        write_tensors(beside / WEIGHTS, module.state_dict())
        write_config(beside / file, config)
    return Path(folder)


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
        with settled(folder), torch.random.fork_rng(devices=[]):
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
