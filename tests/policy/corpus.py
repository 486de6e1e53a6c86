"""The Cedar project's decision corpus, where this machine has it: unpacked for one test run."""

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from policy.cases import Case, parse_case

PLACE = "STOCKADE_CEDAR_CORPUS"
_BESIDE = Path(__file__).parents[2].parent / "shared" / "cedar-corpus"


def archives() -> list[Path]:
    """The archives there are; skips the test, saying so, if there is none."""
    place = Path(os.environ.get(PLACE, _BESIDE))
    found = sorted(place.glob("*.tar.gz"))
    if not found:
        pytest.skip(f"no Cedar corpus in {place}: get it and set {PLACE}")
    return found


def unpack(folder: Path) -> None:
    """All cases, into a folder that the test removes."""
    for archive in archives():
        with tarfile.open(archive) as tar:
            # One by one: not every Python 3.11 has a filter for what is unpacked.
            for member in tar:
                if (content := tar.extractfile(member)) is not None:
                    place = (folder / member.name).resolve()
                    assert place.is_relative_to(folder.resolve())
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.write_bytes(content.read())


def cases(folder: Path) -> Iterator[tuple[Path, Case]]:
    """Every case, by its file."""
    for path in sorted(folder.rglob("*.json")):
        if not path.name.endswith(".entities.json"):
            yield path, parse_case(path.read_text("utf-8"))


def texts(path: Path, case: Case) -> tuple[str, str, str]:
    """Policies, entities and schema of a case."""
    kinds = ("policies", "entities", "schema")
    found = [path.parent / Path(case.files[kind]).name for kind in kinds]
    policies, entities, schema = (one.read_bytes().decode("utf-8") for one in found)
    return policies, entities, schema
