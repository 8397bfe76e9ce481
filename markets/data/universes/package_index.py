"""Where a file of a package can be had: the simple index of the package registry (PEP 503 and PEP 691).

Only files are fetched. Nothing is installed, built or run: a source distribution is read as the archive that it is.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin, urlsplit, urlunsplit
from urllib.request import url2pathname

from markets.data.universes.pip_settings import PipSettings

KINDS = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"


class Unavailable(Exception):
    """A file cannot be had; the message says where it was looked for, and why it was not found, in a line."""


class Connection:
    """Requests by HTTP, with pip's proxy, certificates and patience.

    Parameters
    ----------
    settings : PipSettings
    """

    def __init__(self, settings: PipSettings):
        import requests  # 0.1 s, and only what fetches needs it

        self.settings = settings
        self._session = requests.Session()
        if settings.proxy:
            self._session.proxies = {"http": settings.proxy, "https": settings.proxy}

    def get(self, address: str, headers: dict[str, str], stream: bool = False) -> Any:
        """The answer, which may be one of an error; raises what `requests` raises."""
        trusted = self.settings.certificate or None  # handed over here, or the environment's would go before it
        return self._session.get(address, headers=headers, stream=stream, timeout=self.settings.timeout, verify=trusted)


def find(project: str, filename: str, connection: Connection) -> str:
    """The address of a file of a package, in pip's folders or else its indexes.

    Raises
    ------
    Unavailable
        When no place has it.
    """
    settings = connection.settings
    for folder in filter(None, map(local, settings.links)):
        if (folder / filename).is_file():
            return (folder / filename).resolve().as_uri()
    page = re.sub(r"[-_.]+", "-", project).lower()  # the normal form of a name (PEP 503)
    reasons = []
    for index in settings.indexes:
        try:
            for link in _links(f"{index.rstrip('/')}/{page}/", connection):
                address = urldefrag(link).url
                if unquote(urlsplit(address).path).rpartition("/")[2] == filename:
                    return address
            reasons.append(f"{shown(index)} has no {filename}")
        except Unavailable as error:
            reasons.append(f"{shown(index)} {error}")
    raise Unavailable("; ".join(reasons) or f"pip's settings name no index, and no folder of them holds {filename}")


def local(address: str) -> Path | None:
    """The path that a ``file://`` address or a plain path names; None for other addresses."""
    parts = urlsplit(address)
    if parts.scheme == "file":
        return Path(url2pathname(parts.path))
    return Path(address).expanduser() if len(parts.scheme) < 2 else None  # a single letter is a drive


def shown(address: str) -> str:
    """An address without a user's name and password."""
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def reason(error: BaseException) -> str:
    """The innermost cause of an error of the network, in a few words."""
    while isinstance(inner := error.__cause__ or error.__context__, BaseException):
        error = inner
    text = re.sub(r"^.*object at 0x\w+>: |^\[Errno -?\d+\] ", "", str(error).strip() or type(error).__name__)
    return text.splitlines()[0].rstrip(".")[:120]


def _links(page: str, connection: Connection) -> list[str]:
    """The addresses of the files that a page of an index lists."""
    import requests

    folder = local(page)
    if folder is not None:
        try:
            return _links_of((folder / "index.html").read_text(), (folder / "index.html").resolve().as_uri())
        except OSError:
            raise Unavailable("has no such package") from None
    try:
        answer = connection.get(page, {"Accept": KINDS})
        if answer.status_code == 404:
            raise Unavailable("has no such package")
        if not answer.ok:
            raise Unavailable(f"answers {answer.status_code} {answer.reason}")
        if "json" in answer.headers.get("Content-Type", ""):
            return [urljoin(answer.url, file["url"]) for file in answer.json()["files"]]
        return _links_of(answer.text, answer.url)
    except (requests.RequestException, KeyError, TypeError) as error:
        raise Unavailable(f"does not answer ({reason(error)})") from None


def _links_of(page: str, base: str) -> list[str]:
    """The addresses that a page of HTML links to."""
    found: list[str] = []

    class Links(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            target = dict(attrs).get("href")
            if tag == "a" and target:
                found.append(urljoin(base, target))

    Links().feed(page)
    return found
