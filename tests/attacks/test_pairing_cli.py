"""Pairing as two people do it, each at a command line, against the running daemon."""

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stockade.cli.devices import qr_code
from stockade.home import Home
from stockade.pairing_code import parse_pairing_code
from tests.running import STOCKADE, RunningDaemon

SECONDS = 120


@dataclass(frozen=True)
class Terminal:
    """A command that runs, and what it says line by line."""

    process: "subprocess.Popen[str]"

    def line(self) -> str:
        """What it says next; empty once it has ended."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def event(self) -> dict[str, object]:
        """The same of a program's output."""
        found = json.loads(self.line())
        assert isinstance(found, dict)
        return found

    def rest(self) -> tuple[int, str]:
        """How it ended, and what it said until then."""
        out, err = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, out + err


@contextlib.contextmanager
def at(home: Home, *arguments: str, typed: str = "") -> Iterator[Terminal]:
    """Runs the command line of a home; it is ended at the latest when the context is."""
    process = subprocess.Popen(
        [STOCKADE, *arguments],
        env={**os.environ, "STOCKADE_HOME": str(home.config)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdin is not None
            process.stdin.write(typed)
            process.stdin.flush()
            yield Terminal(process)
        finally:
            if process.poll() is None:
                process.kill()


INVITE = ("devices", "invite", "--name", "phone", "--group", "approvers", "--json")


def command_line(terminal: Terminal) -> bytes:
    """What every user of the machine can read of it."""
    return Path(f"/proc/{terminal.process.pid}/cmdline").read_bytes()


def test_both_ends_show_the_same_words(shared_daemon: RunningDaemon, tmp_path: Path) -> None:
    """The inviter's screen and the device's: eight words of one key, and the yes is to them.

    The code is typed in capitals with spaces, as read off a screen, and is in no command line.
    """
    device = Home.under(tmp_path / "phone")
    with at(shared_daemon.home, *INVITE) as inviter:
        opened = inviter.event()
        code = str(opened["pairing_code"])
        typed = f"  {code.upper()[:40]} {code.upper()[40:]}\n"
        with at(device, "pair", "-", typed=typed) as phone:
            assert "Read these words" in phone.line()
            shown = phone.line().strip()
            secret = code.removeprefix("stockade-pair-1:").encode()
            assert secret not in command_line(phone) + command_line(inviter)
            told = inviter.event()
            assert told["words"] == shown
            assert len(shown.split("-")) == 8
            # What was said of other words lets nobody in; the device waits on.
            wrong = "-".join(reversed(shown.split("-")))
            invitation = str(opened["invitation_id"])
            no = shared_daemon.cli("devices", "confirm", invitation, "--words", wrong)
            assert no.status != 0
            assert "WORDS_DIFFER" in no.err
            yes = shared_daemon.cli("devices", "confirm", invitation, "--words", shown)
            assert yes.status == 0, yes.err
            status, said = phone.rest()
            assert status == 0, said
            assert "paired as phone" in said
        assert inviter.rest()[0] == 0
    assert shared_daemon.cli("whoami", home=device).out.startswith("phone ")
    assert parse_pairing_code(code).secret.hex() not in shared_daemon.log


def test_a_no_at_the_inviters_end_leaves_nothing_on_the_device(
    shared_daemon: RunningDaemon, tmp_path: Path
) -> None:
    """The words differ, the person says no: both commands say so, and nobody is paired."""
    device = Home.under(tmp_path / "thief")
    before = shared_daemon.cli("devices", "list", "--json").lines()
    with at(shared_daemon.home, *INVITE) as inviter:
        opened = inviter.event()
        with at(device, "pair", "-", typed=f"{opened['pairing_code']}\n") as thief:
            assert "Read these words" in thief.line()
            words, invitation = str(inviter.event()["words"]), str(opened["invitation_id"])
            said = shared_daemon.cli("devices", "confirm", invitation, "--words", words, "--reject")
            assert said.status == 0, said.err
            status, out = thief.rest()
            assert status != 0
            assert "PAIRING_REFUSED" in out
        assert inviter.rest()[0] != 0
    assert not (device.client / "certificate.pem").exists()
    assert shared_daemon.cli("devices", "list", "--json").lines() == before


def test_the_inviters_screen_has_the_code_for_a_camera_and_then_name_and_words(
    shared_daemon: RunningDaemon, tmp_path: Path
) -> None:
    """What a person reads: the code, the same as a QR code, and what to compare for which name."""
    device = Home.under(tmp_path / "scanned")
    invite = ("devices", "invite", "--name", "scanned", "--group", "callers", "--qr")
    with at(shared_daemon.home, *invite) as inviter:
        assert "stockade pair CODE" in inviter.line()
        code = inviter.line()
        shown = qr_code(code).splitlines()
        assert [inviter.line() for _ in shown] == shown
        with at(device, "pair", "-", typed=f"{code}\n") as phone:
            assert "Read these words" in phone.line()
            words = phone.line().strip()
            told = [inviter.line() for _ in range(3)]
            assert told[0].endswith("knows the code, for scanned.")
            assert told[2].strip() == words
            invitation = parse_pairing_code(code).invitation_id
            yes = shared_daemon.cli("devices", "confirm", invitation, "--words", words)
            assert yes.status == 0, yes.err
            assert phone.rest()[0] == 0
        status, said = inviter.rest()
    assert status == 0
    assert "paired scanned" in said
