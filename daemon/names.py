"""Names of files as text. A name on a disk is bytes, and whoever can write there chooses them."""

import os


def as_text(name: str) -> str:
    """The name with what is no UTF-8 written out: fit for a receipt, a message, the wire."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
