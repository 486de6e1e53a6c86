"""Many who ask at one moment for what is sealed under a passphrase: each gets it."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from stockade.v1 import secret_pb2
from tests.attacks import certificates
from tests.attacks.certificates import Presented
from tests.running import RunningDaemon

SECONDS = 90
BACK_UP = "/stockade.v1.SecretService/BackUpVault"


def test_backups_at_once_do_not_wait_for_each_other_for_ever(shared_daemon: RunningDaemon) -> None:
    """Derivations of a key that run side by side would, within the library that makes them."""
    request = secret_pb2.BackUpVaultRequest(passphrase=b"correct horse battery staple")
    with (
        certificates.channel(shared_daemon, Presented.of(shared_daemon.home)) as opened,
        ThreadPoolExecutor(4) as threads,
    ):
        channel: Any = opened

        def back_up(_: int) -> int:
            answers = channel.unary_stream(BACK_UP)(request.SerializeToString(), timeout=SECONDS)
            return sum(len(answer) for answer in answers)

        assert all(threads.map(back_up, range(4)))
