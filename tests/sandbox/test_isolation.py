"""What a run cannot see, reach or change; each beside the grant that makes it possible."""

import errno
import os
import socket
import textwrap
from pathlib import Path

import pytest

from sandbox import End, Mount, ProcessSettings, SpecRefusedError
from sandbox.spec import Contents
from tests.sandbox.conftest import (
    Runner,
    limits,
    make_spec,
    process_runner,
    python,
    shell,
    user_ids,
)

pytestmark = pytest.mark.anyio


def passwd(run: Runner) -> str:
    return f"tool:x:{run.uid}:{run.uid}::/tmp:/bin/sh"


async def test_environment_exact(run: Runner) -> None:
    """The tool's environment is the one given, and nothing of the daemon's or bubblewrap's."""
    os.environ["STOCKADE_CANARY"] = "daemon"
    try:
        env = {"A": "b c", "EMPTY": "", "weird-name": "x\ny", "UTF": "\u00e9\udcff"}
        text = await run(make_spec("/usr/bin/env", "-0", env=env, secret_env={"S": b"\xff="}))
    finally:
        del os.environ["STOCKADE_CANARY"]
    got = set(text[1].out.rstrip(b"\0").split(b"\0"))
    assert got == {
        b"A=b c", b"EMPTY=", b"weird-name=x\ny", b"UTF=\xc3\xa9\xff", b"S=\xff=",
    }  # fmt: skip


async def test_environment_empty(run: Runner) -> None:
    """An empty environment is empty: bubblewrap's PWD is not in it."""
    _, sink = await run(make_spec("/usr/bin/env", env={}))
    assert sink.out == b""


async def test_argv_exact(run: Runner) -> None:
    """Arguments arrive byte for byte: no shell, no option parsing by the launchers."""
    args = ["--", "-x", "", "a b", "$(id)", "`id`", "'\"", "--seccomp", "é\udcff", "x=y"]
    script = "import sys,os; print([os.fsencode(a) for a in sys.argv[1:]])"
    spec = make_spec("/usr/bin/python3", "-I", "-S", "-c", script, *args)
    assert await run.text(spec) == str([os.fsencode(a) for a in args])


async def test_argv_exact_through_env(run: Runner) -> None:
    """Also where env(1) stands before the tool to remove PWD."""
    script = "import sys; print(sys.argv[1:])"
    spec = make_spec("/usr/bin/python3", "-I", "-S", "-c", script, "-u", "A=b", "--", env={})
    assert await run.text(spec) == "['-u', 'A=b', '--']"


async def test_root_is_read_only(run: Runner) -> None:
    """Nothing can be written outside /tmp and /dev/shm; there it can."""
    places = ["/", "/etc", "/usr", "/usr/bin", "/dev", "/proc", "/proc/1", "/tmp", "/dev/shm"]
    script = f"for p in {' '.join(places)}; do (echo x >$p/probe) 2>/dev/null && echo $p; done"
    text = await run.text(shell(f"{script}; true"))
    assert text.split() == ["/tmp", "/dev/shm"]


async def test_root_cannot_be_made_writable(run: Runner) -> None:
    """Whoever owns the root: the tool changes nothing there."""
    attempts = ["chmod 777 /", "mkdir /x", "ln -s /tmp/x /etc/y", "rm /etc/passwd"]
    attempts += ["mount -o remount,rw /"]
    _, sink = await run(shell("; ".join(f"{attempt} && echo done" for attempt in attempts)))
    assert sink.out == b""
    assert sink.err.count(b"Read-only file system") >= (4 if run.tier == "process" else 2)


async def test_host_files_absent(run: Runner) -> None:
    """No home, no run, no var, no sys, no real passwd of the host."""
    places = {"bin", "dev", "etc", "lib", "lib32", "lib64", "proc", "sbin", "tmp", "usr"}
    if run.tier != "process":
        places |= {"run", "sys"}  # the one empty, the other made by the runtime
        assert await run.text(shell("ls /run")) == ""
    assert set((await run.text(shell("ls /"))).split()) <= places
    assert await run.text(shell("cat /etc/passwd")) == passwd(run)


async def test_mounts(run: Runner, place: Path) -> None:
    """A mount is read-only unless it says writable."""
    (place / "file").write_text("hello")
    script = "cat /w/file; (echo changed >/w/file) 2>/dev/null || echo -n ' refused'"
    closed = shell(script, mounts=(Mount(str(place), "/w"),))
    assert await run.text(closed) == "hello refused"
    (place / "file").chmod(0o666)
    assert await run.text(closed) == "hello refused"
    assert await run.text(shell(script, mounts=(Mount(str(place), "/w", True),))) == "hello"
    assert (place / "file").read_text() == "changed\n"


