"""The other commands: devices, secrets, policy, tools, help, errors."""

# ruff: noqa: ARG001 - asking for the fixture `daemon` serves the home

import json
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from nacl.public import SealedBox

from stockade.cli.ids import resolve, shortened
from stockade.errors import StockadeError
from stockade.home import Home
from stockade.v1 import tool_pb2
from tests.stockade.conftest import Stockade
from tests.stockade.serving import VAULT_KEY, Daemon, World

VALUE = "hunter2-hunter2"


@pytest.mark.parametrize(
    "arguments",
    [
        ("put", "token", VALUE),
        ("put", "token", "--value", VALUE),
        ("put", "token", f"--value={VALUE}"),
        ("put", f"token={VALUE}"),
        ("put", f"--{VALUE}", "token"),
        ("put", "token", "-v", VALUE),
        ("put", f"-{VALUE}"),
    ],
)
def test_secret_in_argv(
    daemon: Daemon, world: World, stockade: Stockade, arguments: tuple[str, ...]
) -> None:
    """A value on the command line is refused with 2, is not stored and is not repeated."""
    result = stockade("secrets", *arguments, stdin=b"x")
    assert result.status == 2
    assert VALUE not in result.out + result.err
    assert world.requests == []


@pytest.mark.parametrize(
    ("piped", "stored"),
    [(b"v\n", b"v"), (b"v", b"v"), (b"a\nb\n\n", b"a\nb\n"), (b"\xff\0", b"\xff\0")],
)
def test_secret_from_pipe(
    daemon: Daemon, world: World, stockade: Stockade, piped: bytes, stored: bytes
) -> None:
    """The value comes from standard input, without the one line break that echo adds; sealed."""
    assert stockade("secrets", "put", "token", stdin=piped).status == 0
    request = world.requests[-1]
    assert (request.reference, request.value) == ("secret://global/token", b"")
    assert SealedBox(VAULT_KEY).decrypt(request.sealed).endswith(b"global/token" + stored)


@pytest.mark.parametrize("piped", [b"", b"\n", b"x" * 65_537])
def test_secret_size(daemon: Daemon, world: World, stockade: Stockade, piped: bytes) -> None:
    """Nothing, and more than a secret may be, is refused and not cut."""
    assert stockade("secrets", "put", "token", stdin=piped).status == 2
    assert world.requests == []


def test_invite_is_not_confirmed_by_a_pipe(
    daemon: Daemon, world: World, stockade: Stockade
) -> None:
    """Without a terminal an invitation is not confirmed by what is on standard input."""
    world.confirmed.clear()
    world.invited_for = 1
    result = stockade("devices", "invite", "--name", "phone", "-g", "approvers", stdin=b"y\ny\n")
    assert world.confirmed == []
    assert "devices confirm inv1" in result.err
    assert "PAIRING_REFUSED" in result.err


def test_confirm(daemon: Daemon, world: World, stockade: Stockade) -> None:
    """`devices confirm` sends the words the person compared."""
    assert stockade("devices", "confirm", "inv1", "--words", "oak-sky").status == 0
    assert (world.confirmed[-1].words, world.confirmed[-1].accept) == ("oak-sky", True)
    assert stockade("devices", "confirm", "inv1", "--words", "oak-sky", "--reject").status == 0
    assert not world.confirmed[-1].accept


@pytest.mark.parametrize(
    ("which", "found"), [("phone", "dev-aaaa"), ("dev-aabb", "dev-aabb"), ("dev-aaa", "dev-aaaa")]
)
def test_revoke(daemon: Daemon, world: World, stockade: Stockade, which: str, found: str) -> None:
    """A device is named by its name, its id or the beginning of one."""
    assert stockade("devices", "revoke", which, "--json").status == 0
    assert world.requests[-1].device_id == found


@pytest.mark.parametrize("which", ["dev-a", "dev-", "nobody", "Phone"])
def test_revoke_needs_one(daemon: Daemon, world: World, stockade: Stockade, which: str) -> None:
    """An ambiguous or unknown name revokes nobody."""
    assert stockade("devices", "revoke", which).status == 1
    assert world.requests == []


