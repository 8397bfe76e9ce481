"""Where pip would look for a package on this machine, and through what: the same index, mirror, proxy and certificates.

Read as pip does: a variable of the environment (``PIP_INDEX_URL``) goes before the section ``[download]`` of pip's files, and
that before ``[global]`` (https://pip.pypa.io/en/stable/topics/configuration/).
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from dataclasses import dataclass

PYPI = "https://pypi.org/simple"
TIMEOUT = 15.0  # seconds, pip's default


@dataclass(frozen=True)
class PipSettings:
    """What of pip's configuration concerns the fetching of a file.

    Attributes
    ----------
    indexes : tuple of str
        Addresses of simple indexes, the first choice first; none with pip's ``no-index``.
    links : tuple of str
        Local folders of archives (``find-links``).
    certificate : str
        File of certificates to trust; empty for the default.
    proxy : str
        Empty for what ``HTTPS_PROXY`` and its kin say.
    timeout : float
        Seconds without an answer after which an index counts as unreachable.
    """

    indexes: tuple[str, ...] = (PYPI,)
    links: tuple[str, ...] = ()
    certificate: str = ""
    proxy: str = ""
    timeout: float = TIMEOUT


def pip_settings() -> PipSettings:
    """The settings in force on this machine; PyPI and no proxy where pip has none, or is not installed."""
    found = _from_files() | _from_environment()

    def one(name: str) -> str:
        return found.get(name, "").strip()

    indexes = () if one("no-index").lower() in ("1", "true", "yes", "on") else (one("index-url") or PYPI,)
    return PipSettings(
        indexes=tuple(dict.fromkeys((*indexes, *(found.get("extra-index-url", "").split() if indexes else ())))),
        links=tuple(found.get("find-links", "").split()),
        certificate=one("cert"),
        proxy=one("proxy"),
        timeout=_seconds(one("timeout")),
    )


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return TIMEOUT


def _from_environment() -> dict[str, str]:
    given = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    return {_plain(name.removeprefix("PIP_").lower().replace("_", "-")): value for name, value in given.items()}


def _from_files() -> dict[str, str]:
    """What pip's configuration files hold, asked of pip itself, which knows where they are."""
    command = [sys.executable, "-m", "pip", "config", "list", "--disable-pip-version-check"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):  # no pip here, as in an environment of uv
        return {}
    found: dict[str, dict[str, str]] = {"global": {}, "download": {}}
    for line in done.stdout.splitlines():
        if match := re.fullmatch(r"(global|download)\.([\w-]+)=(.*)", line):
            section, name, value = match.groups()
            found[section][_plain(name)] = ast.literal_eval(value)
    return found["global"] | found["download"]


def _plain(name: str) -> str:
    """The name of a setting, of those that have two."""
    return name.removeprefix("default-")
