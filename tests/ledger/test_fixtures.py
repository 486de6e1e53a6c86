"""The formats, byte for byte. The files in fixtures/ are never regenerated: if a test here fails,
the code is wrong, or the format needs a new version.
"""

import base64
import hashlib
import json
from pathlib import Path

import nacl.encoding
import nacl.signing
import pytest
from cryptography.hazmat.primitives.asymmetric import mldsa

from ledger.chain import Chain
from ledger.checkpoint import parse_checkpoint
from ledger.export import read_lines
from ledger.keys import encode_public, parse_public
from ledger.lineage import parse_lineage
from ledger.verify import verify

from .specimen import KEYS, START_MS, extend, lines_of, uuid7

FIXTURES = Path(__file__).parent / "fixtures"
LEDGER = (FIXTURES / "ledger-v1.ndjson").read_bytes()
PUBLIC_FILE = (FIXTURES / "ledger-v1.pub").read_bytes()
NOTE = (FIXTURES / "checkpoint-v1.note").read_bytes()
ROTATED = (FIXTURES / "ledger-rotated-v1.ndjson").read_bytes()
ROTATED_PUBLIC = (FIXTURES / "ledger-rotated-v1.pub").read_bytes()
ROTATED_NOTE = (FIXTURES / "checkpoint-rotated-v1.note").read_bytes()
REDACTED = (FIXTURES / "evidence-redacted-v1.ndjson").read_bytes()
OUTPUT = (FIXTURES / "evidence-output-v1.ndjson").read_bytes()
DIGESTS = [
    "af5e7dbe52179e23a2612f4d1dc95c70c1a8d78d91554ef584a7c3a1765166e5",
    "fd5a58255eb888618f3ffa99eeac420fcf4775d9595c9ec48381e508d1a103bf",
    "8ab04185a1fb6ece0a46139508efa58eaafc770e08d1e982a7545a679fd7ae5a",
    "33a87e97258ff1173386d9b77e4d45020f3cac1ddc252f180a8bb077b799b01e",
]
ROOT = "4254cf716e754258e0009eacf4d351249e74bc88197d9b47ab533310bdc9b794"


@pytest.mark.parametrize(
    ("data", "digest"),
    [
        (LEDGER, "7796bc2d1bbd8e57f8ea0e8343004a8c996d1b47e900bddb942382f09dd639bb"),
        (PUBLIC_FILE, "e9240f031f424bf94c1f0adb55928f80e2e26d58bf9a3446059724fba7b5dcf6"),
        (NOTE, "df711a5baf5165d014e9ccf3481088121d8997b86d89f7edcf169a968017c270"),
        (ROTATED, "5e3d099136f44566cb9a3cb9f4d12dfd8d99c0a4cd6fe9dc76f578030aaa151e"),
        (ROTATED_PUBLIC, "98ad8c187014b8a9813531e251ff8400b35afdeb7448ae8345ec675de7d1b85b"),
        (ROTATED_NOTE, "0d98acba1d2c128de970a2d53239da03037c04019e8c8ddf5c8fce175c3c65b0"),
        (OUTPUT, "47a56a870ebe1999ea7b559f8b07b229fc288d69ce00b96f3cab3f2c7a9ec948"),
        (REDACTED, "6513bfe261a6fc75ab6f3c1b83ee65d6eb2e7d4d0509af953ce8b90958c32c9e"),
    ],
)
def test_the_fixtures_are_the_old_ones(data: bytes, digest: str) -> None:
    """What was written under version 1 stays as it was written."""
    assert hashlib.sha256(data).hexdigest() == digest


def test_the_old_ledger_still_verifies() -> None:
    """A version 1 ledger verifies with its old key file and checkpoint, for ever."""
    keys = parse_public(PUBLIC_FILE)
    with (FIXTURES / "ledger-v1.ndjson").open("rb") as stream:
        result = verify(read_lines(stream), keys, parse_checkpoint(NOTE, keys))
    assert (result.count, result.covered, result.root.hex()) == (4, 4, ROOT)


def test_a_ledger_whose_keys_were_rotated_still_verifies() -> None:
    """By the first keys, which were pinned before; its checkpoint by the keys that followed."""
    keys, lines = parse_public(PUBLIC_FILE), ROTATED.splitlines(keepends=True)
    lineage = parse_lineage(ROTATED_PUBLIC)
    result = verify(lines, keys, parse_checkpoint(ROTATED_NOTE, lineage))
    assert (result.count, result.covered, result.keys) == (10, 10, lineage)
    assert lineage.first == keys
    assert [one.sequence for one in lineage.rotations] == [4, 8]


def test_a_rotation_by_hand() -> None:
    """The three signatures are over the receipt without them, behind a name and a NUL."""
    first, second, rotation = ROTATED_PUBLIC.splitlines(keepends=True)[:3]
    receipt = json.loads(rotation)["receipt"]
    body = receipt["body"]
    assert body["from"].encode() == first + second
    signatures = {name: base64.b64decode(text) for name, text in body.pop("signatures").items()}
    text = json.dumps(receipt, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    name = b"stockade.ledger/key-rotation/v1"
    message = name + b"\x00" + text.encode()
    new = parse_public(body["to"].encode())
    nacl.signing.VerifyKey(new.ed25519).verify(message, signatures["to_ed25519"])
    for keys, which in ((parse_public(PUBLIC_FILE), "from"), (new, "to")):
        key = mldsa.MLDSA65PublicKey.from_public_bytes(keys.mldsa65)
        key.verify(signatures[f"{which}_ml_dsa_65"], message, name)


def test_the_same_input_still_gives_the_same_bytes() -> None:
    """Keys, receipts and signatures written today are those of version 1, byte for byte."""
    chain = Chain("alpha", KEYS.signer(), None)
    entries = extend(chain, 3)
    body = {"\ue000": 1, "\U00010000": 2}
    entries.append(chain.append("clock.behind", body, receipt_id=uuid7(3), now_ms=START_MS + 1))
    assert b"".join(lines_of(entries)) == LEDGER
    assert encode_public(KEYS.public()) == PUBLIC_FILE


def test_the_format_by_hand() -> None:
    """Digest, chain, signature and root follow from the bytes of the file with a hash alone."""
    key = nacl.signing.VerifyKey(parse_public(PUBLIC_FILE).ed25519)
    previous, leaves = "0" * 64, []
    for line, expected in zip(LEDGER.splitlines(), DIGESTS, strict=True):
        receipt, _, signature = line[len(b'{"digest":"","receipt":') + 64 :].rpartition(b',"sig":')
        digest = hashlib.sha256(b"stockade.ledger/receipt/v1\x00" + receipt).digest()
        assert digest.hex() == expected
        assert f'"prev":"{previous}"'.encode() in receipt
        blob = nacl.encoding.Base64Encoder.decode(signature.strip(b'"}'))
        key.verify(b"stockade.ledger/receipt-signature/v1\x00" + digest, blob)
        previous = digest.hex()
        leaves.append(hashlib.sha256(b"\x00" + digest).digest())
    left, right = (hashlib.sha256(b"\x01" + leaves[at] + leaves[at + 1]).digest() for at in (0, 2))
    assert hashlib.sha256(b"\x01" + left + right).hexdigest() == ROOT
