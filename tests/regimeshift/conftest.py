"""What the tests of commands share."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def short_certificates():
    """What commands register is certified on a few rows and histories; test_certificate.py has more of them."""
    from backtests import certificate

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(certificate, "ROWS", 5)
        patch.setattr(certificate, "FUZZED", 5)
        yield
