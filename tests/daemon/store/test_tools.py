"""The contract of the tool records."""

from sqlalchemy import Engine

from daemon.store import tools
from daemon.store.engine import writing
from daemon.store.tools import ToolRow, ToolState


def row(digest: str, now_ms: int = 1, name: str = "echo") -> ToolRow:
    return ToolRow(name, digest, "none", ToolState.PINNED, now_ms)


def test_a_changed_tool_is_seen(engine: Engine) -> None:
    """A name keeps the digest it was pinned to; another one gets the pinned one back."""
    with writing(engine).begin() as connection:
        assert tools.pinned(connection, "echo") is None
        assert tools.pin(connection, "echo", "d1", provenance="none", now_ms=1) == row("d1")
        assert tools.pin(connection, "echo", "d1", provenance="none", now_ms=2) == row("d1")
        assert tools.pin(connection, "echo", "d2", provenance="key", now_ms=3) == row("d1")
        assert tools.pinned(connection, "echo") == row("d1")


def test_a_name_is_free_only_after_removal(engine: Engine) -> None:
    """Removing names the digest it removes; then another, or the same again, may be pinned."""
    with writing(engine).begin() as connection:
        tools.pin(connection, "echo", "d1", provenance="none", now_ms=1)
        assert not tools.remove(connection, "echo", "d2", now_ms=2)
        assert tools.remove(connection, "echo", "d1", now_ms=2)
        assert not tools.remove(connection, "echo", "d1", now_ms=3)
        assert tools.pinned(connection, "echo") is None
        removed = tools.history(connection, "echo")
        assert [(each.state, each.removed_ms) for each in removed] == [(ToolState.REMOVED, 2)]
        assert tools.pin(connection, "echo", "d2", provenance="none", now_ms=4) == row("d2", 4)
        assert tools.remove(connection, "echo", "d2", now_ms=5)
        assert tools.pin(connection, "echo", "d1", provenance="none", now_ms=6) == row("d1", 6)
        assert tools.pinned(connection, "echo") == row("d1", 6)
        assert len(tools.history(connection, "echo")) == 2
