"""Receipts for people: nothing that runs on for lines, nothing said twice, and any JSON will do."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stockade.cli.receipt_view import told

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(("risk", "questions", "controls", "time_ms", "x")), inner, max_size=3
        )
    ),
    max_leaves=12,
)
NAMES = st.sampled_from(
    ("risk", "risk_milli", "questions", "controls", "expires_ms", "call", "certificate")
)


def shown(**body: Any) -> dict[str, str]:
    return dict(told(body))


def test_certificates_digests_and_signatures_are_cut() -> None:
    """A PEM block is named by its size; of a long number its beginning is shown."""
    pem = "-----BEGIN CERTIFICATE-----\n" + "A" * 64 + "\n-----END CERTIFICATE-----\n"
    said = shown(certificate=pem, call_digest="ab" * 32, stdout={"digest": "sha256:" + "cd" * 32})
    assert said == {
        "certificate": f"PEM of {len(pem)} characters",
        "call_digest": "abababababababab…",
        "stdout": "digest cdcdcdcdcdcdcdcd…",
    }


def test_what_is_empty_or_shown_above_is_left_out() -> None:
    """The call, its tool, state and reason stand in the line above."""
    assert shown(call="c", tool="t", state="s", reason="R", secrets=[], limit="", signal=None) == {}
    assert shown(redactions=0, detach=False) == {"redactions": "0", "detach": "no"}


def test_addresses_are_as_people_write_them() -> None:
    """Without the prefix of their kind."""
    for peer, said in (
        ("ipv4:192.0.2.7:5000", "192.0.2.7:5000"),
        ("ipv6:%5B::1%5D:5000", "[::1]:5000"),
        ("unix:", "this machine"),
    ):
        assert shown(origin=peer) == {"origin": said}


def test_questions_and_controls_are_sentences() -> None:
    """What policy was asked with its answer, and how many controls nothing enforced."""
    asked = [
        {"action": "call", "allowed": True, "policies": ["known (a.cedar:5)"], "code": "PERMITTED"},
        {"action": "call_unattended", "allowed": False, "policies": [], "code": "NOT_PERMITTED"},
    ]
    said = shown(
        questions=asked,
        controls={"swap": {"achieved": "cgroup"}, "pids": {"achieved": ""}},
        risk_milli=260,
        risk={"code_trust": "1.0000", "network": False},
    )
    assert said == {
        "questions": "call? yes by known (a.cedar:5); call_unattended? no, NOT_PERMITTED",
        "controls": "2, of these NOT enforced: pids",
        "risk": "0.260 of 1",
        "risk_inputs": "code_trust 1.0000",
    }


@given(st.dictionaries(NAMES, JSON, max_size=4))
def test_any_json_is_shown(body: dict[str, Any]) -> None:
    """A ledger of another version, or somebody's, is no traceback."""
    assert all(isinstance(text, str) for _, text in told(body))


def test_what_is_too_deep_is_named() -> None:
    """A body of a thousand lists in lists is none that a person reads."""
    deep: Any = "x"
    for _ in range(5000):
        deep = [deep]
    assert shown(x=deep) == {"x": "too deep to be shown"}
