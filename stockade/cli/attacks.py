"""`stockade doctor --attack`: the battery on this machine, row by row as it is reached."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from stockade.cli import machine
from stockade.cli.terminal import facts, note, say, spinner

if TYPE_CHECKING:
    from stockade.v1 import daemon_pb2

_HELD = {"held": "held", "not_held": "NOT HELD", "unproven": "unproven"}
_LABEL = 9


def attack(tiers: Sequence[str], names: Sequence[str], *, as_json: bool) -> int:
    """Runs it and shows it. Exit status 1 if something was not held."""
    from stockade.client import Client

    verdicts: dict[str, Counter[str]] = {}
    with Client.open() as client, client.run_attacks(tiers, names) as rows:
        if not as_json:
            note("Each attack beside its control: the same program with one grant more.")
        with spinner("attacking"):
            for row in rows:
                fields = machine.plain(row)
                verdict = str(fields["verdict"])
                verdicts.setdefault(row.tier, Counter())[verdict] += 1
                if as_json:
                    machine.emit(fields)
                else:
                    facts(_lines(row, verdict), label=_LABEL)
    if not as_json:
        _sum(verdicts)
    return 1 if any(counts["not_held"] for counts in verdicts.values()) else 0


def _lines(row: "daemon_pb2.RunAttacksResponse", verdict: str) -> list[tuple[str, str]]:
    lines = [(_HELD[verdict], f"{row.tier} · {row.name}: {row.aim}")]
    if verdict != "held":
        lines.append(("", f"attack: {row.attack}"))
    lines.append(("", f"control ({row.grant}): {row.control}"))
    return lines


def _sum(verdicts: dict[str, "Counter[str]"]) -> None:
    if not verdicts:
        note("no tier works here: `stockade doctor` says what is missing")
    for tier, counts in verdicts.items():
        told = ", ".join(f"{counts[key]} {_HELD[key].lower()}" for key in _HELD if counts[key])
        say(f"{tier}: {told}")
