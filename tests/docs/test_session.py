"""The recorded session at the approver's terminal is what the terminals show today."""

from tests.docs.pages import read
from tests.docs.record_approvals import picture, record, stable


def test_the_recorded_session() -> None:
    """Played again key by key, it shows the same but for ids, digests and times."""
    made = record()
    shown = stable(read("docs/approvals-session.md"))
    for said, screen in made.scenes:
        assert said in read("docs/approvals-session.md")
        assert stable(screen) in shown, said
    drawn = picture(made.picture)
    assert "asks&#160;for" in drawn
    assert "ask-before-shell&#160;(ours.cedar:2)" in drawn
    assert "url(http" not in drawn
    assert "asks&#160;for" in read("docs/approvals-prompt.svg")
