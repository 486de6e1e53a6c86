"""An approver's device that is configured to say so tells of each new request of a real daemon."""

import json
import os
import subprocess
from functools import partial
from pathlib import Path

from stockade.client import Client
from stockade.credentials import load_credentials
from stockade.home import Home
from tests.promises.acting import ask, receipts, until
from tests.running import STOCKADE

HOOK = '#!/bin/sh\nprintf "%s|%s\\n" "$STOCKADE_APPROVAL_ID" "$STOCKADE_SUMMARY" >> "OUT"\n'


def has(told: Path, approval_id: str) -> bool:
    """Whether it was told of that one, and of whose it is."""
    line = f"{approval_id}|local asks for run_shell (risk 0."
    return told.exists() and line in told.read_text()


def test_the_configured_command_is_told_of_each_request_and_of_no_argument(
    owner: Client, approver_home: Home, tmp_path: Path
) -> None:
    """By `watch.toml` alone, with nobody at the watch; being told is being shown, and recorded."""
    told, hook = tmp_path / "told", tmp_path / "asked"
    hook.write_text(HOOK.replace("OUT", str(told)))
    hook.chmod(0o700)
    (approver_home.client / "watch.toml").write_text(f"command = {json.dumps([str(hook)])}\n")
    with subprocess.Popen(
        [STOCKADE, "approvals", "watch", "--json"],
        env={**os.environ, "STOCKADE_HOME": str(approver_home.config)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    ) as watch:
        try:
            for number in range(2):
                waiting = ask(owner, "run_shell", command=f"echo hush-hush {number}")
                assert until(partial(has, told, waiting.approval.approval_id))
                owner.cancel_call(waiting.call_id)
                shown = [
                    one["body"]["device"]
                    for one in receipts(owner, waiting.call_id)
                    if one["kind"] == "approval.shown"
                ]
                assert load_credentials(approver_home.client).device_id in shown
        finally:
            watch.terminate()
    assert "hush-hush" not in told.read_text()
    assert len(told.read_text().splitlines()) == 2