def test_policy_check_and_apply(
    daemon: Daemon, world: World, stockade: Stockade, tmp_path: Path
) -> None:
    """A broken set is shown with file, line and fix, and nothing is applied."""
    (tmp_path / "a.cedar").write_text("broken")
    check = stockade("policy", "check", str(tmp_path))
    assert check.status == 1
    assert "a.cedar:3: PARSE: unexpected token" in check.err
    apply = stockade("policy", "apply", str(tmp_path))
    assert apply.status == 1
    assert "POLICY_INVALID" in apply.err
    (tmp_path / "a.cedar").write_text("permit(principal, action, resource);")
    assert stockade("policy", "apply", str(tmp_path)).status == 0


def test_empty_policy_folder(
    daemon: Daemon, world: World, stockade: Stockade, tmp_path: Path
) -> None:
    """A folder without policies is a mistake and not a set that denies everything."""
    assert stockade("policy", "apply", str(tmp_path)).status == 2
    assert world.requests == []


def test_add_tool(daemon: Daemon, world: World, stockade: Stockade, tmp_path: Path) -> None:
    """A tool's files are sent with their paths and which of them are programs."""
    folder = tmp_path / "tool"
    folder.mkdir()
    (folder / "manifest.toml").write_text("name = 'mine'")
    (folder / "bin").mkdir()
    (folder / "bin" / "run").write_bytes(b"#!/bin/sh\n")
    (folder / "bin" / "run").chmod(0o755)
    assert stockade("tools", "add", str(folder)).status == 0
    sent = world.requests[-1]
    assert isinstance(sent, tool_pb2.AddToolRequest)
    assert [(one.path, one.executable) for one in sent.files] == [
        ("bin/run", True),
        ("manifest.toml", False),
    ]


def test_add_tool_refuses_links(
    daemon: Daemon, world: World, stockade: Stockade, tmp_path: Path
) -> None:
    """A link in a tool's folder does not send the file it points to."""
    folder = tmp_path / "tool"
    folder.mkdir()
    (folder / "manifest.toml").write_text("name = 'mine'")
    (folder / "key").symlink_to("/etc/passwd")
    assert stockade("tools", "add", str(folder)).status == 2
    assert world.requests == []


def test_list_shows_no_escape(daemon: Daemon, stockade: Stockade) -> None:
    """A tool's summary cannot drive the terminal, also in a table."""
    result = stockade("tools", "list")
    assert "\x1b" not in result.out
    assert "␛[31mit" in result.out


@pytest.mark.parametrize("command", [("tools", "list"), ("calls", "list"), ("devices", "list")])
def test_tables_fit(daemon: Daemon, stockade: Stockade, command: tuple[str, ...]) -> None:
    """Every table fits 80 columns."""
    result = stockade(*command)
    assert result.out
    assert max(map(len, result.out.splitlines())) <= 80


def test_doctor(daemon: Daemon, home: Home, stockade: Stockade) -> None:
    """Doctor names what does not work with its fix, and exits with 1."""
    result = stockade("doctor", "--json")
    rows = [json.loads(line) for line in result.out.splitlines()]
    findings = [row for row in rows if "control" not in row]
    bad = [finding for finding in findings if not finding["ok"]]
    assert result.status == 1
    assert {"tier gvisor"} <= {finding["what"] for finding in bad}
    assert all(finding["fix"] for finding in bad)
    well = [one for one in findings if one["ok"] and not one["warning"]]
    assert well
    assert not any(one["fix"] for one in well)


def test_doctor_begins_with_its_verdict(daemon: Daemon, home: Home, stockade: Stockade) -> None:
    """How many things are wrong is the first line; then they come, and what is well is last."""
    result = stockade("doctor")
    first, _, *others = result.out.splitlines()
    marks = re.findall(r"^(BAD|WARN|ok) ", "\n".join(others), re.MULTILINE)
    bad = marks.count("BAD")
    said = f"{bad} things are wrong" if bad > 1 else "1 thing is wrong"
    assert (bad > 0, first) == (True, f"{said}; {marks.count('WARN')} warnings")
    assert marks == sorted(marks, key=["BAD", "WARN", "ok"].index)
    assert "Controls of" not in result.out
    # A path stands alone, whole, however long it is.
    assert max(map(len, result.out.replace(str(home.data.parent), "~").splitlines())) <= 80


