import re

import backtests.provenance
from backtests.provenance import PACKAGES, git_commit, package_versions


def test_the_commit_is_that_of_the_code_and_marks_changes():
    assert re.fullmatch(r"[0-9a-f]{40}\+?|unknown", git_commit())


def test_outside_a_checkout_the_commit_is_unknown(tmp_path, monkeypatch):
    monkeypatch.setattr(backtests.provenance, "__file__", str(tmp_path / "provenance.py"))
    assert git_commit() == "unknown"


def test_a_package_that_is_missing_is_said_to_be(monkeypatch):
    assert set(package_versions()) == set(PACKAGES)
    monkeypatch.setattr(backtests.provenance, "PACKAGES", ("no-such-package",))
    assert package_versions() == {"no-such-package": "not installed"}
