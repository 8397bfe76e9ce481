"""Loading of bars from packaged data sets, fetched universes, files, folders and vendors."""

from markets.data.loading import load

__all__ = [
    "load",
]