def test_an_engine_with_escapes_is_not_ok(daemon: Daemon, stockade: Stockade) -> None:
    """Each escape is a warning, and how they are mended is said once."""
    told = stockade("doctor").out
    assert "WARN engine bubblewrap: 0.4.0 has CVE-1: one way out" in told
    assert "WARN engine bubblewrap: 0.4.0 has CVE-2: one way out" in told
    assert told.count("fix: upgrade bubblewrap to 0.4.1") == 1
    assert "ok   engine bubblewrap" not in told
    assert "ok   engine runc: 1.4.0" in told


def test_controls_are_shown_when_asked_for(daemon: Daemon, stockade: Stockade) -> None:
    """What is requested and by what it is enforced, tier by tier; what nothing enforces says so."""
    result = stockade("doctor", "--controls")
    assert result.status == 0
    assert "Controls of the process tier" in result.out
    assert "NOT ENFORCED HERE" in result.out
    rows = [
        json.loads(line) for line in stockade("doctor", "--controls", "--json").out.splitlines()
    ]
    assert {row["control"] for row in rows} == {"swap"}
    assert stockade("doctor", "--controls", "--attack").status == 2


def test_status_tells_of_escapes(daemon: Daemon, stockade: Stockade) -> None:
    """That a tier works is not all that there is to say where ways out of it are published."""
    told = stockade("status").out
    assert "works, but 2 ways out of it are published: see stockade doctor" in told
    assert re.search(r"^tier container +works$", told, re.MULTILINE)


def test_version(stockade: Stockade) -> None:
    """Both programs say which they are, without a home or a daemon."""
    here = metadata.version("stockade")
    result = stockade("--version")
    assert (result.status, result.out) == (0, f"stockade {here}\n")
    program = Path(sys.executable).with_name("stockaded")
    told = subprocess.run([program, "--version"], capture_output=True, check=True, text=True)
    assert told.stdout == f"stockaded {here}\n"


def test_doctor_attack(daemon: Daemon, stockade: Stockade) -> None:
    """Each row says what was held beside what its control did; one not held is status 1."""
    result = stockade("doctor", "--attack")
    assert result.status == 1
    assert re.search(r"^held +process · read.path: read a file outside$", result.out, re.MULTILINE)
    assert re.search(r"^NOT HELD +process · bomb.fork", result.out, re.MULTILINE)
    assert result.out.splitlines()[-1] == "process: 1 held, 1 not held, 1 unproven"
    assert "control (a grant): an effect" in result.out
    assert "\x1b" not in result.out
    assert max(map(len, result.out.splitlines())) <= 80
    assert stockade("doctor", "--attack", "--only", "read").status == 0


def test_doctor_attack_for_programs(daemon: Daemon, stockade: Stockade) -> None:
    """With --json each row is one object, in the protocol's names."""
    rows = [json.loads(line) for line in stockade("doctor", "--attack", "--json").out.splitlines()]
    assert [row["verdict"] for row in rows] == ["held", "unproven", "not_held"]
    assert rows[0]["tier"] == "process"
    assert stockade("doctor", "--tier", "process").status == 2


def test_doctor_without_anything(stockade: Stockade) -> None:
    """Doctor has something to say before anything is set up."""
    result = stockade("doctor")
    assert result.status == 1
    assert "stockade up" in result.out
    assert result.out.count("not paired") == 1


def test_what_could_have_been_meant_is_named(stockade: Stockade) -> None:
    """A group without a command, or with one that is none: its commands."""
    for words in (("calls",), ("calls", "shwo")):
        assert "fix: one of list, watch, cancel, show; see `stockade calls" in stockade(*words).err
    assert "one of up, down, status" in stockade("strat").err
    assert "one of" not in stockade("call").err


def test_a_backup_is_refused_before_a_passphrase_is_asked_for(
    stockade: Stockade, tmp_path: Path
) -> None:
    """Without a home, or without the file, nobody has to think of one."""
    for words in (("backup", str(tmp_path / "new")), ("restore", str(tmp_path / "none"))):
        result = stockade(*words)
        assert (result.status, "passphrase" in result.err) == (2, False)


