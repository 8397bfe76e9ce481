"""What the tests of commands share."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def certificates(short_certificates):
    """Those of the versions that commands register are short."""
