"""One authority for all tests; it is never changed by them."""

import pytest

from identity.authority import Authority
from tests.identity.making import DOMAIN, NOW


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority.create(DOMAIN, NOW)
