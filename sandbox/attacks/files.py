"""Attacks on files outside, and on the daemon's own state and other calls' scratch."""

import os

import anyio

from sandbox.attacks.attack import Attack, Inside, Outside, Pair, Seen
from sandbox.attacks.listeners import listening, on_path
from sandbox.attacks.stage import Stage, mounted
from sandbox.spec import Mount

_WORK = "/w"
_SCRATCH = ("/tmp", "/dev/shm", "/scratch")  # noqa: S108 - inside


async def _read(stage: Stage) -> Pair:
    secret = stage.file("out/secret", stage.token)
    up = "/tmp/" + "../" * 12  # noqa: S108
    given = {"paths": [str(secret), f"{up}{secret}", f"/proc/self/cwd/{up}{secret}"]}
    return await stage.pair(
        Inside("files.read", given),
        Inside("files.read", given, (mounted(secret.parent),)),
        stage.says_token,
    )


async def _read_symlink(stage: Stage) -> Pair:
    secret, work = stage.file("out/secret", stage.token), stage.folder("work")
    granted = mounted(work, _WORK, writable=True)
    return await stage.pair(
        Inside("files.read_symlink", {"link": f"{_WORK}/one", "path": str(secret)}, (granted,)),
        Inside(
            "files.read_symlink",
            {"link": f"{_WORK}/two", "path": str(secret)},
            (granted, mounted(secret.parent)),
        ),
        stage.says_token,
    )


async def _read_hard_link(stage: Stage) -> Pair:
    secret = stage.file("all/out/secret", stage.token, 0o666)
    work = stage.folder("all/work")
    granted = mounted(work, "/all/work", writable=True)
    given = {"link": "/all/work/name", "path": "/all/out/secret"}
    return await stage.pair(
        Inside("files.read_hard_link", given, (granted,)),
        Inside("files.read_hard_link", given, (mounted(secret.parents[1], "/all", writable=True),)),
        stage.says_token,
    )


async def _read_process_roots(stage: Stage) -> Pair:
    secret = stage.file("out/secret", stage.token)
    given = {"path": str(secret)}
    return await stage.pair(
        Inside("files.read_process_roots", given),
        Outside("files.read_process_roots", given, "namespaces"),
        stage.says_token,
    )


async def _write(stage: Stage) -> Pair:
    target = stage.file("out/target", mode=0o666)
    paths = [str(target), f"/proc/self/root{target}", f"/proc/1/root{target}"]
    given = {"paths": paths, "text": stage.token}
    return await stage.pair(
        Inside("files.write", given),
        Inside("files.write", given, (mounted(target.parent, writable=True),)),
        stage.contains_token(target),
    )


async def _write_symlink(stage: Stage) -> Pair:
    target, work = stage.file("out/target", mode=0o666), stage.folder("work")
    granted = mounted(work, _WORK, writable=True)
    given = {"path": str(target), "text": stage.token}
    return await stage.pair(
        Inside("files.write_symlink", {**given, "link": f"{_WORK}/one"}, (granted,)),
        Inside(
            "files.write_symlink",
            {**given, "link": f"{_WORK}/two"},
            (granted, mounted(target.parent, writable=True)),
        ),
        stage.contains_token(target),
    )


async def _write_hard_link(stage: Stage) -> Pair:
    target, work = stage.file("all/out/target", mode=0o666), stage.folder("all/work")
    given = {"link": "/all/work/name", "path": "/all/out/target", "text": stage.token}
    granted = mounted(work, "/all/work", writable=True)
    whole = mounted(target.parents[1], "/all", writable=True)
    return await stage.pair(
        Inside("files.write_hard_link", given, (granted, mounted(target.parent, "/all/out"))),
        Inside("files.write_hard_link", given, (whole,)),
        stage.contains_token(target),
    )


async def _write_read_only(stage: Stage) -> Pair:
    target = stage.file("out/target", mode=0o666)
    given = {"paths": [f"{_WORK}/target", f"/proc/self/root{_WORK}/target"], "text": stage.token}
    return await stage.pair(
        Inside("files.write", given, (mounted(target.parent, _WORK),)),
        Inside("files.write", given, (mounted(target.parent, _WORK, writable=True),)),
        stage.contains_token(target),
    )


