"""How arguments are set out for a person: diffs, command lines, masks, letters that pose."""

import re
import string
import unicodedata
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from stockade.approving import lease_for
from stockade.cli.argument_view import View
from stockade.cli.diff_view import parse_diff
from stockade.cli.keyboard import BURST, key_of, typed
from stockade.cli.leasing import meaning
from stockade.cli.lookalike import revealed
from stockade.cli.rows import Row, clipped, cut
from stockade.cli.statement_view import page
from stockade.masking import masked, masked_value, masker
from tests.stockade.serving import statement

DIFF = "--- a/x\n+++ b/x\n@@ -1,3 +1,3 @@\n same\n-old\n+new\n same\n"


def _shown(arguments: dict[str, Any], **how: bool) -> str:
    rows = page(statement(1, arguments), View(**how)).rows
    return "\n".join(row.text for row in rows)


def test_a_diff_is_shown_as_a_diff() -> None:
    """With what it adds and removes, counted by its hunks."""
    shown = page(statement(1, {"patch": DIFF})).rows
    assert any("patch = a diff: 1 file, 1 added, 1 removed" in row.text for row in shown)
    assert Row("    │ +new", "added") in shown
    assert Row("    │ -old", "removed") in shown


@pytest.mark.parametrize(
    "text",
    [
        DIFF + "rm -rf /\n",
        "# harmless\n" + DIFF,
        DIFF.replace("-1,3", "-1,4"),
        DIFF.replace("+1,3", "+1,2"),
        DIFF.replace(" same\n-old", "same\n-old"),
        "@@ -1 +1 @@\n-a\n+b\n",
        "--- a\n+++ b\n@@ -1 +1 @@ \n-a\n",
        "+added\n-removed\n",
    ],
)
def test_what_is_not_wholly_a_diff_is_plain_text(text: str) -> None:
    """A line without a place in a diff is not passed off as part of one."""
    assert parse_diff(text) is None
    assert "a diff" not in _shown({"patch": text})


def test_a_removed_line_is_no_heading() -> None:
    """A hunk's own line that looks like a file's heading is counted as what it is."""
    diff = parse_diff("--- a\n+++ b\n@@ -1,2 +1 @@\n--- x\n-y\n+++ z\n")
    assert diff is not None
    assert str(diff) == "a diff: 1 file, 1 added, 2 removed"


@given(st.text(alphabet="+- @\\ab\n", max_size=80))
def test_a_diff_keeps_every_character(text: str) -> None:
    """Whatever is taken for a diff is shown line by line as it is."""
    diff = parse_diff("--- a\n+++ b\n" + text)
    if diff is not None:
        assert "\n".join(line for _, line in diff.lines) == ("--- a\n+++ b\n" + text).removesuffix(
            "\n"
        )


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("make clean", "command = a command line\n    │ $ make clean"),
        (["rm", "-rf", "a b"], "command = a command of 3 words\n    │ $ rm -rf 'a b'"),
        (["ls", "a\n$ rm"], "command = a command of 2 words\n    │ $ ls 'a␊$ rm'"),
        ("a\nb", "command = a command of 2 lines\n    │ $ a\n    │   b"),
        (" ls", 'command = " ls"'),
        (7, "command = 7"),
        ([], "command = []"),
    ],
)
def test_a_command_line_is_shown_as_one(value: object, shown: str) -> None:
    """Words are quoted as a shell would want them; what is none is shown as what it is."""
    assert shown in _shown({"command": value})


