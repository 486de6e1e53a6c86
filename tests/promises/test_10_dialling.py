"""Promise 10: the daemon dials nobody. Every connect of every process of it is looked at."""

import ipaddress
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import tests.running
from tests.conftest import config_with
from tests.promises.acting import ALONE, apply, run
from tests.running import RunningDaemon, finished, running

STRACE = shutil.which("strace")
CALLS = "connect,sendto,sendmsg,sendmmsg"
_ADDRESS = re.compile(r'inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"')
_FAMILY = re.compile(r"sa_family=(AF_[A-Z0-9]+)")


# strace is attached from aside before the daemon begins; it must not hold on to the descriptor by
# whose closing the daemon says that it is ready.
WRAPPER = """\
#!/bin/bash
if [ "$1" = serve ]; then
    eval "{strace} -f -qq -s 0 -o {trace} -e trace={calls} -p $$ ${{@: -1}}>&- &"
    until grep -q "TracerPid:.*[1-9]" /proc/$$/status; do
        kill -0 $! || exit 70
        sleep 0.02
    done
fi
exec {stockaded} "$@"
"""


def may_attach() -> bool:
    """Whether a process may be traced that is not a child of the tracer."""
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    return os.geteuid() == 0 or not scope.exists() or scope.read_text().strip() == "0"


pytestmark = pytest.mark.skipif(
    STRACE is None or not may_attach(),
    reason="needs strace (apt-get install strace), and root or ptrace_scope 0",
)


@dataclass
class Traced:
    """A daemon under strace, and what it said to the network."""

    daemon: RunningDaemon
    trace: Path
    lines: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def traced(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    """The daemon's whole life, from its start over calls of every kind to its end."""
    folder = tmp_path_factory.mktemp("traced")
    trace, wrapper = folder / "trace", folder / "stockaded"
    wrapper.write_text(
        WRAPPER.format(strace=STRACE, trace=trace, calls=CALLS, stockaded=tests.running.STOCKADED)
    )
    wrapper.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tests.running, "STOCKADED", wrapper)
        with running(config_with(workspace)) as daemon:
            with daemon.client() as client:
                apply(client, ALONE)
                assert finished(run(client, "run_shell", command="true")).reason == "SUCCEEDED"
                client.put_secret("secret://global/x", b"value")
                list(client.export_ledger())
                client.checkpoint_ledger()
            daemon.pair_device("other", "callers")
            daemon.stop()
            yield Traced(daemon, trace, trace.read_text().splitlines())


def of_probe(line: str) -> bool:
    """The probe in a sandbox tries an address that is nobody's (RFC 5737), and must not get out."""
    return '"192.0.2.1"' in line and "= -1 ENETUNREACH" in line


def test_it_connects_to_nothing_but_this_machine(traced: Traced) -> None:
    """No address outside loopback, in start, call, pairing, export or end; no telemetry."""
    outside = []
    for line in traced.lines:
        for match in _ADDRESS.finditer(line):
            address = ipaddress.ip_address(match[1] or match[2])
            if not (address.is_loopback or address.is_unspecified or of_probe(line)):
                outside.append(line)
    assert not outside


def test_it_asks_no_resolver(traced: Traced) -> None:
    """No name is looked up: port 53 is never spoken to, on no address."""
    assert not [line for line in traced.lines if re.search(r"port=htons\(53\)", line)]


def test_the_families_it_speaks_are_known(traced: Traced) -> None:
    """Unix sockets, loopback and the kernel: nothing else was spoken to."""
    families = {match[1] for line in traced.lines for match in _FAMILY.finditer(line)}
    assert families <= {"AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK", "AF_UNSPEC"}


def test_the_trace_saw_the_daemon(traced: Traced) -> None:
    """The trace is of the daemon at work, so that an empty one proves nothing here."""
    assert traced.lines
    assert "daemon.ready" in traced.daemon.log
    assert any("sendmsg" in line for line in traced.lines)
    assert any(_ADDRESS.search(line) for line in traced.lines)
    assert any(_FAMILY.search(line) for line in traced.lines)
