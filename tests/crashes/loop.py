"""One daemon, killed again and again: while it works, while its engine works, while it starts."""

import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from stockade.client import Client
from stockade.v1 import call_pb2
from tests.conftest import config_with
from tests.crashes.account import hold_to_account
from tests.crashes.load import Load, prepare
from tests.crashes.remains import files, remains
from tests.crashes.told import Told
from tests.promises.acting import until
from tests.running import CONFIG, WITH_ENGINES, RunningDaemon, make_directory, running

# "A second after restart"; the machine that runs this may be busy, and an engine takes its time.
SECOND, ENGINES_SECOND = 30, 300
# So long it may take until a daemon has looked at its engine and a call runs in it.
BOXED_SECONDS = 180
# Every so many kills, the daemon dies while it starts.
AT_START = 5
AGAIN = 3

RATES = (
    "[rates]\ncalls_per_second = 100000\ncalls_burst = 100000\n"
    "administration_per_second = 100000\nadministration_burst = 100000\n"
    "[approvals]\nlifetime_seconds = 86400\n"
)
RUNNING = (call_pb2.CALL_STATE_PERMITTED, call_pb2.CALL_STATE_RUNNING)


@dataclass
class Loop:
    """One daemon and its kills."""

    daemon: RunningDaemon
    work: Path
    chance: random.Random
    mark: str
    # The tiers beside the process tier that the load is in.
    boxes: tuple[str, ...] = ()
    told: Told = field(default_factory=Told)
    kills: int = 0

    def run(self, kills: int) -> None:
        """So many, and then the account."""
        daemon = self.daemon
        approver = daemon.pair_device("approver", "approvers")
        with daemon.client() as client:
            prepare(client, self.boxes)
            chain = client.status().ledger_chain
        known, seen = files(daemon), False
        boxed, there = set[str](), frozenset[str]()
        while self.kills < kills:
            self._check_left(chain, known, boxed, there)
            self._ask_again()
            load = Load(daemon, approver, self.told, self.mark, self.chance, self.boxes)
            load.start()
            self._let_it_work(load)
            boxed = containers(chain) if self.boxes else set()
            # The control: what is looked for afterwards is there to be found before.
            seen = seen or bool(remains(daemon, chain, self.mark, known))
            self._kill()
            there = files(daemon)
            load.join()
            if self.kills % AT_START == 1 and self.kills < kills:
                self._kill_while_it_starts()
            daemon.start()
        self._check_left(chain, known, boxed, there)
        assert seen
        with daemon.client() as client:
            assert until(lambda: not _under_way(client))
            hold_to_account(daemon, client, self.told, self.work)

    def _let_it_work(self, load: Load) -> None:
        """Until a moment that nobody chose; of three lives with boxes two get a call into one."""
        if self.boxes and self.chance.random() < 2 / 3:
            assert load.boxed.wait(BOXED_SECONDS), "no call ran in a container"
        time.sleep(self.chance.random() * 0.5)

    def _kill(self) -> None:
        self.daemon.stop(signal.SIGKILL)
        self.kills += 1

    def _check_left(
        self, chain: str, known: frozenset[str], boxed: set[str], there: frozenset[str]
    ) -> None:
        """Soon after the start nothing is there of runs of the life before."""
        left: list[str] = []

        def gone() -> bool:
            # By now it may have begun to look at its engine, which takes files of its own.
            among = there if self.boxes else None
            left[:] = remains(self.daemon, chain, self.mark, known, among)
            if boxed:
                left.extend(f"container {one}" for one in boxed & containers(chain))
            return not left

        assert until(gone, ENGINES_SECOND if self.boxes else SECOND), left

    def _ask_again(self) -> None:
        """Calls of former lives are sent again, with their ids: they have the ends they had."""
        begun = self.told.begun
        with self.daemon.client() as client:
            for call_id in self.chance.sample(sorted(begun), min(AGAIN, len(begun))):
                tool, arguments = begun[call_id]
                for event in client.call(tool, arguments, call_id=call_id, detach=True):
                    self.told.event(event)
                    if event.WhichOneof("event") in ("started", "awaiting_approval"):
                        break
            assert until(lambda: not _under_way(client))

    def _kill_while_it_starts(self) -> None:
        daemon = self.daemon

        def start() -> None:
            with suppress(AssertionError, ValueError):
                daemon.start()

        before = daemon.process
        starting = threading.Thread(target=start)
        starting.start()
        assert until(lambda: daemon.process is not before)
        time.sleep(self.chance.random() * 0.8)
        assert daemon.process is not None
        daemon.process.kill()
        starting.join()
        self._kill()


@contextmanager
def looping(chance: random.Random, mark: str, boxes: tuple[str, ...] = ()) -> Iterator[Loop]:
    """A daemon that serves, with a workspace in which each run leaves a line."""
    work = make_directory("stockade-crash-")
    work.chmod(0o777)
    temporary = make_directory("stockade-crash-tmp-")
    config = config_with(work) + RATES
    if boxes:
        config = config.replace(CONFIG, WITH_ENGINES)
    try:
        with running(config, TMPDIR=str(temporary)) as daemon:
            yield Loop(daemon, work, chance, mark, boxes)
    finally:
        for file in work.iterdir():
            file.unlink()
        work.rmdir()
        temporary.rmdir()


def _under_way(client: Client) -> bool:
    return any(one.state in RUNNING for one in client.list_calls(page_size=500).calls)


def containers(chain: str) -> set[str]:
    """The containers that bear the daemon's name, whether or not they run."""
    label = f"label=stockade.instance={chain}"
    command = ["docker", "ps", "--all", "--quiet", "--filter", label]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
