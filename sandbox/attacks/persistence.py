"""Attacks on later: what goes on after its call, or waits for the next one."""

import os
import secrets
from pathlib import Path

import anyio

from sandbox.attacks.attack import Attack, Effect, Inside, Outside, Pair
from sandbox.attacks.stage import Stage, mounted
from sandbox.protected import DEFAULT_NAMES, Keeper

_MACHINE = os.uname().machine
_WORK = "/workspace"
_PLANTED = (".git/hooks/post-commit", ".git/config", ".git/commondir", ".vscode/tasks.json",
            ".github/workflows/ci.yml", ".envrc")  # fmt: skip


async def _outlive(stage: Stage) -> Pair:
    beats = stage.folder("beats")
    inside = {"beat": "/w/inside"}
    outside = {"beat": str(beats / "outside")}

    def goes_on(name: str) -> Effect:
        async def effect(_seen: object) -> str:
            path = beats / name
            await anyio.sleep(0.5)
            size = path.stat().st_size if path.exists() else 0
            await anyio.sleep(0.5)
            later = path.stat().st_size if path.exists() else 0
            return "it was alive a second after its call" if later > size else ""

        return effect

    attack = await stage.run(
        Inside("persistence.outlive", inside, (mounted(beats, "/w", writable=True),))
    )
    did = await goes_on("inside")(attack)
    control = await stage.run(Outside("persistence.outlive", outside))
    return Pair(attack, did, control, await goes_on("outside")(control))


async def _workspace(stage: Stage) -> Pair:
    keeper = Keeper()
    attack_work, control_work = (_a_repository(stage, name) for name in ("one", "two"))
    folders = stage.tier == "gvisor"  # as for any other run: it cannot mount over a socket
    held = keeper.hold(str(attack_work), _WORK, DEFAULT_NAMES, folders=folders)
    try:
        granted = (mounted(attack_work, _WORK, writable=True), *held.mounts)
        given = {"folder": _WORK, "names": list(_PLANTED), "token": stage.token}
        attack = await stage.run(Inside("persistence.plant", given, granted))
    finally:
        keeper.release(held)
    granted = (mounted(control_work, _WORK, writable=True),)
    control = await stage.run(Inside("persistence.plant", given, granted))
    return Pair(
        attack,
        _planted(attack_work, stage.token),
        control,
        _planted(control_work, stage.token),
    )


def _a_repository(stage: Stage, name: str) -> Path:
    """What git would take for one, without hooks of its own."""
    for folder in ("", ".git", ".git/objects", ".git/refs"):
        stage.folder(f"{name}/{folder}")
    for file, text in (("HEAD", "ref: refs/heads/main\n"), ("config", "")):
        path = stage.place / name / ".git" / file
        path.write_text(text)
        path.chmod(0o666)
    return stage.place / name


def _planted(work: Path, token: str) -> str:
    found = [
        name for name in _PLANTED if (work / name).is_file() and token in (work / name).read_text()
    ]
    return f"there afterwards: {', '.join(found)}" if found else ""


async def _next_call(stage: Stage) -> Pair:
    key = secrets.randbelow(2**30) + 2**20
    leave = {"token": stage.token, "key": key, "machine": _MACHINE}
    find = {"key": key, "machine": _MACHINE}
    await stage.run(Inside("persistence.leave", leave))
    attack = await stage.run(Inside("persistence.find", find))
    await stage.run(Outside("persistence.leave", leave))
    control = await stage.run(Outside("persistence.find", find))
    return Pair(attack, await stage.says_token(attack), control, await stage.says_token(control))


ATTACKS = (
    Attack(
        "later.process",
        "leave a process behind, twice forked, in a session of its own",
        "run outside",
        _outlive,
    ),
    Attack(
        "later.call",
        "leave a token for the next call: files, shared memory, keyring",
        "both are run outside",
        _next_call,
    ),
    Attack(
        "later.workspace",
        "plant hooks and editor's tasks in a workspace it may write",
        "the workspace without its protection",
        _workspace,
    ),
)
