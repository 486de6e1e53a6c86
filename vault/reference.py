"""Secret references: the names of secrets, which may be shown to anybody.

Trusted to give each secret exactly one spelling of its name, because policies permit and forbid by
it: no case folding, no percent-decoding, no Unicode, no dots that walk. A reference is
`secret://global/<name>`, or `secret://<kind>/<owner>/<name>` with the kinds device, agent, tool
and source (what is kept by others). Raises `ReferenceFormError` and never repeats the text: people
paste secrets in the wrong place.
"""

import re
from dataclasses import dataclass
from typing import Final, Self, final

from vault.errors import Code, ReferenceFormError

_PART: Final = r"[a-z0-9][a-z0-9._-]{0,62}"
_NAME: Final = re.compile(_PART)
_SCOPE: Final = re.compile(rf"global|(?:device|agent|tool|source)/{_PART}")
_ELSEWHERE: Final = "source/"
SCHEME: Final = "secret://"
_MAX: Final = 256  # the longest reference has 9 + 6 + 1 + 63 + 1 + 63 characters


@final
class SecretName(str):
    """A secret's name within its scope."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Refuse anything but the one form."""
        if not _NAME.fullmatch(text) or ".." in text:
            raise _malformed("secret name")
        return super().__new__(cls, text)


@final
class Scope(str):
    """Whose a secret is: everybody's, one device's, agent's or tool's, or another source's."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Refuse anything but the one form."""
        if not _SCOPE.fullmatch(text) or ".." in text:
            raise _malformed("scope")
        return super().__new__(cls, text)

    @property
    def source(self) -> str | None:
        """The source that keeps it, if that is not the vault."""
        return self.removeprefix(_ELSEWHERE) if self.startswith(_ELSEWHERE) else None


GLOBAL: Final = Scope("global")


@final
@dataclass(frozen=True, slots=True)
class SecretReference:
    """The full name of a secret."""

    scope: Scope
    name: SecretName

    def __str__(self) -> str:
        return f"{SCHEME}{self.scope}/{self.name}"


def parse_reference(text: str) -> SecretReference:
    """Read a reference; the inverse of `str`."""
    if len(text) > _MAX or not text.startswith(SCHEME):
        raise _malformed("secret reference")
    scope, _, name = text.removeprefix(SCHEME).rpartition("/")
    return SecretReference(Scope(scope), SecretName(name))


def _malformed(what: str) -> ReferenceFormError:
    return ReferenceFormError(
        Code.REFERENCE_MALFORMED,
        f"this is not a {what}",
        "use secret://global/NAME or secret://device|agent|tool|source/OWNER/NAME, where each part "
        "is 1 to 63 of a-z, 0-9, dot, underscore and hyphen, begins with a letter or digit, and "
        "has no two dots in a row",
    )
