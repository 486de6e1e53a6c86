"""Tells the local command line where this daemon listens, for as long as it does."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def announced(path: Path, address: str, started_ms: int) -> Iterator[None]:
    """Writes the endpoint file, whole or not at all, and takes it away at the end."""
    facts = {"pid": os.getpid(), "address": address, "started_ms": started_ms}
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(json.dumps(facts) + "\n")
    temporary.replace(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
