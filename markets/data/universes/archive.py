"""`Archive`: a pinned file of the package registry, fetched once into the cache, and read there from then on.

A file is fetched under another name and takes its place only when its SHA-256 is the pinned one. So what is in the cache is
whole, a fetch that was killed goes on where it stopped, and of two at once the second waits for the first.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from markets.common.errors import InputError
from markets.data import cache
from markets.data.universes.package_index import Connection, Unavailable, find, shown
from markets.data.universes.pip_settings import pip_settings
from markets.data.universes.transfer import complete


@dataclass(frozen=True)
class Archive:
    """A file of a release of a package.

    Attributes
    ----------
    project : str
        Name of the package.
    filename : str
        A wheel, or a source distribution, which is never built.
    size : int
        Bytes.
    sha256 : str
    """

    project: str
    filename: str
    size: int
    sha256: str

    @property
    def path(self) -> Path:
        """Where it is in the cache, once it is fetched."""
        return cache.root() / "universes" / self.filename

    def fetch(self, done: Callable[[float], None] = lambda fraction: None) -> Path:
        """Bring the file into the cache, unless it is there.

        Parameters
        ----------
        done : callable
            Called with the fraction of the file that is there, from 0 to 1.

        Raises
        ------
        InputError
            When the registry cannot be reached or does not have the file, or the file has another hash than it had.
        """
        from filelock import FileLock

        if self._whole():
            done(1.0)
            return self.path
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{self.path.parent}: cannot be made ({error.strerror}); set REGIMESHIFT_CACHE") from None
        with FileLock(self.path.with_name(f".{self.filename}.lock")):  # freed by the system if its holder is killed
            if not self._whole():  # another fetch may have brought it meanwhile
                part = self.path.with_name(f".{self.filename}.part")
                try:
                    self._transfer(part, done)
                except Unavailable as error:
                    raise InputError(
                        f"cannot fetch {self.filename}: {error}; check the connection, name a mirror with PIP_INDEX_URL, or "
                        "a folder that holds the file with PIP_FIND_LINKS"
                    ) from None
                part.replace(self.path)
        done(1.0)
        return self.path

    def _whole(self) -> bool:
        return self.path.is_file() and _sha256(self.path) == self.sha256

    def _transfer(self, part: Path, done: Callable[[float], None]) -> None:
        """Complete `part`, from the byte where it ends; at the end its hash is the pinned one."""
        connection = Connection(pip_settings())
        address = find(self.project, self.filename, connection)
        resumed = part.exists()
        complete(part, address, self.size, connection, done)
        if resumed and _sha256(part) != self.sha256:  # what was there may be of something else
            part.unlink()
            complete(part, address, self.size, connection, done)
        if (found := _sha256(part)) != self.sha256:
            part.unlink()
            raise InputError(
                f"{self.filename} at {shown(address)} has changed: its SHA-256 is {found}, but {self.sha256} was pinned; it "
                "is refused. Try another index, or a later regimeshift"
            )

    def member(self, name: str, universe: str) -> bytes:
        """Content of one file of the archive, in the cache.

        Parameters
        ----------
        name : str
            Its path inside the archive.
        universe : str
            The set that it is read for, for messages.

        Raises
        ------
        InputError
            When the archive is not in the cache, or is not what it was.
        """
        if not self.path.is_file():
            raise InputError(f"{universe} is not in the cache yet: regimeshift data fetch {universe}")
        content = self.path.read_bytes()
        if (found := hashlib.sha256(content).hexdigest()) != self.sha256:
            raise InputError(
                f"{self.path} has changed: its SHA-256 is {found}, but {self.sha256} was pinned; fetch it again: regimeshift "
                f"data fetch {universe}"
            )
        if self.filename.endswith(".whl"):
            with zipfile.ZipFile(io.BytesIO(content)) as wheel:
                return wheel.read(name)
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as source:
            file = source.extractfile(f"{self.filename.removesuffix('.tar.gz')}/{name}")
            assert file is not None, "the hash is that of an archive with this file"
            return file.read()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
