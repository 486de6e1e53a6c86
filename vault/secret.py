"""A secret value in hand.

Trusted not to show the value by accident: not by repr, str, format, logging, pickle, copy,
iteration, `vars` or an attribute that a serialiser would walk. `reveal()` and `view()` are the only
ways to it, so every use can be found by searching for those words.

The value lies in memory of its own (`vault.pages`): locked, in no core dump. `wipe()` overwrites it
there, and leaving a `with` block or being collected does so too. It cannot reach the copies that
were made of it: what `reveal()` returned (overwrite that with `vault.burn`), and what a library
that was given the value made of it.
"""

import hmac
from collections.abc import Callable
from typing import NoReturn, Self, final

from vault.errors import Code, SecretError
from vault.pages import Page


@final
class Secret:
    """Bytes that do not show."""

    __hash__ = None  # type: ignore[assignment]  # a hash would be a lasting trace of the value
    __slots__ = ("__page", "__wiped")

    def __init__(self, value: bytes | bytearray | memoryview) -> None:
        self.__page = Page.holding(value)
        self.__wiped = False

    @classmethod
    def written(cls, size: int, write: Callable[[memoryview], object]) -> Self:
        """A value of so many bytes that `write` puts in its place; no copy of it is made here."""
        made = cls(bytes(size))
        with made.view() as place:
            write(place)
        return made

    def reveal(self) -> bytes:
        """Return a copy of the value; it is the caller's to overwrite (`vault.burn`)."""
        with self.view() as value:
            return bytes(value)

    def view(self) -> memoryview:
        """Return the value itself, which is zero once the secret is wiped."""
        if self.__wiped:
            raise SecretError(
                Code.SECRET_WIPED, "this secret was wiped", "resolve the secret again"
            )
        return self.__page.view()

    def wipe(self) -> None:
        """Overwrite the value here. Calling it twice is harmless."""
        self.__wiped = True
        self.__page.wipe()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.wipe()

    def __eq__(self, other: object) -> bool:
        # Constant time for values of equal length; the length is not hidden.
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self.view(), other.view())

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