@given(st.lists(st.text(min_size=1), min_size=1, max_size=4))
def test_a_command_is_one_line_whatever_its_words(words: list[str]) -> None:
    """No word of a command can begin a line of its own."""
    said = statement(1, {"argv": words})
    rows = page(said, View(100_000, whole=True, unmasked=True)).rows
    assert sum(row.text.startswith("    │ ") for row in rows) == 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("curl -H 'Authorization: Bearer abcdefgh12345678'", "Bearer [masked, 16 characters]'"),
        ("AKIAABCDEFGHIJKLMNOP", "[masked, 20 characters]"),
        ("git clone https://me:hunter22@example.org/x", "://me:[masked, 8 characters]@example.org"),
        ("PGPASSWORD=hunter22 psql", "PGPASSWORD=[masked, 8 characters] psql"),
        ("mysql --password hunter22", "--password [masked, 8 characters]"),
        ("sk-abcdefghijklmnopqrstuv", "[masked, 25 characters]"),
        ("ls -l", "ls -l"),
        ("secret://global/token", "secret://global/token"),
        ("password=$(rm -rf /)", "password=$(rm -rf /)"),
        ("token=`id`", "token=`id`"),
    ],
)
def test_masked(text: str, shown: str) -> None:
    """The usual shapes of secrets are masked with their length; code and references are not."""
    assert shown in masked(text)


@pytest.mark.parametrize(
    ("script", "run"),
    [
        ("echo --token\n/sbin/poweroff", "/sbin/poweroff"),
        ("curl -H bearer\n./evil-script", "./evil-script"),
        ("sudo -u basic /sbin/poweroff", "/sbin/poweroff"),
        ("API_TOKEN=\n/sbin/poweroff", "/sbin/poweroff"),
        ("API_TOKEN= /sbin/poweroff", "/sbin/poweroff"),
        ("echo token:\nuserdel-everybody", "userdel-everybody"),
        ("-----BEGIN PRIVATE KEY-----\nrm /srv/data/all\n-----END", "rm /srv/data/all"),
        ("-----BEGIN PRIVATE KEY-----\n/usr/sbin/poweroff\n-----END", "/usr/sbin/poweroff"),
        (
            "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49\npoweroff\n-----END",
            "\npoweroff\n",
        ),
        # By a name that looks like a line of a key: a file of the agent's own.
        (
            "-----BEGIN PRIVATE KEY-----\nbin/Kill9EverythingNow00\n-----END PRIVATE KEY-----",
            "\nbin/Kill9EverythingNow00\n",
        ),
        ("sudo -u basic reboot-everything", "reboot-everything"),
        ("xargs bearer bin/evil-script", "bin/evil-script"),
    ],
)
def test_a_command_behind_what_looks_like_a_secret_is_read(script: str, run: str) -> None:
    """What a shell would run stays in sight, whatever stands before it to have it masked."""
    assert run in masked(script)


def test_a_key_of_many_lines_is_masked() -> None:
    """A private key, of every line that may be one."""
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    shown = masker("content")(key.decode())
    assert not any(line in shown for line in key.decode().splitlines()[1:-1])
    assert "-----BEGIN PRIVATE KEY-----\n[masked, " in shown
    terms = lease_for(statement(1, {"content": key.decode(), "mode": 7}), expires_ms=2**42, uses=1)
    [said] = [text for label, text in meaning(terms) if label == "arguments"]
    assert '"mode": 7' in said
    assert not any(line in said for line in key.decode().splitlines()[1:-1])