async def _handed(stage: Stage) -> Pair:
    secret = stage.file("out/secret", stage.token, 0o600)
    door = stage.folder("door") / "s"
    given = {"address": "/run/door"}
    async with listening(on_path(door), secret):
        return await stage.pair(
            Inside("files.be_handed_a_descriptor", given),
            Inside("files.be_handed_a_descriptor", given, (mounted(door, "/run/door"),)),
            stage.says_token,
        )


async def _inherited(stage: Stage) -> Pair:
    secret = stage.file("out/secret", stage.token, 0o600)
    left = os.open(secret, os.O_RDONLY)
    try:
        os.set_inheritable(left, True)  # what a careless library would do
        return await stage.pair(
            Inside("files.read_inherited_descriptors"),
            Outside("files.read_inherited_descriptors", descriptors=(left,)),
            stage.says_token,
        )
    finally:
        os.close(left)


async def _state(stage: Stage) -> Pair:
    # In the directory of the ledger, the keys and the tools' copies, and reachable as they are.
    state = stage.file("state", stage.token)
    up = f"/tool/../../{state}"
    given = {"paths": [str(state), up, f"/workspace/..{state}", f"/proc/1/root{state}"]}
    return await stage.pair(
        Inside("files.read", given),
        Inside("files.read", given, (mounted(stage.place),)),
        stage.says_token,
    )


async def _scratch(stage: Stage) -> Pair:
    shared = mounted(stage.folder("shared"), "/scratch", writable=True)
    attack = await _beside_another_call(stage, ())
    control = await _beside_another_call(stage, (shared,))
    return Pair(attack, await stage.says_token(attack), control, await stage.says_token(control))


async def _beside_another_call(stage: Stage, mounts: tuple[Mount, ...]) -> Seen:
    ready = anyio.Event()

    def heard(data: bytes) -> None:
        if b"ready" in data:
            ready.set()

    given = {"name": f"stockade-{stage.token[:8]}", "places": list(_SCRATCH)}
    hide = Inside("processes.hide", {"token": stage.token, "places": list(_SCRATCH)}, mounts)
    async with anyio.create_task_group() as group:
        group.start_soon(stage.run, hide, heard)
        with anyio.move_on_after(20):
            await ready.wait()
        seen = await stage.run(Inside("processes.seek", given, mounts))
        group.cancel_scope.cancel()
    return seen


_MOUNTED = "the file's directory is mounted"
_WRITABLE = "its directory is mounted writable"

ATTACKS = (
    Attack("read.path", "read a file outside by its path, also by ..", _MOUNTED, _read),
    Attack("read.symlink", "read it through a symbolic link", _MOUNTED, _read_symlink),
    Attack(
        "read.hard-link",
        "read it through a hard link",
        "file and link are in one writable mount",
        _read_hard_link,
    ),
    Attack(
        "read.process-root",
        "read it through /proc/1/root and every other process's root",
        "the host's files, in namespaces of its own",
        _read_process_roots,
    ),
    Attack("read.descriptor-handed", "be handed a descriptor", "the socket is mounted", _handed),
    Attack(
        "read.descriptor-left",
        "use a descriptor that the daemon left open",
        "run outside, with that descriptor",
        _inherited,
    ),
    Attack("write.path", "write a file outside by its path", _WRITABLE, _write),
    Attack("write.symlink", "write it through a symbolic link", _WRITABLE, _write_symlink),
    Attack(
        "write.hard-link",
        "write what is mounted read-only through a hard link",
        "file and link are in one writable mount",
        _write_hard_link,
    ),
    Attack(
        "write.read-only", "write what is mounted read-only", "mounted writable", _write_read_only
    ),
    Attack("state.daemon", "read what is in the daemon's data directory", _MOUNTED, _state),
    Attack(
        "state.scratch",
        "read what another call that runs has in its scratch",
        "both have one directory mounted",
        _scratch,
    ),
)
