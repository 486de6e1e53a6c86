"""Kill -9, over and over, in the middle of changes: the old or the new, never neither."""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stockade.home import Home
from tests.daemon.vault.opened import TOKEN, WORDS, home_at, opened

pytestmark = pytest.mark.anyio

CHILD = [sys.executable, "-m", "tests.daemon.vault.crash_child"]
ROUNDS, MOST_ROUNDS = 6, 40
SECRETS = 200


def killed(home: Home, what: str, after: float) -> list[str]:
    """Start the child, kill it a while after its first change has begun; what it had told."""
    with subprocess.Popen([*CHILD, str(home.config), what], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        first = child.stdout.readline()
        time.sleep(after)
        child.kill()
        rest = child.stdout.read()
    return (first + rest).decode().split("\n")[:-1]


async def test_a_kill_in_the_middle_of_a_change_of_root(tmp_path: Path) -> None:
    """At every moment each secret opens: with the root before or the one after, or both."""
    home = home_at(tmp_path)
    values = {f"secret://global/n{number:03}": b"value-%d" % number for number in range(SECRETS)}
    async with opened(home) as it:
        for reference, value in values.items():
            await it.put(reference, value)
    moments = random.Random(7)  # noqa: S311 - the same moments in every run
    finished_later: list[object] = []
    for turn in range(MOST_ROUNDS):
        # How long a change takes is the machine's: sooner and sooner, until some were cut short.
        killed(home, "rotate", moments.uniform(0, 0.8 / (1 + turn // ROUNDS)))
        # The passphrase root may be the one in use, the next one, or neither.
        async with opened(home, WORDS) as it:
            assert it.vault.keeper.state.available, it.vault.keeper.state
            opened_values = await it.vault.keeper.open(list(values), "call")
            found = {name: value.reveal() for name, (_, value) in opened_values.items()}
            assert found == values
            rotated = [entry for entry in await it.receipts() if entry.kind == "vault.root_rotated"]
        roots = [path.name for path in home.data.glob("vault.*") if path.suffix != ".mark"]
        assert len(roots) == 1, roots
        # Finished by the start after the kill.
        finished_later = [one for one in rotated if b'"principal":"stockaded"' in one.canonical]
        if turn + 1 >= ROUNDS and finished_later:
            break
    assert finished_later


async def test_a_kill_in_the_middle_of_a_put(tmp_path: Path) -> None:
    """The value is the last that was acknowledged or the one under way, and whole."""
    home = home_at(tmp_path)
    async with opened(home) as it:
        await it.put(TOKEN, b"%08d" % 1 * 2000)
    moments = random.Random(11)  # noqa: S311 - the same moments in every run
    for _ in range(ROUNDS):
        told = killed(home, "put", moments.uniform(0, 0.15))
        done = [int(line.split()[1]) for line in told if line.startswith("done")]
        begun = [int(line.split()[1]) for line in told if line.startswith("begin")]
        async with opened(home) as it:
            value = await it.value(TOKEN)
            number = int(value[:8])
            assert value == b"%08d" % number * 2000
            assert max([*done, begun[0] - 1]) <= number <= begun[-1]
            (facts,) = await it.vault.changes.listing(("", ""), 2)
            assert facts.version == number
