"""A secret does not show."""

import copy
import ctypes
import json
import logging
import pickle
import pprint
import traceback
from pathlib import Path

import orjson
import pytest

from vault.errors import Code, SecretError
from vault.secret import Secret

VALUE = b"correct horse battery staple"


@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        ascii,
        pprint.pformat,
        "{}".format,
        "{!r:>99}".format,
        "{:>99}".format,
        "%s".__mod__,
    ],
)
def test_no_rendering_shows_the_value(show: object) -> None:
    """repr, str, format with any width, and pprint say that something is hidden, and no more."""
    assert callable(show)
    shown = show(Secret(VALUE))
    assert shown.strip() == "Secret([redacted])"


def test_inside_other_things_it_does_not_show_either(caplog: pytest.LogCaptureFixture) -> None:
    """Containers, log records and exceptions render a secret as redacted."""
    secret = Secret(VALUE)
    logging.getLogger("x").warning("got %s %r", secret, {"a": [secret]})
    trace = "".join(traceback.format_exception(ValueError(secret, {"k": secret})))
    assert "horse" not in caplog.text + trace
    assert "redacted" in caplog.text


@pytest.mark.parametrize(
    "take",
    [
        copy.copy,
        copy.deepcopy,
        lambda secret: copy.deepcopy({"a": [secret]}),
        pickle.dumps,
        lambda secret: pickle.dumps(secret, 0),
        lambda secret: secret.__getstate__(),
        lambda secret: secret.__reduce_ex__(2),
    ],
)
def test_a_secret_is_not_copied_or_pickled(take: object) -> None:
    """Copying and pickling, also from inside a container, are refused."""
    assert callable(take)
    with pytest.raises(SecretError) as refusal:
        take(Secret(VALUE))
    assert refusal.value.code is Code.SECRET_STAYS


@pytest.mark.parametrize(
    "take", [bytes, list, len, vars, hash, json.dumps, orjson.dumps, memoryview]
)
def test_no_protocol_reaches_the_value(take: object) -> None:
    """A secret is no buffer, no sequence, has no length and no attributes to walk."""
    assert callable(take)
    with pytest.raises(TypeError):
        take(Secret(VALUE))


def test_only_reveal_shows() -> None:
    """reveal() returns the value, and a copy of it."""
    source = bytearray(VALUE)
    secret = Secret(source)
    source[:] = bytes(len(source))
    assert secret.reveal() == VALUE


def test_equality_is_by_value_and_only_between_secrets() -> None:
    """Equal values are equal; a secret equals nothing that is not a secret."""
    assert Secret(VALUE) == Secret(VALUE)
    assert Secret(VALUE) != Secret(VALUE + b"!")
    assert Secret(VALUE) != Secret(b"")
    assert Secret(VALUE) != VALUE


def test_a_wiped_secret_is_gone() -> None:
    """After wiping its memory is zero, and the secret refuses to be revealed or compared."""
    secret = Secret(VALUE)
    value = secret.view()
    assert value == VALUE
    secret.wipe()
    secret.wipe()
    assert value == bytes(len(VALUE))
    for use in (secret.reveal, secret.view):
        with pytest.raises(SecretError) as refusal:
            use()
        assert refusal.value.code is Code.SECRET_WIPED
    with pytest.raises(SecretError):
        assert secret == Secret(VALUE)


def test_leaving_a_block_or_being_collected_wipes() -> None:
    """A with block wipes at its end, and so does the last reference's end."""
    with Secret(VALUE) as secret:
        first = secret.view()
        assert first == VALUE
    second = Secret(VALUE).view()
    assert first == second == bytes(len(VALUE))


def test_a_value_can_be_written_in_place() -> None:
    """What a cipher decrypts goes straight to where the secret is kept."""

    def write(place: memoryview) -> None:
        place[:] = VALUE

    assert Secret.written(len(VALUE), write).reveal() == VALUE


def _mapping_of(address: int) -> str:
    """What the kernel says of the memory at an address of this process."""
    found = False
    lines = []
    for line in Path("/proc/self/smaps").read_text().splitlines():
        head = line.split()[0]
        if "-" in head and not head.endswith(":"):
            low, high = (int(edge, 16) for edge in head.split("-"))
            found = low <= address < high
        elif found:
            lines.append(line)
    return "\n".join(lines)


def test_a_value_is_in_no_core_dump_and_not_swapped() -> None:
    """Its pages are locked (lo) and left out of core dumps (dd), says the kernel."""
    secret = Secret(VALUE)
    with secret.view() as view:
        address = ctypes.addressof(ctypes.c_char.from_buffer(view))
    said = _mapping_of(address)
    flags = said.partition("VmFlags:")[2].split()
    assert "dd" in flags
    assert "lo" in flags
    secret.wipe()


def test_a_refused_argument_leaves_no_noise() -> None:
    """A value of the wrong type is a TypeError, and collecting the half-made secret is silent."""
    with pytest.raises(TypeError):
        Secret("text")  # type: ignore[arg-type]
