"""Keys in a real PKCS #11 token (SoftHSM): what is made, what is taken up, what is refused."""

import copy
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given
from hypothesis import strategies as st

from identity.authority import Authority
from identity.credential import VARIABLE, load_credential
from identity.errors import Code, IdentityError, KeyFileError, TokenError
from identity.keyuri import KeyUri
from identity.names import DeviceId
from identity.token import Token
from identity.tokenkey import TokenKey
from tests.identity import making
from tests.identity.softhsm import CONFIGURED_BY, LABEL, MODULE, PIN, SoftToken
from tests.running import make_directory

URI = KeyUri(LABEL, "the authority", b"\x01\x02")
ECDSA = ec.ECDSA(hashes.SHA256())


@pytest.fixture
def soft(monkeypatch: pytest.MonkeyPatch) -> Iterator[SoftToken]:
    """A token, and this process set up to find it."""
    folder = make_directory()
    made = SoftToken.make(folder)
    monkeypatch.setenv(CONFIGURED_BY, str(made.configuration))
    yield made
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def token(soft: SoftToken) -> Token:
    """The same, as the daemon opens it."""
    assert soft.tokens.is_dir()
    return Token(MODULE, LABEL, lambda: PIN)


def refused(act: Callable[[], object]) -> IdentityError:
    """Why it was."""
    with pytest.raises(IdentityError) as caught:
        act()
    assert caught.value.fix
    return caught.value


def test_a_key_is_made_so_that_nobody_gets_it(soft: SoftToken, token: Token) -> None:
    """Private, sensitive from the first, never extractable, made inside, for signing alone."""
    token.make(URI)
    (private,) = soft.private_keys()
    expected = {
        "LABEL": URI.label,
        "ID": URI.id.hex(),
        "PRIVATE": True,
        "SENSITIVE": True,
        "ALWAYS_SENSITIVE": True,
        "EXTRACTABLE": False,
        "NEVER_EXTRACTABLE": True,
        "LOCAL": True,
        "SIGN": True,
        "DECRYPT": False,
        "UNWRAP": False,
        "DERIVE": False,
        "MODIFIABLE": False,
    }
    assert {name: private.get(name) for name in expected} == expected


def test_an_authority_signs_with_a_key_in_the_token(token: Token) -> None:
    """Its certificates verify, and nothing can tell them from those of a key in a file."""
    key = token.make(URI)
    made = Authority.create(making.DOMAIN, making.NOW, key)
    again = Authority.of(token.key(URI), made.cert_pem)
    assert again.spki_sha256 == made.spki_sha256
    for authority in (made, again):
        request = making.csr(making.p256())
        own = DeviceId.generate()
        issued = authority.issue_device(request, own, making.NOW, timedelta(hours=1))
        certificate = x509.load_pem_x509_certificate(issued.pem)
        certificate.verify_directly_issued_by(authority.certificate)


def test_a_key_in_a_token_cannot_be_read(token: Token) -> None:
    """It signs by ECDSA with SHA-256, and refuses all else that a private key can be asked for."""
    key = token.make(URI)
    assert copy.copy(key) is copy.deepcopy(key) is key
    assert (key.key_size, key.curve.name) == (256, "secp256r1")
    asks: tuple[Callable[[], object], ...] = (
        key.private_numbers,
        lambda: key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
        lambda: key.exchange(ec.ECDH(), making.p256().public_key()),
        lambda: key.sign(b"x", ec.ECDSA(hashes.SHA384())),
        lambda: Authority.create(making.DOMAIN, making.NOW, key).key_pem,
    )
    for ask in asks:
        assert refused(ask).code is Code.TOKEN_FAILED