async def test_nested_mount_protects(run: Runner, place: Path) -> None:
    """A read-only mount inside a writable one holds: hooks cannot be planted for later."""
    (place / "hooks").mkdir(mode=0o777)
    (place / "hooks").chmod(0o777)
    outer, hooks = Mount(str(place), "/w", True), Mount(str(place / "hooks"), "/w/hooks")
    script = "echo x >/w/hooks/post-commit && echo planted; true"
    assert await run.text(shell(script, mounts=(outer,))) == "planted"
    (place / "hooks" / "post-commit").unlink()
    assert await run.text(shell(script, mounts=(hooks, outer))) == ""


def by_value(place: Path, **files: tuple[bytes, bool]) -> Mount:
    """A mount of `place` that was seen to hold these files."""
    named = {name.replace("__", "/"): entry for name, entry in files.items()}
    return Mount(str(place), "/tool", contents=Contents("sha256:of-them", named))


async def test_what_was_looked_at_is_what_is_there(bwrap: Runner, place: Path) -> None:
    """A mount by value has the bytes that were looked at, whatever its source holds by now."""
    (place / "main").write_text("#!/bin/sh\necho planted\n")
    (place / "main").chmod(0o755)
    (place / "more").write_text("planted")
    mount = by_value(
        place, main=(b"#!/bin/sh\necho $0; cat /tool/lib/data", True), lib__data=(b"\0whole", False)
    )
    spec = make_spec("/tool/main", mounts=(mount,))
    outcome, sink = await bwrap(spec)
    assert (outcome.exit_code, sink.out) == (0, b"/tool/main\n\0whole"), sink.err
    script = "ls -R /tool; stat -c %a /tool/main /tool/lib/data; echo x >/tool/new; rm /tool/main"
    _, sink = await bwrap(shell(script, mounts=(mount,)))
    assert sink.text.split() == ["/tool:", "lib", "main", "/tool/lib:", "data", "555", "444"]
    assert sink.err.count(b"Read-only file system") == 2


async def test_what_does_not_fit_is_bound(bwrap: Runner, place: Path) -> None:
    """Files beyond the run's own limits are not copied at its cost: their place is bound."""
    (place / "big").write_bytes(bytes(9000))
    mount = by_value(place, big=(bytes(9000), False))
    wanted = limits(file_size_bytes=4096)
    text = await bwrap.text(shell("stat -c %s /tool/big", mounts=(mount,), limits=wanted))
    assert text == "9000"


async def test_tools_that_differ_are_never_mixed_up(place: Path) -> None:
    """A sandbox that was started ahead for one version of a tool is not given to another."""
    for runner in process_runner("ahead"):
        for version in (b"one", b"two", b"one"):
            contents = Contents(version.decode(), {"f": (version, False)})
            mount = Mount(str(place), "/tool", contents=contents)
            assert await runner.text(shell("cat /tool/f", mounts=(mount,))) == version.decode()


async def test_mount_source_link(run: Runner, place: Path) -> None:
    """A mount source reached through a link is refused: the link could change after the check."""
    (place / "real").mkdir()
    (place / "link").symlink_to("real")
    for source in (place / "link", place / "missing"):
        with pytest.raises(SpecRefusedError) as caught:
            await run(shell("true", mounts=(Mount(str(source), "/w"),)))
        assert caught.value.code == "MOUNT_SOURCE"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's runs have another user than the daemon")
async def test_mount_unreachable(run: Runner, place: Path) -> None:
    """What the user of the run may not reach is refused with a code, not with a riddle."""
    (place / "closed" / "in").mkdir(parents=True)
    (place / "closed").chmod(0o700)
    with pytest.raises(SpecRefusedError) as caught:
        await run(shell("true", mounts=(Mount(str(place / "closed" / "in"), "/w"),)))
    assert caught.value.code == "MOUNT_UNREACHABLE"


async def test_link_out_of_a_mount(run: Runner, place: Path) -> None:
    """A link in a mount that points at the host leads nowhere inside."""
    (place / "out").symlink_to("/proc/1/root/etc/hostname")
    (place / "home").symlink_to("/root")
    (place / "passwd").symlink_to("/etc/passwd")
    script = "cat /w/out; ls /w/home/; cat /w/passwd"
    outcome, sink = await run(shell(script, mounts=(Mount(str(place), "/w"),)))
    assert sink.text == passwd(run)
    assert outcome.end is End.EXITED


