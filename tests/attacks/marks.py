"""A call that would run, and one that leaves a mark when it does."""

GOOD = {"workspace": "work", "path": "hello.txt"}
MARK = "touch /workspace/it-ran"


def marking(**more: object) -> dict[str, object]:
    """Arguments that leave a mark if they are run."""
    return {"command": MARK, "workspace": "work", **more}
