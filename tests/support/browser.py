"""A page in a real browser, at a width, with what a script finds there, its errors and its requests."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(
    BROWSER is None and not os.environ.get("CI"), reason="needs chromium (.ci/run installs it)"
)
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync", "--hide-scrollbars",
         "--disable-background-networking", "--disable-component-update", "--virtual-time-budget=30000"]  # fmt: skip

# Heads the page: errors and warnings are counted from the start, and nothing may be asked for over a network.
_BEFORE = """<meta http-equiv="Content-Security-Policy" content="default-src 'unsafe-inline' 'unsafe-eval' data: blob:">
<script>window.wrong = [];
addEventListener("error", (e) => wrong.push(String(e.message)));
addEventListener("unhandledrejection", (e) => wrong.push(String(e.reason)));
addEventListener("securitypolicyviolation", (e) => wrong.push(`asked for ${e.blockedURI}`));
for (const level of ["error", "warn"]) console[level] = (...words) => wrong.push(words.join(" "));
</script>"""
# Ends it: what the probe returns goes to the page around, since an iframe can be as narrow as a phone, and a window cannot.
_AFTER = """<script>addEventListener("load", async () => {
let found; try { found = await (async () => { PROBE })(); } catch (error) { wrong.push(String(error)); }
const seen = { found, wrong, width: innerWidth, scrolls: document.documentElement.scrollWidth };
parent.postMessage(JSON.stringify(seen), "*"); });</script>"""


def visit(page: Path, folder: Path, probe: str, width: int = 1250, flags: tuple[str, ...] = ()) -> dict:
    """Open a page at `width` pixels and run a script in it.

    Returns
    -------
    dict
        ``found``, what the script returns; ``wrong``, the page's errors, warnings and requests; ``width`` of the window and
        ``scrolls``, the width of the document.
    """
    assert BROWSER, "CI must have a browser"
    text = page.read_text(encoding="utf-8")
    at = text.index("<meta charset=utf-8>") + len("<meta charset=utf-8>")
    copy, around = folder / "page.html", folder / "around.html"
    copy.write_text(text[:at] + _BEFORE + text[at:] + _AFTER.replace("PROBE", probe), encoding="utf-8")
    around.write_text(
        f"<!doctype html><iframe src='{copy.as_uri()}' style='width:{width}px;height:900px;border:0'></iframe><pre></pre>"
        "<script>onmessage = (e) => { document.querySelector('pre').textContent = e.data; };</script>"
    )
    command = [BROWSER, *FLAGS, *flags, f"--user-data-dir={folder}/profile", "--window-size=1400,1000", "--dump-dom"]
    done = subprocess.run([*command, around.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    message = re.search(r"<pre>(.*)</pre>", done.stdout, re.DOTALL)
    answer = "" if message is None else message[1]
    assert answer, f"the page did not answer: {done.stderr[-2000:]}"
    return json.loads(answer.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
