"""Looking through a process's memory, as a core image of it would show it."""

from pathlib import Path


def found_in_memory(pid: int, traces: set[bytes]) -> dict[bytes, str]:
    """Which of the traces are in memory that the process may read, and in which mapping."""
    found: dict[bytes, str] = {}
    with Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, rights = line.split()[:2]
            if "r" not in rights or "[v" in line:
                continue
            low, high = (int(edge, 16) for edge in span.split("-"))
            try:
                memory.seek(low)
                content = memory.read(high - low)
            except (OSError, ValueError, OverflowError):
                continue  # a device's, or gone meanwhile
            for trace in traces:
                at = content.find(trace)
                if at >= 0:
                    around = content[max(0, at - 64) : at + len(trace) + 32]
                    found[trace] = f"{line} at {low + at:x}: {around!r}"
    return found
