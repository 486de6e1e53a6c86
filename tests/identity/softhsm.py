"""Tokens of SoftHSM, a PKCS #11 token in software: real ones, in a folder of the test's own."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pkcs11
from pkcs11.exceptions import PKCS11Error

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
LABEL, PIN, SO_PIN = "stockade tests", "19283746", "64738291"
CONFIGURED_BY = "SOFTHSM2_CONF"

# Run by another process: what this one has open in the module is its own.
_LIST = """
import json, sys, pkcs11
from pkcs11 import Attribute as A
token = pkcs11.lib(sys.argv[1]).get_token(token_label=sys.argv[2])
NAMES = [A.CLASS, A.LABEL, A.ID, A.PRIVATE, A.SENSITIVE, A.EXTRACTABLE, A.NEVER_EXTRACTABLE,
         A.ALWAYS_SENSITIVE, A.LOCAL, A.SIGN, A.DECRYPT, A.UNWRAP, A.DERIVE, A.MODIFIABLE]
with token.open(user_pin=sys.argv[3]) as session:
    found = []
    for key in list(session.get_objects()):
        said = {}
        for name in NAMES:
            try:
                value = key[name]
            except pkcs11.exceptions.PKCS11Error:
                continue
            said[name.name] = value.hex() if isinstance(value, bytes) else (
                value.name if hasattr(value, "name") else value)
        found.append(said)
print(json.dumps(found))
"""
_EMPTY = """
import sys, pkcs11
token = pkcs11.lib(sys.argv[1]).get_token(token_label=sys.argv[2])
with token.open(user_pin=sys.argv[3], rw=True) as session:
    for found in list(session.get_objects()):
        found.destroy()
"""
_MAKE = """
import sys, pkcs11
from pkcs11 import Attribute as A
from pkcs11.util.ec import encode_named_curve_parameters
token = pkcs11.lib(sys.argv[1]).get_token(token_label=sys.argv[2])
with token.open(user_pin=sys.argv[3], rw=True) as session:
    curve = encode_named_curve_parameters(sys.argv[6])
    parameters = session.create_domain_parameters(
        pkcs11.KeyType.EC, {A.EC_PARAMS: curve}, local=True)
    extractable = sys.argv[7] == "extractable"
    template = {A.EXTRACTABLE: extractable, A.SENSITIVE: not extractable}
    public, private = parameters.generate_keypair(
        label=sys.argv[4], id=bytes.fromhex(sys.argv[5]), store=True, private_template=template)
    if sys.argv[7] == "alone":
        public.destroy()
    if sys.argv[7] == "swapped":
        other, _ = parameters.generate_keypair(
            label="other", id=b"other", store=True, private_template=template)
        point = other[A.EC_POINT]
        public.destroy()
        session.create_object({A.CLASS: pkcs11.ObjectClass.PUBLIC_KEY, A.TOKEN: True,
            A.KEY_TYPE: pkcs11.KeyType.EC, A.EC_PARAMS: curve, A.EC_POINT: point,
            A.LABEL: sys.argv[4], A.ID: bytes.fromhex(sys.argv[5])})
"""


def look_again() -> None:
    """The module has what is plugged in, and its configuration, from when it was begun."""
    with contextlib.suppress(PKCS11Error):  # as it is where its only token is gone
        pkcs11.lib(str(MODULE)).reinitialize()


@dataclass(frozen=True)
class SoftToken:
    """One token, and how a process finds it."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> "SoftToken":
        """Initialises one, as an operator would."""
        made = cls(folder)
        made.configuration.write_text(
            f"directories.tokendir = {made.tokens}\nobjectstore.backend = file\nlog.level = ERROR\n"
        )
        made.remake(LABEL)
        return made

    def remake(self, label: str) -> None:
        """Another token in its place, under that label."""
        shutil.rmtree(self.tokens, ignore_errors=True)
        self.tokens.mkdir(parents=True)
        pins = ["--pin", PIN, "--so-pin", SO_PIN]
        command = ["softhsm2-util", "--init-token", "--free", "--label", label, *pins]
        subprocess.run(command, env=self.environ, check=True, capture_output=True, timeout=180)

    @property
    def tokens(self) -> Path:
        """Where SoftHSM keeps what a token keeps inside."""
        return self.folder / "tokens"

    @property
    def configuration(self) -> Path:
        """SoftHSM's own."""
        return self.folder / "softhsm2.conf"

    @property
    def pin_file(self) -> Path:
        """A private file with the PIN."""
        path = self.folder / "pin"
        if not path.exists():
            path.touch(0o600)
            path.write_text(PIN + "\n")
        return path

    @property
    def environ(self) -> dict[str, str]:
        """The environment of a process that uses it."""
        return {**os.environ, CONFIGURED_BY: str(self.configuration)}

    def section(self, key: str = "token") -> str:
        """A daemon's configuration for it."""
        return (
            f'[authority]\nkey = "{key}"\nmodule = "{MODULE}"\ntoken = "{LABEL}"\n'
            f'pin_file = "{self.pin_file}"\n'
        )

    def objects(self) -> list[dict[str, object]]:
        """What is in it, with what each says of itself."""
        found: list[dict[str, object]] = json.loads(self._run(_LIST, MODULE, LABEL, PIN))
        return found

    def private_keys(self) -> list[dict[str, object]]:
        """The private keys in it."""
        return [found for found in self.objects() if found["CLASS"] == "PRIVATE_KEY"]

    def add(self, label: str, own: bytes, *, curve: str = "secp256r1", how: str = "") -> None:
        """Makes a key as somebody else would."""
        self._run(_MAKE, MODULE, LABEL, PIN, label, own.hex(), curve, how)

    def empty(self) -> None:
        """Destroys all that is in it."""
        self._run(_EMPTY, MODULE, LABEL, PIN)

    def take_away(self) -> None:
        """As if it was unplugged."""
        self.tokens.rename(self.folder / "away")

    def bring_back(self) -> None:
        """As if it was plugged in again."""
        (self.folder / "away").rename(self.tokens)

    def _run(self, program: str, *arguments: object) -> str:
        command: Sequence[str] = [sys.executable, "-c", program, *map(str, arguments)]
        done = subprocess.run(
            command, env=self.environ, check=False, capture_output=True, text=True, timeout=180
        )
        assert done.returncode == 0, done.stderr
        return done.stdout