@given(st.sampled_from(["script", "run_command", "content", "note"]), st.data())
def test_a_block_that_is_no_key_or_is_run_hides_no_line(name: str, data: st.DataObject) -> None:
    """Within the frame of a key, or a key within something else or where it is run: each line of
    it may be a program's name, and stays in sight.
    """
    letters = string.ascii_letters + string.digits + "+/"
    word = st.text(letters, min_size=1, max_size=64)
    lines = data.draw(st.lists(word, min_size=1, max_size=4))
    body = "\n".join([*lines, "bin/Kill9EverythingNow00"])
    real = ec.derive_private_key(7, ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    block = f"-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n"
    frames = [block, f"cat > key <<E\n{real.decode()}E\n", f"{real.decode()}true\n"]
    frames += [real.decode()] if name in ("script", "run_command") else []
    text = data.draw(st.sampled_from(frames))
    shown = re.sub("    [│┊] ", "", _shown({name: text}, whole=True, unmasked=False))
    for line in text.splitlines():
        assert "".join(line.split()) in "".join(shown.split())


@given(st.text(alphabet="abc12-_=./+ $(){};|&<>`'\"\\\n", max_size=60))
def test_a_mask_hides_no_code(text: str) -> None:
    """Whatever stands behind a mask, each sign that a shell would act on stays in sight."""
    for name in (f"password={text}", f"--token {text}", f"Bearer {text}"):
        signs = [sign for sign in name if sign in "$(){};|&<>`\\"]
        assert [sign for sign in masked(name) if sign in "$(){};|&<>`\\"] == signs
    signs = [sign for sign in text if sign in "$(){};|&<>`\\"]
    assert [sign for sign in masked_value(text) if sign in "$(){};|&<>`\\"] == signs


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("paypal.com", "paypal.com"),
        ("p\u0430ypal.com", "p\\u{430}ypal.com"),
        ("\u0441\u043e\u0440\u0443", "\\u{441}\\u{43e}\\u{440}\\u{443}"),
        ("rm \uff0f", "rm \\u{ff0f}"),
        ("a\u2215b", "a\\u{2215}b"),
        ("\U0001d4ea", "\\u{1d4ea}"),
        ("\u041f\u0440\u0438\u0432\u0435\u0442, \u0441\u043e\u0440", None),
        ("git-\u0440\u0435\u043f\u043e\u0437\u0438\u0442\u043e\u0440\u0438\u0439", None),
        ("\u65e5\u672c\u8a9e\uff08test\uff09", None),
        ("ümlaut naïve", None),
    ],
)
def test_letters_that_pose_are_shown_as_numbers(text: str, shown: str | None) -> None:
    """Mixed words, words of nothing but look-alikes, false signs; not honest other scripts."""
    assert revealed(text) == (text if shown is None else shown)


@given(st.text())
def test_what_is_revealed_is_all_there(text: str) -> None:
    """Each letter is itself or its number, in its place."""
    back = re.sub(r"\\u\{([0-9a-f]+)\}", lambda found: chr(int(found[1], 16)), revealed(text))
    assert back == re.sub(r"\\u\{([0-9a-f]+)\}", lambda found: chr(int(found[1], 16)), text)


@given(st.binary(min_size=2, max_size=40))
def test_only_one_byte_alone_is_an_answer(data: bytes) -> None:
    """Nothing of more than a byte is a key that could answer."""
    assert len(key_of(data)) > 1


@pytest.mark.parametrize("data", [b"\xc3\xa9", b"aa", b"a\n", b"\x1b[Aa", b"\x1ba", b"\xff"])
def test_a_burst_is_a_burst(data: bytes) -> None:
    """Letters beyond ASCII, pairs, sequences with something behind them."""
    assert key_of(data) == BURST


@given(st.text(max_size=20), st.binary(max_size=40))
def test_typed_text_has_no_controls(text: str, data: bytes) -> None:
    """Whatever is typed or pasted at a reason, no control gets in."""
    before = "".join(one for one in text if one.isprintable())
    after = typed(before, data)
    assert not any(unicodedata.category(one) == "Cc" for one in after)


@given(st.text(max_size=60), st.integers(2, 40))
def test_rows_fit(text: str, width: int) -> None:
    """Cutting drops nothing and fits; clipping has exactly the width, and says what it left out."""
    from rich.cells import cell_len

    safe = "".join(one for one in text if one.isprintable())
    pieces = cut(safe, width)
    assert "".join(pieces) == safe
    assert all(cell_len(piece) <= width for piece in pieces)
    assert cell_len(clipped(safe, width)) == width
    assert ("…" in clipped(safe, width)) == (cell_len(safe) > width or "…" in safe)
