"""How bars get in: packaged sets, files, folders and vendors."""

from markets.data.loading import load

__all__ = [
    "load",
]
