"""`make demo`: the whole path through Stockade on this machine, every part of it real.

    python deploy/demo.py [DIRECTORY]      default: .demo in the checkout

Types the commands a person would type, at the terminals of three people, and checks each answer:
status 1 and the reason if one is not as it should be. Whatever happens, also on Ctrl-C, nothing is
left running. Needs Stockade installed in the Python that runs it, and nothing else.
"""

import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from demo_scenes import Stage, play
from demo_terminal import (
    MARK,
    DemoError,
    Terminal,
    heading,
    interruptible,
    remark,
    uninterrupted,
)
from demo_world import World, make_world

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = Path(sys.executable).parent
GONE_SECONDS = 10.0


def main() -> int:
    """Plays the demo; 0 if everything was as it should be."""
    link = Path(sys.argv[1]).absolute() if len(sys.argv) > 1 else ROOT / ".demo"
    began = time.monotonic()
    interruptible()
    try:
        _stop_earlier(link)
        world = make_world(link)
        with _stage(world) as stage:
            play(stage)
        _check_nothing_runs()
    except (DemoError, OSError) as error:
        print(f"\ndemo: FAILED: {error}", file=sys.stderr)
        print(f"the daemon's log: {link / 'home' / 'data' / 'stockaded.log'}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ndemo: interrupted", file=sys.stderr)
        return 130
    _say_where(world, time.monotonic() - began)
    return 0


@contextlib.contextmanager
def _stage(world: World) -> Iterator[Stage]:
    """The terminals; at the end of it all, however it came, nothing of them runs."""
    caller = Terminal("caller", world.root, world.home, PROGRAMS, "32")
    approver = Terminal("approver", world.root, world.approver, PROGRAMS, "35")
    verifier = Terminal("verifier", world.verifier, world.verifier / "home", PROGRAMS, "33")
    remark(f"three terminals, each with a STOCKADE_HOME of its own, in {world.root}")
    try:
        yield Stage(world, caller, approver, verifier)
    finally:
        with uninterrupted():
            for command in [*caller.commands, *approver.commands, *verifier.commands]:
                command.end()
            # After the last scene there is none; a daemon that had to be stopped left no file.
            if sys.exc_info()[0] is not None or (world.home / "data" / "daemon.json").exists():
                remark("stopping what runs")
                caller.run("stockade", "down")
                _check_nothing_runs()


def _stop_earlier(link: Path) -> None:
    """Ends the daemon of a demo that was killed before it could, or that somebody started again."""
    home = link / "home"
    if home.is_dir():
        terminal = Terminal("earlier", link, home.resolve(), PROGRAMS)
        with contextlib.suppress(DemoError):
            terminal.run("stockade", "down")
        _forget_keychain_item(home)


def _forget_keychain_item(home: Path) -> None:
    """Removes an earlier demo's root key from the keychain: what it sealed is removed as well."""
    with contextlib.suppress(OSError, ValueError, KeyError, DemoError):
        if 'root = "keychain"' in (home / "config.toml").read_text():
            account = json.loads((home / "data" / "installation.json").read_text())["trust_domain"]
            terminal = Terminal("earlier", home, home.resolve(), PROGRAMS)
            terminal.run("keyring", "del", "stockade", account)


def _check_nothing_runs() -> None:
    """No process has the mark that everything started from our terminals inherits."""
    mark = "=".join(MARK).encode()
    deadline = time.monotonic() + GONE_SECONDS
    while left := [pid for pid, environment in _environments() if mark in environment]:
        if time.monotonic() > deadline:
            raise DemoError(f"processes are left running: {left}")
        time.sleep(0.1)


def _environments() -> Iterator[tuple[int, bytes]]:
    for name in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208 - glob raises if one goes
        with contextlib.suppress(OSError):
            yield int(name), Path(f"/proc/{name}/environ").read_bytes()


def _say_where(world: World, seconds: float) -> None:
    heading(f"Done in {seconds:.0f} s: 3 calls succeeded, one of them approved, 1 was denied")
    for what, where in (
        ("configuration", world.home / "config.toml"),
        ("policies", world.home / "policies"),
        ("daemon's data, log", world.home / "data"),
        ("approver's device", world.approver),
        ("workspace, report", world.orders),
        ("ledger and proof", world.verifier),
    ):
        print(f"   {what:<20}{where}")
    stockade = shutil.which("stockade", path=str(PROGRAMS)) or "stockade"
    program = os.path.relpath(stockade)
    print("   to go on by yourself, and as the approver in another terminal:")
    print(f"     export STOCKADE_HOME={world.home}")
    print(f"     {program} up --detach")
    print(f"     STOCKADE_HOME={world.approver} \\")
    print(f"       {program} approvals watch")
    print("   `make demo` makes .demo anew: what you add there is gone then")


if __name__ == "__main__":
    raise SystemExit(main())
