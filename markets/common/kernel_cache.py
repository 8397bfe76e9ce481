"""Where numba keeps compiled kernels. Imported before all kernels.

With ``cache=True`` numba looks for a folder that it can write to: ``NUMBA_CACHE_DIR``, the ``__pycache__`` beside the code, then
the user's cache folder. Where there is none, as in a read-only container without a home, it raises at import. Kernels are then
compiled anew in each process instead, which a note says.
"""

from __future__ import annotations

import warnings

from numba import njit
from numba.core.dispatcher import Dispatcher


def _probe() -> None:
    """A function to cache."""


def compile_without_cache_if_needed() -> None:
    """Let ``cache=True`` do nothing in this process if numba can write its cache nowhere. It has no setting for that.

    Warns
    -----
    UserWarning
        When kernels will be compiled in each process.
    """
    try:
        njit(cache=True)(_probe)
    except RuntimeError as error:
        if "cannot cache" not in str(error):
            raise
        Dispatcher.enable_caching = lambda self: None  # type: ignore[method-assign]
        warnings.warn(
            "no folder for compiled kernels can be written to, so each process compiles its kernels again, yours too, which "
            "can take a minute; set NUMBA_CACHE_DIR to a folder that can be written to",
            stacklevel=2,
        )


compile_without_cache_if_needed()
