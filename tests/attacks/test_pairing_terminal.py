"""The inviting person at a terminal: code, QR code, words, and a question whose answer is no."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stockade.cli.devices import qr_code
from stockade.errors import StockadeError
from stockade.home import Home
from stockade.pairing import pair
from stockade.pairing_code import parse_pairing_code
from tests.attacks.brief import until
from tests.pane import Pane
from tests.running import STOCKADE, RunningDaemon

INVITE = [str(STOCKADE), "devices", "invite", "--name", "phone", "--group", "callers", "--qr"]
QUESTION = "Does the new device show exactly these words? [y/N]"
SECONDS = 90


def code_on(screen: str) -> str:
    """The pairing code as a person would copy it: the terminal may have cut it into rows."""
    _, _, rest = screen.partition("stockade-pair-1:")
    first, second, *_ = rest.splitlines()
    return f"stockade-pair-1:{first}{second}"


@pytest.mark.parametrize("keys", [("y", "Enter"), ("Enter",), ("n", "Enter")], ids="-".join)
def test_a_plain_yes_to_the_words_pairs_and_nothing_else_does(
    shared_daemon: RunningDaemon, tmp_path: Path, keys: tuple[str, ...]
) -> None:
    """What was typed before the question is no answer to it, and neither is enter alone."""
    device, shown = Home.under(tmp_path / "phone"), list[str]()
    environment = {"STOCKADE_HOME": str(shared_daemon.home.config)}
    with Pane(INVITE, environment, rows=50) as terminal, ThreadPoolExecutor(1) as threads:
        screen = terminal.expect("waiting for the device")
        code = code_on(screen)
        assert qr_code(parse_pairing_code(code).text()) in screen
        terminal.press("y", "Enter")
        until(lambda: "\ny\n" in terminal.screen())  # the terminal has it
        phone = threads.submit(pair, code, device.client, waiting=shown.append)
        screen = terminal.expect(QUESTION, "knows the code, for phone.")
        until(lambda: bool(shown))
        assert f"  {shown[0]}\n" in screen
        assert not phone.done()
        terminal.press(*keys)
        if keys[0] == "y":
            terminal.expect("paired phone")
            assert phone.result(SECONDS).name == "phone"
            assert terminal.ended() == 0
        else:
            terminal.expect("the pairing was refused; nothing was changed")
            with pytest.raises(StockadeError) as refused:
                phone.result(SECONDS)
            assert refused.value.reason == "PAIRING_REFUSED"
            assert terminal.ended() != 0
            assert not device.client.exists()
