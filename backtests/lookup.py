"""What MLflow's own SQLite database says of a registered version, read without MLflow, whose import takes seconds.

Only to find a version and its files: whatever is not as expected is left to MLflow.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import warnings
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

ROOT = "mlruns"


class Found(NamedTuple):
    """A registered version: its number, its tags, and the folder of its files."""

    number: int
    tags: dict[str, str]
    folder: Path


def address_of(root: str | Path) -> str:
    """Tracking URI for `root`; that of ``MLFLOW_TRACKING_URI`` goes before it, with a warning if `root` was chosen."""
    ours = f"sqlite:///{Path(root).resolve()}/mlflow.db"
    address = os.environ.get("MLFLOW_TRACKING_URI") or ours
    if address != ours and str(root) != ROOT:
        warnings.warn(f"MLFLOW_TRACKING_URI is {address}, so root={str(root)!r} is not used", stacklevel=3)
    return address


def find(model: str, number: str, alias: str, root: str | Path) -> Found | None:
    """The version `number` of `model`, or the one with the `alias` if `number` is empty.

    Parameters
    ----------
    model, number, alias : str
    root : path
        MLflow's folder, unless ``MLFLOW_TRACKING_URI`` is set.

    Returns
    -------
    Found or None
        None if there is no such version, or MLflow has to be asked: its store is a server, or its tables or places are others.
    """
    address = os.environ.get("MLFLOW_REGISTRY_URI") or address_of(root)
    file = Path(address.removeprefix("sqlite:///"))
    if not address.startswith("sqlite:///") or not file.is_file():
        return None
    try:
        with contextlib.closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as database:
            if not number:
                query = "SELECT version FROM registered_model_aliases WHERE name = ? AND alias = ?"
                number = str(database.execute(query, (model, alias)).fetchone()[0])
            query = "SELECT storage_location FROM model_versions WHERE name = ? AND version = ?"
            (place,) = database.execute(query, (model, int(number))).fetchone()
            query = "SELECT key, value FROM model_version_tags WHERE name = ? AND version = ?"
            tags = dict(database.execute(query, (model, int(number))).fetchall())
    except (sqlite3.Error, TypeError, ValueError):  # TypeError: there is no such row
        return None
    folder = Path(unquote(urlsplit(place or "").path))
    return Found(int(number), tags, folder) if (folder / "MLmodel").is_file() else None
