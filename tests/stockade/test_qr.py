"""The pairing code as a QR code."""

import io

import segno

from stockade.cli.devices import qr_code
from stockade.pairing_code import PairingCode, parse_pairing_code

CODE = PairingCode("127.0.0.1:53655", bytes(range(32)), bytes(range(16)))


def test_a_qr_code_fits_a_small_terminal() -> None:
    """It fits 80 columns and 24 lines with room for the prompt."""
    lines = qr_code(CODE.text()).splitlines()
    assert len(lines) <= 22
    assert max(map(len, lines)) <= 78
    assert set("".join(lines)) <= set("█▀▄ ")


def test_the_longest_address_still_fits_the_width() -> None:
    """An address of the greatest length gives a larger code that is still no wider than 80."""
    longest = PairingCode("h" * 200 + ":65535", bytes(32), bytes(16))
    assert max(map(len, qr_code(longest.text()).splitlines())) <= 80


def test_what_it_holds_is_the_code() -> None:
    """The code in capitals, which is what is encoded, is the same code."""
    encoded = segno.make_qr(CODE.text().upper(), error="l")
    assert encoded.mode == "alphanumeric"
    assert parse_pairing_code(CODE.text().upper()) == CODE
    shown = io.StringIO()
    encoded.terminal(out=shown, compact=True, border=2)
    assert qr_code(CODE.text()) == shown.getvalue().rstrip("\n")