async def test_init_out_of_reach(run: Runner) -> None:
    """Init is not the tool's: with its memory a tool could outlive the daemon, or forge its end."""
    # gVisor shows the environment and the map of any process of the same user; init has no secrets.
    names = "mem root task/1/mem" + ("" if run.gvisor else " fd/0 environ maps")
    look = "(head -c1 $f || ls $f/) >/dev/null && echo got"
    signals = "for s in KILL STOP TERM INT HUP SEGV USR1; do kill -$s 1; done"
    outcome, sink = await run(
        shell(f"cd /proc/1; for f in {names}; do {look}; done; {signals}; sleep 0.1; echo alive")
    )
    assert (outcome.end, sink.text) == (End.EXITED, "alive")


async def test_init_says_how_it_was_whatever_reaches_it(run: Runner) -> None:
    """Nobody speaks for it or holds it up, also where its descriptors are open to all (gVisor)."""
    code = """
        import fcntl, os, resource, signal, socket
        def tried(what, *how):
            try:
                what(*how)
            except OSError:
                pass
        tried(resource.prlimit, 1, resource.RLIMIT_CPU, (0, 0))
        tried(resource.prlimit, 1, resource.RLIMIT_NOFILE, (0, 0))
        ours, theirs = socket.socketpair()
        tried(fcntl.fcntl, ours, fcntl.F_SETOWN, 1)
        tried(fcntl.fcntl, ours, 10, signal.SIGSTOP)  # F_SETSIG
        tried(fcntl.fcntl, ours, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
        theirs.send(b"x")
        for fd in range(20):
            for how in (os.O_RDONLY, os.O_WRONLY):
                try:
                    opened = os.open(f"/proc/1/fd/{fd}", how | os.O_NONBLOCK)
                    os.set_inheritable(opened, True)
                    os.write(opened, b"exit 0 free") if fd > 2 else None
                except OSError:
                    pass
        if os.fork():
            os._exit(7)
        while True:
            for fd in range(3, 30):
                try:
                    os.read(fd, 100)
                except OSError:
                    pass
    """
    outcome, _ = await run(python(textwrap.dedent(code)))
    assert (outcome.end, outcome.exit_code) == (End.EXITED, 7), outcome


async def test_hosts_uid(run: Runner) -> None:
    """The run never holds host uid 0, whose owner rights over /proc/sys end in core_pattern."""
    uids: set[str] = set()

    async def look(_stream: str, _data: bytes) -> None:
        for pid in run.processes():
            uids.update(user_ids(pid))

    await run.sandbox.run(shell("echo; sleep 0.1"), look)
    assert uids
    if not run.gvisor:
        # gVisor's kernel is root on the host, and answers its guests' calls itself.
        assert "0" not in uids
    script = "for f in $(find /proc/sys /proc/sysrq-trigger -type f); do [ -w $f ] && echo $f; done"
    writable = set((await run.text(shell(f"{script}; true"))).split())
    # What is left belongs to the namespaces the run itself owns.
    assert not any(name.startswith(("/proc/sys/kernel/core", "/proc/sys/vm")) for name in writable)


async def test_identity(run: Runner) -> None:
    """Inside: one user that is not root, no groups, no capabilities, no new privileges."""
    wanted = shell("id -u; id -G; grep -E '^(Cap|NoNew|Seccomp:)' /proc/self/status")
    outcome, sink = await run(wanted)
    text = sink.text
    uid, groups, *lines = text.splitlines()
    # What a user who is not root keeps in the process tier has no name there, and is in the report.
    ours = set(os.getgroups()) - {os.getegid()}
    keeps = isinstance(run.settings, ProcessSettings) and os.geteuid() != 0
    kept = {"65534"} if keeps and ours else set()
    said = outcome.controls["user"].achieved.partition("groups ")[2]
    assert said == (", ".join(map(str, sorted(ours))) if kept else "")
    assert (uid, set(groups.split()) - kept) == (str(run.uid), {str(run.uid)})
    fields = dict(line.split() for line in lines)
    # gVisor's status has no such line; the probe asks the kernel itself.
    assert fields.pop("NoNewPrivs:", "1" if run.gvisor else "") == "1"
    assert fields.pop("Seccomp:") == "2"
    assert set(fields.values()) == {"0" * 16}


async def test_setuid_gains_nothing(run: Runner) -> None:
    """A setuid program of the host's /usr runs as the tool's user."""
    text = await run.text(shell("ls -l /usr/bin/su >/dev/null; su -c id 2>/dev/null || id -u"))
    assert text == str(run.uid)


