"""Each place gets the note whole; one that cannot take it says why."""

import http.server
import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from daemon.config import Ledger, parse_config
from daemon.errors import ConfigError
from daemon.ledger.checkpoint_places import KeptFile, PlaceError, Syslog, Webhook, places_of
from ledger.checkpoint import Checkpoint, parse_checkpoint, sign
from tests.daemon.store.specimen import CHAIN, KEYS, PUBLIC
from tests.ledger.specimen import KEYS as OTHER_KEYS

PATIENCE = 60


def signed(size: int) -> bytes:
    return sign(Checkpoint(CHAIN, size, bytes([size]) * 32), KEYS)


def test_a_file_holds_the_newest(tmp_path: Path) -> None:
    """Replaced in one step; readable by everybody, since anybody may verify by it."""
    path = tmp_path / "kept" / "checkpoint"
    path.parent.mkdir()
    place = KeptFile(path, PUBLIC)
    assert place.read() is None
    for size in (3, 9):
        place.deliver(signed(size))
        assert parse_checkpoint(path.read_bytes(), PUBLIC).size == size
    assert list(path.parent.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_link_that_a_neighbour_laid_is_not_written_through(tmp_path: Path) -> None:
    """The folder may be one that others write in, too: what their link names is left as it is."""
    path, theirs = tmp_path / "checkpoint", tmp_path / "precious"
    theirs.write_bytes(b"a key")
    theirs.chmod(0o600)
    (tmp_path / "checkpoint.new").symlink_to(theirs)
    with pytest.raises(PlaceError):
        KeptFile(path, PUBLIC).deliver(signed(3))
    assert (theirs.read_bytes(), theirs.stat().st_mode & 0o777) == (b"a key", 0o600)


def test_a_file_is_not_set_back(tmp_path: Path) -> None:
    """A checkpoint of a shorter ledger does not take the place of a longer one's."""
    path = tmp_path / "checkpoint"
    place = KeptFile(path, PUBLIC)
    place.deliver(signed(9))
    with pytest.raises(PlaceError) as refused:
        place.deliver(signed(8))
    assert refused.value.code == "LEDGER_ROLLED_BACK"
    assert parse_checkpoint(path.read_bytes(), PUBLIC).size == 9


@pytest.mark.parametrize("attack", ["stripped", "other", "empty", "huge"])
def test_what_is_no_checkpoint_of_this_ledger_is_not_written_over(
    tmp_path: Path, attack: str
) -> None:
    """Neither Ed25519 alone, nor another ledger's, nor anything else."""
    path, note = tmp_path / "checkpoint", signed(5)
    path.write_bytes(
        {
            "stripped": b"".join(note.splitlines(keepends=True)[:-1]),
            "other": sign(Checkpoint(OTHER_KEYS.chain, 5, bytes(32)), OTHER_KEYS),
            "empty": b"",
            "huge": note * 100,
        }[attack]
    )
    before = path.read_bytes()
    with pytest.raises(PlaceError) as refused:
        KeptFile(path, PUBLIC).deliver(signed(6))
    assert refused.value.code == "CHECKPOINT_FILE_OTHER"
    assert path.read_bytes() == before


@pytest.mark.parametrize("kind", ["no folder", "a folder"])
def test_a_file_that_cannot_be_says_so(tmp_path: Path, kind: str) -> None:
    """No folder is not "no checkpoint yet": what it is on may not be mounted."""
    path = tmp_path / "gone" / "checkpoint" if kind == "no folder" else tmp_path
    for act in (KeptFile(path, PUBLIC).read, lambda: KeptFile(path, PUBLIC).deliver(signed(5))):
        with pytest.raises(PlaceError) as refused:
            act()
        assert refused.value.code == "CHECKPOINT_FILE_UNUSABLE"
        assert refused.value.fix


def test_the_local_syslog_gets_one_line(tmp_path: Path) -> None:
    """By its socket, with a priority and a name; the note comes out of it whole."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(tmp_path / "log"))
        log.settimeout(PATIENCE)
        Syslog(str(tmp_path / "log")).deliver(signed(4))
        line = log.recv(65536).decode()
    head, _, said = line.partition(": ")
    assert head == f"<133>stockade[{os.getpid()}]"
    assert "\n" not in line
    assert parse_checkpoint(json.loads(said)["checkpoint"].encode(), PUBLIC).size == 4


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_syslog_by_udp(family: socket.AddressFamily) -> None:
    """RFC 5424, over IPv4 and IPv6."""
    host = "127.0.0.1" if family == socket.AF_INET else "::1"
    with socket.socket(family, socket.SOCK_DGRAM) as log:
        log.bind((host, 0))
        log.settimeout(PATIENCE)
        name = host if family == socket.AF_INET else f"[{host}]"
        Syslog(f"udp:{name}:{log.getsockname()[1]}").deliver(signed(4))
        line = log.recv(65536).decode()
    assert line.startswith("<133>1 - ")
    said = json.loads(line[line.index("{") :])
    assert parse_checkpoint(said["checkpoint"].encode(), PUBLIC).size == 4


def test_a_syslog_by_tcp() -> None:
    """RFC 6587: each message with its length before it."""
    with socket.create_server(("127.0.0.1", 0)) as log:
        log.settimeout(PATIENCE)
        Syslog(f"tcp:127.0.0.1:{log.getsockname()[1]}").deliver(signed(4))
        stream, _ = log.accept()
        with stream, stream.makefile("rb") as file:
            data = file.read()
    length, _, message = data.partition(b" ")
    assert int(length) == len(message)
    said = json.loads(message[message.index(b"{") :])
    assert parse_checkpoint(said["checkpoint"].encode(), PUBLIC).size == 4


class Hook(http.server.BaseHTTPRequestHandler):
    """Notes what is posted and answers with the number that its path ends in."""

    posted: list[tuple[str, str, bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.posted.append((self.path, self.headers["Content-Type"], body))
        self.send_response(int(self.path.rpartition("/")[2].partition("?")[0]))
        self.send_header("Location", "/200")
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Says nothing."""


@contextmanager
def serving() -> Iterator[tuple[str, list[tuple[str, str, bytes]]]]:
    posted: list[tuple[str, str, bytes]] = []
    handler = type("OwnHook", (Hook,), {"posted": posted})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", posted
        finally:
            server.shutdown()
            thread.join()


def test_a_webhook_is_posted_the_note(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is, to the URL that was named, whatever proxy the environment names."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with serving() as (url, posted):
        Webhook(f"{url}/take/204?token=t").deliver(note := signed(4))
    assert posted == [("/take/204?token=t", "text/plain; charset=utf-8", note)]


@pytest.mark.parametrize("status", [302, 404, 500])
def test_a_webhook_that_does_not_take_it_is_a_fault(status: int) -> None:
    """A redirect is not followed; what was not taken is not delivered."""
    with serving() as (url, posted):
        with pytest.raises(PlaceError, match=str(status)) as refused:
            Webhook(f"{url}/secret-path/{status}").deliver(signed(4))
        assert len(posted) == 1
    assert "secret-path" not in str(refused.value)


@pytest.mark.parametrize("place", [Syslog("tcp:127.0.0.1:1"), Webhook("http://127.0.0.1:1/x")])
def test_nobody_there_is_a_fault(place: Syslog | Webhook) -> None:
    """With the place's name and what to do; nothing else leaves."""
    with pytest.raises(PlaceError, match=place.name) as refused:
        place.deliver(signed(4))
    assert refused.value.fix


def test_no_answer_in_http_is_a_fault() -> None:
    """Whatever it says."""
    with socket.create_server(("127.0.0.1", 0)) as odd:

        def answer() -> None:
            stream, _ = odd.accept()
            with stream:
                stream.recv(65536)
                stream.sendall(b"220 mail.example ESMTP\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(PlaceError):
            Webhook(f"http://127.0.0.1:{odd.getsockname()[1]}/").deliver(signed(4))
        thread.join()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("checkpoint_file", "relative/path"),
        ("checkpoint_syslog", "localhost"),
        ("checkpoint_syslog", "udp:localhost"),
        ("checkpoint_webhook", "ftp://example.org/"),
        ("checkpoint_webhook", "https://user@example.org/"),
        ("checkpoint_seconds", "0"),
        ("checkpoint_fil", "/x"),
    ],
)
def test_a_place_that_is_none_is_refused_at_the_start(key: str, value: str) -> None:
    """A typo must not mean that checkpoints are kept nowhere."""
    with pytest.raises(ConfigError, match=key):
        parse_config(f'[ledger]\n{key} = "{value}"'.encode())


def test_places_are_those_that_are_named() -> None:
    """None by default: the daemon dials nobody."""
    assert places_of(Ledger(), PUBLIC) == ()
    named = Ledger(
        checkpoint_file="/a/b", checkpoint_syslog="/dev/log", checkpoint_webhook="https://c/d?e"
    )
    names = [place.name for place in places_of(named, PUBLIC)]
    assert names == ["file /a/b", "syslog /dev/log", "webhook c"]