@pytest.mark.parametrize(
    "arguments",
    [("nonsense",), ("call",), ("tools",), ("calls", "list", "--limit", "0"), ("up", "--x"),
     ("calls", "list", "--state", "nope"), ("call", "a\udcff")],
)  # fmt: skip
def test_usage(stockade: Stockade, arguments: tuple[str, ...]) -> None:
    """A mistaken command line ends with 2 and two lines, not a traceback."""
    result = stockade(*arguments)
    assert result.status == 2
    assert result.err.startswith("error: ")
    assert "fix: " in result.err
    assert "Traceback" not in result.err


@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_an_answer_without_a_terminal(
    stockade: Stockade, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The options that are named for it are the command's own."""
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    result = stockade("approvals", verb, "01988a3c")
    assert result.status == 2
    said = stockade("approvals", verb, "--help").out
    named = re.findall(r"--[a-z]+", result.err.partition("fix: ")[2])
    assert named
    assert all(f"{one} " in said for one in named), named


def test_every_command_has_help_with_examples(stockade: Stockade) -> None:
    """Help of every command, and examples in it."""
    import typer

    from stockade.cli.app import app

    group = typer.main.get_command(app)
    commands = getattr(group, "commands")  # noqa: B009 - the class is not public
    for name, command in commands.items():
        subs = getattr(command, "commands", {})
        for path in [(name,), *((name, sub) for sub in subs)]:
            result = stockade(*path, "--help")
            assert result.status == 0
            assert f"stockade {name}" in result.out.partition("Examples:")[2], path
            # Typer cuts off what does not fit; here it goes on below.
            listed = result.out.partition("Commands:")[2].partition("Examples:")[0]
            assert not [line for line in listed.splitlines() if line.endswith("...")], path


def test_help_fits_and_is_for_people(stockade: Stockade) -> None:
    """At every depth: 80 columns at most, and words to type where Typer has types of Python's."""
    import typer

    from stockade.cli.app import app

    def walk(command: object, path: tuple[str, ...]) -> None:
        said = stockade(*path, "--help").out
        assert max(map(len, said.splitlines())) <= 80, path
        assert not re.search(r"<[a-z| ]+>|x[<>]=|\{[A-Z/]+\}", said), (path, said)
        for name, inner in getattr(command, "commands", {}).items():
            walk(inner, (*path, name))

    walk(typer.main.get_command(app), ())
    assert "Usage: stockade call [OPTIONS] TOOL [K=V]...\n" in stockade("call", "--help").out
    assert "put [OPTIONS] NAME\n" in stockade("secrets", "put", "--help").out
    told = stockade("ledger", "tail", "--help").out
    assert "-n N " in told
    assert "[default: 20; 1 to 500]" in told
    assert "--reason REASON " in stockade("approvals", "reject", "--help").out
    assert "--key FILE " in stockade("ledger", "verify", "--help").out


def test_help_is_light(tmp_path: Path) -> None:
    """`stockade --help` loads neither gRPC nor rich nor cryptography."""
    code = (
        "import sys; from stockade.cli.app import run; run(['--help']);"
        "print([m for m in ('grpc', 'rich', 'cryptography', 'ledger') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "STOCKADE_HOME": str(tmp_path)},
        capture_output=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == b"[]"


def test_short_ids() -> None:
    """Short ids are told apart and found again; an unclear one finds nothing."""
    ids = [f"01988a3c-5d1f-7000-8000-00000000000{n}" for n in range(3)]
    short = shortened(ids)
    assert len(set(short.values())) == 3
    for one in ids:
        assert resolve(short[one], "call", lambda: ids) == one
    for text in ("01988a3c", "", "ffff"):
        with pytest.raises(StockadeError):
            resolve(text, "call", lambda: ids)


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("stockade dev", "devices"),
        ("stockade devices inv", "invite"),
        ("stockade call --", "--json"),
    ],
)
def test_a_shell_is_told_what_may_come_next(typed: str, found: str) -> None:
    """As `stockade --show-completion` has a shell ask."""
    asked = {"COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
    program = Path(sys.executable).with_name("stockade")
    done = subprocess.run(
        [program],
        env={**os.environ, **asked, "_STOCKADE_COMPLETE": "complete_bash"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found in done.stdout.split()
