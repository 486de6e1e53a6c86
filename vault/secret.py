"""A secret value in hand.

Trusted not to show the value by accident: not by repr, str, format, logging, pickle, copy,
iteration, `vars` or an attribute that a serialiser would walk. `reveal()` is the one way to it, so
every use can be found by searching for that word.

What wiping is worth. `wipe()` overwrites this object's own buffer, and leaving a `with` block or
being collected does so too. It cannot reach the copies Python made before: the bytes the value was
made from, those `reveal()` returned, freed memory the allocator has not reused, swap, or a core
dump. It shortens how long a secret lies about; it is no promise that none is left.
"""

import hmac
from typing import NoReturn, Self, final

from vault.errors import Code, SecretError


@final
class Secret:
    """Bytes that do not show."""

    __hash__ = None  # type: ignore[assignment]  # a hash would be a lasting trace of the value
    __slots__ = ("__buffer", "__wiped")

    def __init__(self, value: bytes | bytearray) -> None:
        self.__buffer = bytearray(value)
        self.__wiped = False

    def reveal(self) -> bytes:
        """Return a copy of the value, which can then not be wiped any more."""
        if self.__wiped:
            raise SecretError(
                Code.SECRET_WIPED, "this secret was wiped", "resolve the secret again"
            )
        return bytes(self.__buffer)

    def wipe(self) -> None:
        """Overwrite the value here. Calling it twice is harmless."""
        self.__buffer[:] = bytes(len(self.__buffer))
        self.__wiped = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.wipe()

    def __del__(self) -> None:
        # Absent if __init__ was refused its argument.
        if hasattr(self, "_Secret__wiped"):
            self.wipe()

    def __eq__(self, other: object) -> bool:
        # Constant time for values of equal length; the length is not hidden.
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self.reveal(), other.reveal())

    def __repr__(self) -> str:
        return "Secret([redacted])"

    def __format__(self, format_spec: str) -> str:
        return repr(self)  # whatever the spec: a width would tell that there is text to pad

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        self.__refuse()

    def __getstate__(self) -> NoReturn:
        self.__refuse()

    def __copy__(self) -> NoReturn:
        self.__refuse()

    def __deepcopy__(self, memo: object) -> NoReturn:
        self.__refuse()

    def __refuse(self) -> NoReturn:
        raise SecretError(
            Code.SECRET_STAYS,
            "a secret is not copied, pickled or sent anywhere as an object",
            "pass the reference, and resolve it where the value is used",
        )
