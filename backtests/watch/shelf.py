"""`Shelf`: the strategies that a watch has adapted, by fingerprint, as files (`strategies.stored`); nothing is pickled."""

from __future__ import annotations

from pathlib import Path

from markets import InputError
from strategies import Strategy, stored


class Shelf:
    """Strategies in a folder, each in one that is called after its fingerprint.

    Parameters
    ----------
    folder : Path
        Created when the first is put there.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._loaded: dict[str, Strategy] = {}

    def __contains__(self, mark: str) -> bool:
        return (self.folder / mark / stored.FILE).exists()

    def put(self, strategy: Strategy) -> str:
        """Save a strategy, if it is not there yet, and return its fingerprint.

        Raises
        ------
        InputError
            When it cannot be rebuilt from files; the message says what of it, and why.
        """
        mark = stored.fingerprint(strategy)
        if mark not in self:  # written last, and all of the files at once
            stored.save(strategy, self.folder / mark)
        return mark

    def get(self, mark: str) -> Strategy:
        """The strategy of a fingerprint, as its files build it.

        Raises
        ------
        InputError
            When there is none, or its files were changed.
        """
        if mark not in self._loaded:
            found = stored.load(self.folder / mark)
            if stored.fingerprint(found) != mark:
                raise InputError(f"{self.folder / mark}: its files were changed since; restore them")
            self._loaded[mark] = found
        return self._loaded[mark]
