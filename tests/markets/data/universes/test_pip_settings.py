import os
import subprocess
import sys

import pytest

from markets.data.universes import pip_settings as module
from markets.data.universes.pip_settings import PYPI, PipSettings, pip_settings


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    """No variable of pip's, and no file of its settings but the one that a test names."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)  # which makes pip read no file at all


def test_without_settings_it_is_pypi():
    assert pip_settings() == PipSettings(indexes=(PYPI,))


def test_the_environment_goes_before_the_files_and_download_before_global(tmp_path, monkeypatch):
    written = tmp_path / "pip.conf"
    written.write_text(
        "[global]\nindex-url = https://mirror.example/simple\ncert = /etc/bundle.pem\ntimeout = 7\nproxy = http://proxy:1\n"
        "[download]\nproxy = http://other:2\nextra-index-url =\n    https://one.example/simple\n    https://two.example/simple\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(written))
    found = pip_settings()
    assert found.indexes == (
        "https://mirror.example/simple",
        "https://one.example/simple",
        "https://two.example/simple",
    )
    assert (found.certificate, found.proxy, found.timeout) == ("/etc/bundle.pem", "http://other:2", 7.0)
    monkeypatch.setenv("PIP_INDEX_URL", "https://nearer.example/simple/")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("PIP_DEFAULT_TIMEOUT", "180")
    found = pip_settings()
    assert found.indexes == ("https://nearer.example/simple/",)
    assert (found.certificate, found.timeout) == ("/etc/bundle.pem", 180.0)


def test_without_an_index_there_are_the_folders(monkeypatch):
    monkeypatch.setattr(module, "_from_files", dict)
    monkeypatch.setenv("PIP_FIND_LINKS", "/wheels /more")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://one.example/simple")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    found = pip_settings()
    assert (found.indexes, found.links) == ((), ("/wheels", "/more"))


@pytest.mark.parametrize("wrong", [FileNotFoundError(), subprocess.CalledProcessError(1, "pip")])
def test_where_pip_is_not_installed_the_environment_alone_says_it(wrong, monkeypatch):
    def absent(command, **_):
        assert command[:3] == [sys.executable, "-m", "pip"]
        raise wrong

    monkeypatch.setattr(module.subprocess, "run", absent)
    assert pip_settings() == PipSettings()
    monkeypatch.setenv("PIP_INDEX_URL", "https://mirror.example/simple")
    monkeypatch.setenv("PIP_TIMEOUT", "soon")
    assert pip_settings() == PipSettings(indexes=("https://mirror.example/simple",))
