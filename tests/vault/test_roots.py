"""The roots that are neither a keychain nor a plain file."""

import os
from pathlib import Path

import nacl.pwhash.argon2id
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from tests.identity.softhsm import LABEL, MODULE, PIN, SoftToken, look_again
from vault.errors import Code, RootError
from vault.passphrase import Cost, open_under, seal_under
from vault.passphraseroot import PassphraseRoot
from vault.rootkey import generate_root, parse_root
from vault.secret import Secret
from vault.supplied import SuppliedRoot
from vault.tokenroot import TokenRoot

WORDS = b"correct horse battery staple"
CHEAP = Cost(memory_kib=19 * 1024, passes=2, lanes=1)


def refused(act: object) -> RootError:
    assert callable(act)
    with pytest.raises(RootError) as refusal:
        act()
    assert refusal.value.fix
    return refusal.value


def under(path: Path, words: bytes | None = WORDS) -> PassphraseRoot:
    return PassphraseRoot(path, lambda: None if words is None else Secret(words), CHEAP)


def test_the_sealed_form_is_frozen() -> None:
    """These bytes, sealed under this passphrase with these numbers, are opened for ever."""
    fixture = Path(__file__).with_name("fixtures") / "passphrase-v1.bin"
    counter = iter(range(100))
    made = seal_under(
        Secret(WORDS), b"TEST", b"content", CHEAP, lambda n: bytes([next(counter)]) * n
    )
    assert made == fixture.read_bytes()
    assert open_under(Secret(WORDS), b"TEST", fixture.read_bytes()).reveal() == b"content"


def test_the_sealed_form_is_argon2id_and_aes() -> None:
    """Opened by the description alone, with the Argon2id of another library."""
    sealed = (Path(__file__).with_name("fixtures") / "passphrase-v1.bin").read_bytes()
    head, nonce, content = sealed[:33], sealed[33:45], sealed[45:]
    kib, passes, lanes = (int.from_bytes(head[at : at + 4], "big") for at in (21, 25, 29))
    assert (head[:5], kib, passes, lanes) == (b"TEST\x01", 19 * 1024, 2, 1)
    key = nacl.pwhash.argon2id.kdf(32, WORDS, head[5:21], opslimit=passes, memlimit=kib * 1024)
    assert AESGCM(key).decrypt(nonce, content, head) == b"content"


