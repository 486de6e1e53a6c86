"""What may leave the store: StoreFault, with a reason code and what to do about it.

Its text never repeats a statement or its parameters: they carry arguments and sealed secrets.
"""

from enum import StrEnum
from typing import Literal, TypeVar

from daemon.errors import Unavailable

Code = Literal[
    "STORE_FULL",
    "STORE_READ_ONLY",
    "STORE_CORRUPT",
    "STORE_BUSY",
    "STORE_IO",
    "STORE_NEWER",
    "STORE_CONFLICT",
    "STORE_CLOSED",
    "LEDGER_KEY_UNAVAILABLE",
]


class StoreFault(Unavailable):
    """The store could not do it; nothing of it was done.

    STORE_CONFLICT alone blames the operation (it broke a constraint); every other code blames the
    store, and the same operation may succeed later.
    """

    code: Code

    def __init__(self, code: Code, message: str, fix: str = "") -> None:
        super().__init__(message, code=code, fix=fix)

    @property
    def blames_operation(self) -> bool:
        """Whether only the operation that met it is at fault."""
        return self.code == "STORE_CONFLICT"

    def again(self) -> "StoreFault":
        """The same fault for one more caller: an exception object belongs to one traceback."""
        return StoreFault(self.code, self.message, self.fix)


_State = TypeVar("_State", bound=StrEnum)


def stored_state(kind: type[_State], value: str) -> _State:
    """A state read from the database; STORE_CORRUPT if this version never wrote it."""
    try:
        return kind(value)
    except ValueError as error:
        raise StoreFault(
            "STORE_CORRUPT",
            f"the database holds a {kind.__name__} that this version does not know",
            "restore the data directory from a backup",
        ) from error
