"""The contract of the stores of devices and certificates."""

from dataclasses import replace

import pytest
from sqlalchemy import Engine

from daemon.store import certificates, devices
from daemon.store.certificates import CertificateRow
from daemon.store.devices import DeviceRow, DeviceStatus
from daemon.store.engine import writing
from daemon.store.faults import StoreFault
from daemon.store.ids import DeviceId, Serial
from tests.daemon.store.conftest import EngineFactory
from tests.daemon.store.test_calls import race

ID = DeviceId("d1")


def row(device: str = "d1", created_ms: int = 1) -> DeviceRow:
    return DeviceRow(DeviceId(device), "laptop", "device", DeviceStatus.ACTIVE, created_ms)


def issued(serial: str, device: str = "d1", not_after: int = 100) -> CertificateRow:
    return CertificateRow(
        Serial(serial), DeviceId(device), b"spki", b"-----BEGIN", len(serial), not_after
    )


@pytest.fixture
def stored(engine: Engine) -> Engine:
    with writing(engine).begin() as connection:
        assert devices.add(connection, row())
    return engine


def test_devices_are_read_as_they_were_stored(stored: Engine) -> None:
    """Every field survives; the list is in the order of pairing."""
    with writing(stored).begin() as connection:
        devices.add(connection, row("d0", created_ms=2))
        assert devices.get(connection, ID) == row()
        assert devices.get(connection, DeviceId("none")) is None
        assert devices.list_all(connection) == (row(), row("d0", created_ms=2))


def test_a_revoked_device_stays_revoked(stored: Engine) -> None:
    """Revoking happens once; the id cannot be paired again, and gets no groups."""
    with writing(stored).begin() as connection:
        assert devices.set_groups(connection, ID, ["admins"])
        assert devices.revoke(connection, ID, now_ms=9)
        assert not devices.revoke(connection, ID, now_ms=10)
        assert not devices.add(connection, row())
        assert not devices.set_groups(connection, ID, ["others"])
        assert devices.groups(connection, ID) == ("admins",)
        expected = replace(row(), status=DeviceStatus.REVOKED, revoked_ms=9)
        assert devices.get(connection, ID) == expected
        assert not devices.revoke(connection, DeviceId("none"), now_ms=1)


@pytest.mark.usefixtures("stored")
def test_a_device_is_revoked_once(engines: EngineFactory) -> None:
    """Of several that revoke at once one is told that it did."""

    def attempt(engine: Engine) -> bool:
        with writing(engine).begin() as connection:
            return devices.revoke(connection, ID, now_ms=1)

    assert race(engines, attempt) == 1


def test_groups_are_replaced_whole(stored: Engine) -> None:
    """A device is in the groups set last and in no others; another device's are untouched."""
    with writing(stored).begin() as connection:
        devices.add(connection, row("d2"))
        assert devices.set_groups(connection, DeviceId("d2"), ["x"])
        for names in (["b", "a", "b"], ["c"], []):
            assert devices.set_groups(connection, ID, names)
            assert devices.groups(connection, ID) == tuple(sorted(set(names)))
        assert devices.groups(connection, DeviceId("d2")) == ("x",)
        assert not devices.set_groups(connection, DeviceId("none"), ["x"])


def test_certificates_are_read_as_they_were_stored(stored: Engine) -> None:
    """Every field survives; a serial number is given once; a device must exist."""
    with writing(stored).begin() as connection:
        assert certificates.add(connection, issued("0a"))
        assert not certificates.add(connection, issued("0a", not_after=999))
        assert certificates.add(connection, issued("0bcd"))
        assert certificates.get(connection, Serial("0a")) == issued("0a")
        assert certificates.get(connection, Serial("none")) is None
        assert certificates.of_device(connection, ID) == (issued("0a"), issued("0bcd"))
        with pytest.raises(StoreFault) as caught:
            certificates.add(connection, issued("0e", device="none"))
    assert caught.value.code == "STORE_CONFLICT"


def test_a_revoked_certificate_stays_revoked(stored: Engine) -> None:
    """The first revocation counts, and it is listed until the certificate would have ended."""
    with writing(stored).begin() as connection:
        for serial in ("0a", "0b", "0c"):
            certificates.add(connection, issued(serial))
        assert certificates.revoke(connection, Serial("0a"), now_ms=5)
        assert not certificates.revoke(connection, Serial("0a"), now_ms=6)
        assert not certificates.revoke(connection, Serial("none"), now_ms=6)
        found = certificates.get(connection, Serial("0a"))
        assert found is not None
        assert found.revoked_ms == 5
        assert certificates.revoked(connection, now_ms=50) == {"0a"}
        assert certificates.revoke_device(connection, ID, now_ms=7) == 2
        assert certificates.revoke_device(connection, ID, now_ms=8) == 0
        assert certificates.revoked(connection, now_ms=99) == {"0a", "0b", "0c"}
        assert certificates.revoked(connection, now_ms=100) == set()