@given(st.integers(0, 10_000))
def test_a_flipped_bit_is_refused(number: int) -> None:
    """Every byte is authenticated, the salt and the cost too."""
    good = (Path(__file__).with_name("fixtures") / "passphrase-v1.bin").read_bytes()
    bit = number % (len(good) * 8)
    bad = bytearray(good)
    bad[bit // 8] ^= 1 << bit % 8
    error = refused(lambda: open_under(Secret(WORDS), b"TEST", bytes(bad)))
    assert error.code in (Code.PASSPHRASE_WRONG, Code.PASSPHRASE_COST, Code.ROOT_MALFORMED)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(garbage: bytes) -> None:
    """What is too short, or of another form, is refused before any work is done for it."""
    assert refused(lambda: open_under(Secret(WORDS), b"TEST", garbage)).code is Code.ROOT_MALFORMED


@pytest.mark.parametrize(
    "numbers", [(1024, 3, 4), (2**31, 3, 4), (65536, 1, 4), (65536, 10**6, 4), (65536, 3, 0)]
)
def test_a_cost_out_of_bounds_is_refused(numbers: tuple[int, int, int]) -> None:
    """Neither a cost that makes guessing cheap nor one that would exhaust the machine."""
    assert refused(lambda: Cost(*numbers)).code is Code.PASSPHRASE_COST


def test_the_default_cost_is_the_recommended_one() -> None:
    """RFC 9106, section 4: 64 MiB, three passes, four lanes."""
    assert Cost() == Cost(memory_kib=65_536, passes=3, lanes=4)


def test_a_passphrase_root_is_made_once_and_opened_again(tmp_path: Path) -> None:
    """The same root comes back; the file does not hold it, and is nobody else's to read."""
    root = under(tmp_path / "root")
    made = root.create()
    assert root.load().key_id == made.key_id
    assert refused(root.create).code is Code.ROOT_EXISTS
    content = root.path.read_bytes()
    assert b"stockade-root" not in content
    assert root.path.stat().st_mode & 0o777 == 0o600
    assert str(root.path) in root.describe()


def test_without_the_passphrase_the_root_is_locked(tmp_path: Path) -> None:
    """Not given, or a wrong one: refused, with the command that mends it; and nothing changes."""
    path = tmp_path / "root"
    assert refused(under(path, None).load).code is Code.ROOT_ABSENT
    made = under(path).create()
    locked = refused(under(path, None).load)
    assert (locked.code, "secrets unlock" in locked.fix) == (Code.ROOT_LOCKED, True)
    wrong = refused(under(path, b"another passphrase").load)
    assert wrong.code is Code.PASSPHRASE_WRONG
    assert "another" not in str(wrong) + wrong.fix
    assert under(path).load().key_id == made.key_id


@pytest.mark.parametrize("words", [b"", b"hunter2", b"x" * 1025])
def test_a_passphrase_that_will_not_do_is_refused(tmp_path: Path, words: bytes) -> None:
    """Too short to resist guessing, or too long: no root is made."""
    assert refused(under(tmp_path / "root", words).create).code is Code.PASSPHRASE_LENGTH
    assert list(tmp_path.iterdir()) == []


def test_a_removed_root_is_gone(tmp_path: Path) -> None:
    """The file goes; removing what is not there is no error."""
    root = under(tmp_path / "root")
    root.create()
    root.remove()
    root.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_supplied_root_is_taken_as_it_is() -> None:
    """Loading and creating give the one that is supplied; it is not removed from here."""
    stored = generate_root(os.urandom)
    source = SuppliedRoot("credential x", "LoadCredential", lambda: bytes(stored.encode()))
    assert source.load().key_id == source.create().key_id == parse_root(stored.encode()).key_id
    assert refused(source.remove).code is Code.ROOT_KEPT_ELSEWHERE
    assert stored not in repr(source) + source.describe()


def test_a_supplied_root_that_is_none_is_refused() -> None:
    """Any other bytes are not taken for one."""
    source = SuppliedRoot("credential x", "LoadCredential", lambda: b"my password, for example")
    error = refused(source.load)
    assert error.code is Code.ROOT_MALFORMED
    assert "password" not in str(error)


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SoftToken:
    made = SoftToken.make(tmp_path)
    for name, value in made.environ.items():
        monkeypatch.setenv(name, value)
    look_again()
    return made


def in_token(token: SoftToken, *, pin: str = PIN, label: str = LABEL) -> TokenRoot:
    return TokenRoot(token.folder / "root", MODULE, label, "stockade-vault", lambda: pin)


def test_a_root_in_a_token(token: SoftToken) -> None:
    """The token's key seals it, is not extractable, and goes with the root."""
    root = in_token(token)
    made = root.create()
    assert root.load().key_id == made.key_id
    (key,) = token.objects()
    assert (key["CLASS"], key["LABEL"]) == ("SECRET_KEY", "stockade-vault")
    assert (key["SENSITIVE"], key["EXTRACTABLE"], key["PRIVATE"]) == (True, False, True)
    assert b"stockade-root" not in root.path.read_bytes()
    assert refused(root.create).code is Code.ROOT_EXISTS
    root.remove()
    assert token.objects() == []
    assert not root.path.exists()


def test_a_token_that_is_away_gives_no_root(token: SoftToken) -> None:
    """Unplugged, another PIN, another label, its key destroyed: refused; back again: it works."""
    root = in_token(token)
    made = root.create()
    token.take_away()
    look_again()
    assert refused(root.load).code in (Code.TOKEN_UNUSABLE, Code.TOKEN_FAILED)
    token.bring_back()
    assert root.load().key_id == made.key_id
    wrong = refused(in_token(token, pin="00000000").load)
    assert wrong.code is Code.TOKEN_FAILED
    assert "00000000" not in str(wrong)
    assert refused(in_token(token, label="other").load).code is Code.TOKEN_UNUSABLE
    token.empty()
    look_again()
    assert refused(root.load).code is Code.ROOT_ABSENT


def test_a_changed_file_is_refused(token: SoftToken) -> None:
    """The token does not open what it did not seal."""
    root = in_token(token)
    root.create()
    content = bytearray(root.path.read_bytes())
    content[-1] ^= 1
    root.path.write_bytes(content)
    assert refused(root.load).code is Code.TOKEN_FAILED


def test_a_module_that_others_could_write_is_not_loaded(token: SoftToken) -> None:
    """A library in a place that anybody may write is code of anybody."""
    module = token.folder / "module.so"
    module.write_bytes(MODULE.read_bytes())
    module.chmod(0o777)
    root = TokenRoot(token.folder / "root", module, LABEL, "stockade-vault", lambda: PIN)
    error = refused(root.create)
    assert error.code is Code.TOKEN_UNUSABLE
    assert "could have written" in error.message