def test_many_threads_sign_with_one_token(token: Token) -> None:
    """One after the other: no signature is lost, mixed up, or somebody else's."""
    key, failed = token.make(URI), list[BaseException]()

    def sign(own: int) -> None:
        try:
            for number in range(25):
                text = f"{own}/{number}".encode()
                key.public_key().verify(key.sign(text, ECDSA), text, ECDSA)
        except (InvalidSignature, IdentityError) as error:
            failed.append(error)

    threads = [threading.Thread(target=sign, args=(own,)) for own in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


UNFIT: dict[str, tuple[str, str]] = {
    "extractable": ("secp256r1", "extractable"),
    "of another curve": ("secp384r1", ""),
    "without its public key": ("secp256r1", "alone"),
    "beside another's public key": ("secp256r1", "swapped"),
}


@pytest.mark.parametrize("which", UNFIT)
def test_a_key_that_is_not_fit_is_not_taken_up(soft: SoftToken, token: Token, which: str) -> None:
    """What the token would give away, or what is not what it seems, signs no certificate."""
    curve, how = UNFIT[which]
    soft.add(URI.label, URI.id, curve=curve, how=how)
    assert refused(lambda: token.key(URI)).code is Code.TOKEN_KEY_UNFIT


def test_two_keys_of_one_name_are_none(soft: SoftToken, token: Token) -> None:
    """Which of two would sign is nobody's guess."""
    token.make(URI)
    soft.add(URI.label, URI.id)
    assert refused(lambda: token.key(URI)).code is Code.TOKEN_KEY_UNFIT


def test_a_destroyed_key_is_gone(soft: SoftToken, token: Token) -> None:
    """Both halves of it, and no other key; destroying it again is no error."""
    other = KeyUri(LABEL, URI.label, b"\x03")
    key, _ = token.make(URI), token.make(other)
    for _ in range(2):
        token.destroy(URI)
    assert {found["ID"] for found in soft.objects()} == {other.id.hex()}
    assert refused(lambda: token.key(URI)).code is Code.TOKEN_KEY_ABSENT
    assert refused(lambda: key.sign(b"x", ECDSA)).code is Code.TOKEN_KEY_ABSENT


def test_a_token_that_comes_back_signs_again(soft: SoftToken, token: Token) -> None:
    """While it is away it is said to be; then the same key signs, without another start."""
    key = token.make(URI)
    soft.take_away()
    assert refused(lambda: key.sign(b"x", ECDSA)).code is Code.TOKEN_FAILED
    soft.bring_back()
    key.public_key().verify(key.sign(b"x", ECDSA), b"x", ECDSA)


def test_a_pin_is_asked_for_and_not_kept(soft: SoftToken) -> None:
    """A wrong one is refused by name; the right one, written meanwhile, is used the next time."""
    assert soft.tokens.is_dir()
    pins = ["00000000"]
    token = Token(MODULE, LABEL, lambda: pins[-1])
    refusal = refused(lambda: token.make(URI))
    assert refusal.code is Code.TOKEN_PIN_REFUSED
    assert "00000000" not in str(refusal)
    pins.append(PIN)
    assert isinstance(token.make(URI), TokenKey)
    assert not any(PIN in repr(value) for value in vars(token).values())


def test_a_module_that_cannot_be_used_is_named(soft: SoftToken, tmp_path: Path) -> None:
    """Missing, no library, no PKCS #11, or writable by others, who would be in this process."""
    copied = soft.folder / "module.so"
    shutil.copyfile(MODULE.resolve(), copied)
    copied.chmod(0o666)
    text, shared = tmp_path / "text.so", soft.folder / "shared"
    text.write_text("not a library")
    shared.mkdir()
    shared.chmod(0o777)
    shutil.copyfile(MODULE.resolve(), shared / "module.so")
    foreign = next(Path("/usr/lib").glob("*/libseccomp.so.2"))
    for module in (tmp_path / "absent.so", text, copied, shared / "module.so", foreign, tmp_path):
        refusal = refused(lambda at=module: Token(at, LABEL, lambda: PIN).key(URI))  # type: ignore[misc]
        assert refusal.code is Code.TOKEN_MODULE_UNUSABLE, module
        assert str(module) in refusal.message


def test_a_token_that_is_not_there_is_named(soft: SoftToken) -> None:
    """By its label, with the module that does not have it."""
    assert soft.tokens.is_dir()
    refusal = refused(lambda: Token(MODULE, "another", lambda: PIN).key(URI))
    assert refusal.code is Code.TOKEN_ABSENT
    assert "another" in refusal.message


@given(
    st.text(min_size=1, max_size=32).filter(str.isprintable),
    st.text(min_size=1, max_size=64),
    st.binary(min_size=1, max_size=32),
)
def test_a_uri_names_the_key_it_was_made_of(token: str, label: str, own: bytes) -> None:
    """Whatever is in the labels: it is one line of ASCII, and read back it is the same."""
    uri = KeyUri(token, label, own)
    assert uri.encode().isascii()
    assert uri.encode().count(b"\n") == 1
    assert KeyUri.parse(uri.encode()) == uri


@given(st.binary(max_size=80) | st.binary(max_size=60).map(b"pkcs11:token=a;object=".__add__))
def test_whatever_is_no_uri_is_refused(data: bytes) -> None:
    """Any bytes: a URI in its one form, or a refusal."""
    try:
        uri = KeyUri.parse(data)
    except TokenError:
        return
    assert KeyUri.parse(uri.encode()) == uri


def test_a_credential_is_read_from_the_systemds_folder_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a plain name, not through a link, and only if nobody else could have had it."""
    monkeypatch.delenv(VARIABLE, raising=False)
    (tmp_path / "pin").write_text(PIN)
    (tmp_path / "pin").chmod(0o400)
    with pytest.raises(KeyFileError):
        load_credential("pin")
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert load_credential("pin") == PIN.encode()
    (tmp_path / "link").symlink_to(tmp_path / "pin")
    (tmp_path / "open").write_text(PIN)
    (tmp_path / "open").chmod(0o404)
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo", 0o600)
    for name in ("link", "open", "folder", "fifo", "absent", "../pin", "", "."):
        with pytest.raises(KeyFileError) as caught:
            load_credential(name)
        assert caught.value.code is Code.CREDENTIAL_UNUSABLE
        assert caught.value.fix


def test_an_ed25519_key_is_made_and_signs_inside(soft: SoftToken, token: Token) -> None:
    """As fit as the authority's: what it signs verifies, another one does not stand in for it."""
    key = token.make_ed25519(URI)
    (private,) = soft.private_keys()
    wanted = {"PRIVATE": True, "SENSITIVE": True, "EXTRACTABLE": False, "NEVER_EXTRACTABLE": True}
    assert {name: private.get(name) for name in wanted} == wanted
    public = ed25519.Ed25519PublicKey.from_public_bytes(key.public)
    again = Token(MODULE, LABEL, lambda: PIN).ed25519(URI)
    assert again.public == key.public
    for one in (key, again):
        public.verify(one.sign(b"said"), b"said")
    with pytest.raises(InvalidSignature):
        public.verify(key.sign(b"said"), b"other")
    assert refused(lambda: token.key(URI)).code is Code.TOKEN_KEY_UNFIT
    token.destroy(URI)
    assert soft.objects() == []
    assert refused(lambda: key.sign(b"said")).code is Code.TOKEN_KEY_ABSENT


@pytest.mark.parametrize("how", ["extractable", "alone", ""])
def test_another_key_is_not_taken_up_for_an_ed25519_key(
    soft: SoftToken, token: Token, how: str
) -> None:
    """One that could be read, without its public half, or on another curve."""
    soft.add(URI.label, URI.id, how=how)
    assert refused(lambda: token.ed25519(URI)).code is Code.TOKEN_KEY_UNFIT
