"""The documents as the tests read them."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]

PAGES = tuple(
    sorted(
        [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")],
        key=lambda path: path.relative_to(ROOT).as_posix(),
    )
)

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TITLE = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)


def name_of(page: Path) -> str:
    """A page's path in the repository."""
    return page.relative_to(ROOT).as_posix()


def read(name: str) -> str:
    """The text of a page."""
    return (ROOT / name).read_text(encoding="utf-8")


def fenced(text: str, kind: str) -> list[str]:
    """The fenced blocks of a kind, in order."""
    return [body for found, body in _FENCE.findall(text) if found == kind]


def prose(text: str) -> str:
    """The text without its fenced blocks."""
    return _FENCE.sub("", text)


def table_rows(text: str, title: str) -> Iterator[list[str]]:
    """The cells of each row of the first table below a title."""
    below = text[text.index(f"{title}\n") :]
    lines = iter(below.splitlines()[1:])
    for line in lines:
        if line.startswith("| ---"):
            break
    for line in lines:
        if not line.startswith("|"):
            return
        yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def anchors(text: str) -> set[str]:
    """The anchors of a page's titles, by the rule that GitHub has."""
    titles = (title.lower().replace("`", "") for title in _TITLE.findall(prose(text)))
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}
