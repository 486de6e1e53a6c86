"""Writes the part of docs/configuration.md that is made from the code again.

Run it from the checkout, in its environment: `python -m tests.docs.regenerate`.
"""

from daemon.config_file import reference
from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "configuration.md"
FIRST_TABLE = "## `[server]`"


def expected() -> str:
    """The page as it should be: its own beginning, and today's tables."""
    text = PAGE.read_text(encoding="utf-8")
    return text[: text.index(FIRST_TABLE)] + reference().rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(expected(), encoding="utf-8")
