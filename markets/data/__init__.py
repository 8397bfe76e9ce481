"""Loading of bars from packaged data sets, files, folders and vendors."""

from markets.data.loading import load

__all__ = [
    "load",
]