async def test_pid_namespace(run: Runner) -> None:
    """The run sees its own processes only, and can signal no other."""
    numbers = (await run.text(shell("cd /proc; ls -d [0-9]*"))).split()
    assert all(int(number) < 20 for number in numbers)
    _, sink = await run(shell(f"kill -0 {os.getpid()} || echo unseen"))
    assert sink.text == "unseen"


async def test_no_network(run: Runner) -> None:
    """No address but loopback, and no listener of the host behind loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        script = f"""
import socket
import textwrap
for address in ("127.0.0.1", {port}), ("192.0.2.1", 80), ("169.254.169.254", 80):
    try: socket.create_connection(address, 2)
    except OSError as error: print(error.errno)
    else: print("connected")
"""
        away = errno.EHOSTUNREACH if run.gvisor else errno.ENETUNREACH
        said = (await run.text(python(script))).split()
        assert said == [str(number) for number in (errno.ECONNREFUSED, away, away)]


async def test_abstract_sockets(run: Runner) -> None:
    """An abstract Unix socket of the host is out of reach: it belongs to a network namespace."""
    name = f"\0stockade-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(name)
        server.listen()
        script = f"import socket; socket.socket(socket.AF_UNIX).connect({name!r})"
        outcome, sink = await run(python(script))
    assert outcome.exit_code == 1
    assert b"ConnectionRefused" in sink.err


async def test_the_one_door(run: Runner, place: Path) -> None:
    """A Unix socket that is mounted can be connected to: the only way out there is."""
    path = place / "door"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        path.chmod(0o777)
        server.listen()
        script = "import socket; socket.socket(socket.AF_UNIX).connect('/run/door'); print('in')"
        assert await run.text(python(script, mounts=(Mount(str(path), "/run/door"),))) == "in"


async def test_hostname(run: Runner) -> None:
    """The host name is the one given, and cannot be changed."""
    script = "uname -n; hostname other 2>/dev/null; uname -n"
    assert await run.text(shell(script, hostname="call-7")) == "call-7\ncall-7"


async def test_no_descriptors(run: Runner) -> None:
    """Only 0, 1 and 2 are open, also if a library of the daemon forgot close-on-exec."""
    leaked, other = os.pipe()
    os.set_inheritable(leaked, True)
    try:
        text = await run.text(shell("ls /proc/self/fd"))
    finally:
        os.close(leaked)
        os.close(other)
    assert text.split() == ["0", "1", "2", "3"]  # 3 is the directory being listed


async def test_no_terminal(run: Runner) -> None:
    """There is no controlling terminal, and no way to the host's."""
    _, sink = await run(shell("(echo >/dev/tty) && echo opened; ls /dev/console; tty"))
    assert sink.text == "not a tty"
    _, sink = await run(shell("ls /dev/tty /dev/ptmx /dev/pts"))
    # Containers have the devices of their own terminals; whoever opens one has it for himself.
    assert (sink.text == "") == (run.tier == "process")


async def test_signals_are_reset(run: Runner) -> None:
    """The daemon ignores SIGPIPE, as every Python does; the tool does not inherit that."""
    _, sink = await run(shell("(yes; echo $? >&2) | head -n 1"))
    assert sink.err.strip() == b"141"  # 128 + SIGPIPE
    if run.gvisor:
        return  # its status does not show signals
    text = await run.text(shell("grep -E '^Sig(Ign|Blk)' /proc/self/status"))
    ours = ~(0b11 << 31)  # 32 and 33 are the C library's own; posix_spawn ignores them
    assert {int(word, 16) & ours for word in text.split()[1::2]} == {0}


async def test_runs_do_not_see_each_other(run: Runner) -> None:
    """Two runs share no process, no file in /tmp, no shared memory and no queue."""
    import anyio

    seen: list[str] = []

    async def one(name: str) -> None:
        script = (
            f"touch /tmp/{name} /dev/shm/{name}; sleep 0.4; ls /tmp /dev/shm; ls -d /proc/[0-9]*"
        )
        seen.append(await run.text(shell(script)))

    async with anyio.create_task_group() as group:
        group.start_soon(one, "first")
        group.start_soon(one, "second")
    for text in seen:
        assert ("first" in text) != ("second" in text)
        assert text.count("/proc/") <= 4


async def test_dev_stdout(run: Runner) -> None:
    """A tool may open /dev/stdout by name, although the daemon made the pipe as another user."""
    script = "echo out >/dev/stdout; echo err >/dev/stderr; cat /dev/stdin"
    outcome, sink = await run(shell(script, stdin=b"in"))
    assert (sink.out, sink.err, outcome.exit_code) == (b"out\nin", b"err\n", 0)
