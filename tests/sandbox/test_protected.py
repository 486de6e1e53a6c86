"""Protected paths of a workspace: kept from the tool, also where they do not exist; git goes on."""

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import End, Limits, Mount
from sandbox.protected import DEFAULT_NAMES, Held, Keeper, WorkspaceError, check_names, repositories
from sandbox.protected.gitconfig import is_harmless, leads_to
from sandbox.protected.names import GIT_NAMES
from sandbox.protected.tree import Walker
from sandbox.spec import MAX_MOUNTS
from tests.sandbox.conftest import MIB, Collected, Runner, limits, shell

pytestmark = pytest.mark.anyio
_TARGET = "/workspace"
_ROOM: Limits = limits(file_size_bytes=64 * MIB, wall_seconds=60, cpu_seconds=60, open_files=256)


def git(folder: Path, *arguments: str) -> str:
    """The host's git, as the operator would run it there."""
    command = ["git", "-c", "safe.directory=*", "-C", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def opened_to_all(folder: Path) -> None:
    for here, _, names in os.walk(folder):
        Path(here).chmod(0o777)
        for name in names:
            path = Path(here, name)
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | 0o666)


@pytest.fixture
def work(place: Path) -> Path:
    """A workspace with a repository of one commit."""
    git(place, "init", "-q", "-b", "main")
    git(place, "config", "user.email", "a@example.org")
    git(place, "config", "user.name", "a")
    (place / "file").write_text("one\n")
    git(place, "add", ".")
    git(place, "commit", "-qm", "one")
    opened_to_all(place)
    return place


class Worker:
    """Runs scripts in a workspace as a daemon would, and keeps what was put aside."""

    def __init__(self, run: Runner, workspace: Path, *names: str) -> None:
        self.run = run
        self.workspace = workspace
        self.names = names or DEFAULT_NAMES
        self.keeper = Keeper()
        self.aside: list[str] = []

    @contextmanager
    def held(self) -> Iterator[Held]:
        folders = self.run.gvisor
        held = self.keeper.hold(str(self.workspace), _TARGET, self.names, folders=folders)
        try:
            yield held
        finally:
            self.aside = self.keeper.release(held)

    async def __call__(self, script: str) -> Collected:
        with self.held() as held:
            return await self.within(held, script)

    async def within(self, held: Held, script: str) -> Collected:
        whole = Mount(str(self.workspace), _TARGET, writable=True)
        env = {"PATH": "/usr/bin:/bin", "PWD": _TARGET, "HOME": "/tmp"}
        # As root's runs have another user than the workspace.
        script = f"git config --global safe.directory '*'\n{script}"
        spec = shell(script, mounts=(whole, *held.mounts), cwd=_TARGET, env=env, limits=_ROOM)
        outcome, sink = await self.run(spec)
        assert outcome.exit_code == 0, (outcome, sink.out, sink.err)
        return sink


def everything(folder: Path) -> dict[str, int]:
    """All that is in a folder, with its kind and mode."""
    return {str(path.relative_to(folder)): path.lstat().st_mode for path in folder.rglob("*")}


def entries(folder: Path) -> set[str]:
    return {name for name in everything(folder) if not name.startswith(".git/")}


def mount_small(place: Path, options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(place)], check=True)


def unmount(place: Path) -> None:
    subprocess.run(["umount", str(place)], check=True)


def remove(*folders: Path) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


_PLANT = "for p in {paths}; do mkdir -p $(dirname $p); echo planted >$p; done 2>/dev/null; true"


_MAKE = """
( mkdir -p {name}; echo x >{name}; echo x >{name}/in; ln -sfn /tmp {name}; rm -rf {name}
mkdir made-{at}; echo x >made-{at}/in; mv -T made-{at} {name}; mv {name} moved; rm -rf moved {name}
) 2>/dev/null
echo "$(ls -d {name} 2>/dev/null)"
"""


@pytest.mark.parametrize(
    "names", [DEFAULT_NAMES, tuple(f".git/{name}" for name in GIT_NAMES)], ids=["listed", "git's"]
)
async def test_missing_paths_cannot_be_made(
    run: Runner, work: Path, names: tuple[str, ...]
) -> None:
    """A protected path that does not exist is not made, as a file, folder or link; nor later."""
    for name in names:
        if (work / name).is_dir():
            shutil.rmtree(work / name)
        else:
            (work / name).unlink(missing_ok=True)
    before, made = entries(work), [f"made-{at}" for at, _ in enumerate(names)]
    script = "".join(_MAKE.format(name=name, at=at) for at, name in enumerate(names))
    worker = Worker(run, work)
    sink = await worker(script + "echo other >other")
    for name, held in zip(names, sink.out.decode().split("\n"), strict=False):
        assert held in (name, "")  # what holds its place, there or above
        assert name not in everything(work)
    assert entries(work) - before == {"other", *made, *(f"{one}/in" for one in made)}
    assert worker.aside == []
    await Worker(run, work, "unrelated")("echo planted >.bashrc")  # the pair: without protection
    assert (work / ".bashrc").read_text() == "planted\n"


async def test_existing_paths_cannot_be_changed(run: Runner, work: Path) -> None:
    """A protected path that exists is not written, replaced, moved or removed."""
    names = (".git/hooks/post-commit", ".git/config", ".vscode/tasks.json",
             ".github/workflows/ci.yml", ".envrc")  # fmt: skip
    for name in names:
        target = work / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            target.write_text("mine\n")
    opened_to_all(work)
    before = {name: (work / name).read_text() for name in names}
    script = ""
    for name in names:
        top = name.partition("/")[0]
        script += f"""
echo x >>{name}; rm -f {name}; mv {name} away; echo x >new; mv new {name}; ln -f file {name}
mv {top} gone; rm -rf {top}; mkdir other; mv -T other {top}; chmod 777 {name}; truncate -s 0 {name}
"""
    await Worker(run, work)(f"({script}) 2>/dev/null; true")
    assert {name: (work / name).read_text() for name in names} == before
    assert not (work / "gone").exists()


async def test_a_folder_above_cannot_be_moved_away(run: Runner, work: Path) -> None:
    """Moving .git aside and making another with hooks of its own is refused."""
    script = """
mv .git old && cp -r old .git && echo '#!/bin/sh' >.git/hooks/post-commit; true
mv .github away; mkdir -p .github/workflows; echo x >.github/workflows/ci.yml
echo free >.github/CODEOWNERS; true
"""
    (work / ".github").mkdir()
    opened_to_all(work)
    sink = await Worker(run, work)(f"({script}) 2>&1")
    assert sink.text.count("Device or resource busy") == 2
    assert (work / ".github" / "CODEOWNERS").read_text() == "free\n"
    assert not (work / ".github" / "workflows").exists()


async def test_a_planted_hook_does_not_run_later(run: Runner, work: Path) -> None:
    """The operator's next commit runs no hook of a tool's; without protection it does."""
    plant = """
mkdir -p .git/hooks; printf '#!/bin/sh\\ntouch ran\\n' >.git/hooks/post-commit
chmod +x .git/hooks/post-commit; git config core.fsmonitor 'touch ran;false'; true
"""
    await Worker(run, work)(f"({plant}) 2>/dev/null")
    git(work, "commit", "-q", "--allow-empty", "-m", "two")
    assert not (work / "ran").exists()
    with Worker(run, work).held() as held:
        held.mounts = ()
        await Worker(run, work).within(held, plant)
    git(work, "commit", "-q", "--allow-empty", "-m", "three")
    assert (work / "ran").exists()


async def test_git_goes_on(run: Runner, work: Path) -> None:
    """Everyday git works in a held workspace: add, commit, branch, merge, rebase, stash, gc.

    `git branch -d` would tidy .git/config, and says that it could not; the branch is gone.
    """
    if run.gvisor:
        pytest.skip("in gVisor git clean says that it cannot remove the folders that stand in")
    script = """
set -e
git status --porcelain
echo two >>file; git add -A; git commit -qm two
git checkout -qb topic; echo three >new; git add .; git commit -qm three
git checkout -q main; git merge -q --no-edit topic; git branch -d topic >/dev/null 2>&1
git checkout -qb again HEAD~1; echo four >four; git add -A; git commit -qm four
git rebase -q main; git checkout -q main; git merge -q again; git tag v1
echo five >>file; git stash -q; git stash pop -q; git commit -qam five; git commit -q --amend -m 5
git reset -q --hard HEAD; touch junk; git clean -fdq; touch junk; git stash -qu; git stash drop -q
git mv new renamed; git rm -q four; git commit -qm six; git log --oneline | wc -l
git gc -q; git fsck --no-progress; git status --porcelain; git diff HEAD~1 --stat | tail -1
"""
    sink = await Worker(run, work)(f"({script}) 2>&1")
    assert sink.text.splitlines()[0] == "6", sink.text
    opened_to_all(work)
    assert git(work, "log", "-1", "--format=%s") == "six"
    assert git(work, "status", "--porcelain") == ""
    assert set(git(work, "ls-files").splitlines()) == {"file", "renamed"}


async def test_the_host_sees_a_whole_repository_meanwhile(run: Runner, work: Path) -> None:
    """While a run is on, git works for the operator too, and sees none of the stand-ins."""
    with Worker(run, work).held():
        (work / "mine").write_text("x")
        assert git(work, "status", "--porcelain") == "?? mine"
        git(work, "add", "mine")
        git(work, "commit", "-qm", "mine")
        git(work, "config", "alias.x", "status")
    assert git(work, "config", "alias.x") == "status"
    assert not (work / ".git" / "commondir").exists()


async def test_nothing_is_left(run: Runner, work: Path) -> None:
    """Afterwards the workspace has no stand-in left, also after a run that failed."""
    before = everything(work)
    worker = Worker(run, work)
    with pytest.raises(AssertionError):
        await worker("exit 3")
    await worker("true")
    assert everything(work) == before


async def test_what_the_host_puts_in_its_place_stays(run: Runner, work: Path) -> None:
    """The operator may use a name meanwhile: what has it then is the operator's."""
    if run.gvisor:
        pytest.skip("in gVisor a folder takes the place, which the host cannot write over")
    with Worker(run, work).held():
        (work / ".envrc").unlink()
        (work / ".envrc").write_text("mine")
    assert (work / ".envrc").read_text() == "mine"


async def test_runs_at_once_share_the_stand_ins(run: Runner, work: Path) -> None:
    """The first of two runs to end does not take away what holds the other's."""
    if run.gvisor:
        pytest.skip("in gVisor folders stand in, not sockets")
    worker = Worker(run, work)
    with worker.held():
        with worker.held():
            pass
        assert (work / ".envrc").is_socket()
        with worker.held() as held:
            await worker.within(held, "! mkdir .envrc/in")
    assert not (work / ".envrc").exists()


def test_what_a_killed_daemon_left_is_removed(work: Path) -> None:
    """The stand-ins of a daemon that died are known by their form, and nothing else is touched."""
    Keeper().hold(str(work), _TARGET, DEFAULT_NAMES)  # and never released
    (work / ".idea").unlink()
    (work / ".idea").mkdir()  # the operator's own, and empty
    left = Keeper().clean(str(work), DEFAULT_NAMES)
    assert ".envrc" in left
    assert ".git/commondir" in left
    assert {path.name for path in work.iterdir()} == {".git", "file", ".idea"}
    assert Keeper().clean(str(work), DEFAULT_NAMES) == []


async def test_links_come_back(run: Runner, work: Path) -> None:
    """A protected name that is a link cannot be mounted over; it is put back afterwards."""
    (work / ".envrc").symlink_to("shared/envrc")
    worker = Worker(run, work)
    await worker("rm .envrc; echo planted >.envrc")
    assert worker.aside == [".envrc"]
    assert (work / ".envrc").readlink() == Path("shared/envrc")
    (aside,) = [name for name in entries(work) if name.startswith(".envrc.put-aside-")]
    assert (work / aside).read_text() == "planted\n"


async def test_no_repository_at_the_top(run: Runner, place: Path) -> None:
    """Where there is none at the top a tool makes none: an editor would run its settings."""
    sink = await Worker(run, place)("git init -q . 2>&1; git status 2>&1; true")
    assert "not a git repository" in sink.text
    assert entries(place) == set()


@pytest.mark.parametrize("evil", ["fsmonitor", "hook", "commondir", "pointer", "bare", "moved"])
async def test_repositories_further_down(run: Runner, work: Path, evil: str) -> None:
    """What a new repository below would run is put aside; the operator's git there runs nothing."""
    make = "git init -q sub; git -C sub config user.name a; git -C sub config user.email a@b"
    spring = "core.fsmonitor 'touch ../sprung'"
    scripts = {
        "fsmonitor": f"git -C sub config {spring}",
        "hook": "printf '#!/bin/sh\\ntouch ../sprung\\n' >sub/.git/hooks/post-commit;"
        " chmod +x sub/.git/hooks/post-commit",
        "commondir": "cp -r sub/.git other; echo ../../other >sub/.git/commondir;"
        " printf '[core]\\nfsmonitor=touch ../sprung\\n' >>other/config",
        "pointer": f"mv sub/.git sub/elsewhere; echo 'gitdir: elsewhere' >sub/.git;"
        f" git -C sub config {spring}",
        "bare": f"rm -rf sub; git init -q --bare sub; git -C sub config {spring};"
        " git -C sub config core.bare false; git -C sub config core.worktree .",
        "moved": f"git -C sub config {spring}; mkdir -p a/b/c; mv sub a/b/c/",
    }
    script = f"({make}; {scripts[evil]}) 2>&1"

    def operator_works(sub: Path) -> bool:
        opened_to_all(work)
        for command in (("status",), ("commit", "--allow-empty", "-m", "x")):
            subprocess.run(
                ["git", "-c", "safe.directory=*", "-c", "user.name=a", "-c", "user.email=a@b",
                 *command],
                cwd=sub, capture_output=True, check=False,
            )  # fmt: skip
        return any(name.endswith("sprung") for name in everything(work))

    sub = work / ("a/b/c/sub" if evil == "moved" else "sub")
    worker = Worker(run, work)
    await worker(script)
    assert worker.aside
    assert not operator_works(sub), worker.aside
    # The pair: the same without putting right.
    remove(work / "sub", work / "a", work / "other")
    with worker.held() as held:
        await worker.within(held, script)
        assert operator_works(sub)


async def test_a_harmless_repository_stays(run: Runner, work: Path) -> None:
    """What `git init` and `git clone` make works on as it was made: nothing in it runs anything."""
    worker = Worker(run, work)
    await worker("git init -q sub; git clone -q . copy; git -C copy remote get-url origin")
    assert worker.aside == []
    opened_to_all(work)
    assert git(work / "copy", "log", "--format=%s") == "one"
    assert git(work / "copy", "config", "remote.origin.url") == "/workspace/."


async def test_an_existing_repository_below_comes_back(run: Runner, work: Path) -> None:
    """The configuration of a repository that was there is what it was, whatever a tool did."""
    sub = work / "sub"
    git(work, "init", "-q", "sub")
    git(sub, "config", "alias.up", "!make up")
    (sub / ".git" / "hooks" / "pre-push").write_text("#!/bin/sh\n")
    opened_to_all(work)
    before = (sub / ".git" / "config").read_text()
    worker = Worker(run, work)
    await worker("cd sub; git config alias.up '!evil'; echo more >file; git add file")
    assert worker.aside == ["sub/.git/config"]
    assert (sub / ".git" / "config").read_text() == before
    assert (sub / ".git" / "hooks" / "pre-push").exists()
    await worker("echo evil >>sub/.git/hooks/pre-push")
    assert worker.aside == ["sub/.git/hooks/pre-push"]


async def test_ordinary_work_in_a_repository_below(run: Runner, work: Path) -> None:
    """Commits and branches in a repository below are left alone."""
    git(work, "init", "-q", "sub")
    opened_to_all(work)
    worker = Worker(run, work)
    await worker(
        "cd sub; git config user.name a; git config user.email a@b; echo x >f; git add f;"
        " git commit -qm x; git branch y; git checkout -q y"
    )
    assert worker.aside == []
    opened_to_all(work)
    assert git(work / "sub", "branch", "--show-current") == "y"


@pytest.mark.parametrize("trick", ["closed", "deep", "long", "many"])
async def test_hiding_from_the_comparison(run: Runner, work: Path, trick: str) -> None:
    """A repository in a closed or deep folder, with long names, or among many, is found."""
    if run.gvisor:
        pytest.skip("gVisor's files are slower: the limits of this test are not for it")
    evil = "git init -q sub; git -C sub config core.fsmonitor 'touch sprung'"
    scripts = {
        "closed": f"mkdir x; cd x; {evil}; chmod 0111 /workspace/x; chmod 0555 sub/.git",
        "deep": f"d=/workspace; for i in $(seq 60); do d=$d/d; done; mkdir -p $d; cd $d; {evil}",
        "long": f"{evil}; touch sub/.git/hooks/$(printf 'x%.0s' $(seq 255))",
        "many": f"mkdir m; cd m; for i in $(seq 500); do mkdir $i; done; cd 250; {evil}",
    }
    worker = Worker(run, work)
    await worker(f"({scripts[trick]}) 2>&1")
    assert [name for name in worker.aside if name.endswith("sub/.git/config")]
    assert not [name for name in worker.aside if "not put aside" in name]
    opened_to_all(work)


_EVIL = "git init -q sub; git -C sub config core.fsmonitor evil; ln -sfn /evil .envrc"
_ASIDE = {"sub/.git/config", ".envrc"}


async def test_runs_that_overlap_launder_nothing(run: Runner, work: Path) -> None:
    """What one planted is not taken for given by one that began meanwhile, and plants it again."""
    (work / ".envrc").symlink_to("shared/envrc")
    worker = Worker(run, work)
    folders = run.gvisor
    first = worker.keeper.hold(str(work), _TARGET, DEFAULT_NAMES, folders=folders)
    await worker.within(first, _EVIL)
    second = worker.keeper.hold(str(work), _TARGET, DEFAULT_NAMES, folders=folders)
    assert set(worker.keeper.release(first)) >= _ASIDE
    await worker.within(second, _EVIL)
    assert set(worker.keeper.release(second)) >= _ASIDE
    assert not (work / "sub" / ".git" / "config").exists()
    assert (work / ".envrc").readlink() == Path("shared/envrc")
    # And with nobody in it any more, what is there then is what counts.
    (work / ".envrc").unlink()
    (work / ".envrc").symlink_to("another")
    await worker("true")
    assert worker.aside == []
    assert (work / ".envrc").readlink() == Path("another")


async def test_what_a_lease_keeps_from_being_read_does_not_stay(run: Runner, work: Path) -> None:
    """A file that another process has a lease of cannot be opened; it is put aside unread."""
    worker = Worker(run, work)
    with worker.held() as held:
        await worker.within(held, "git init -q sub; git -C sub config core.fsmonitor evil")
        config = os.open(work / "sub" / ".git" / "config", os.O_RDONLY)
        told = signal.signal(signal.SIGIO, signal.SIG_IGN)  # that somebody wants to open it
        try:
            fcntl.fcntl(config, fcntl.F_SETLEASE, fcntl.F_WRLCK)
            aside = [*repositories.put_right(Walker(), held.root, held.before)]
        finally:
            os.close(config)
            signal.signal(signal.SIGIO, told)
        assert aside == ["sub/.git/config"]


async def test_two_halves_of_a_repository(run: Runner, work: Path) -> None:
    """What becomes a repository only with a second run is looked at then, old as its parts are."""
    worker = Worker(run, work)
    await worker("mkdir x; touch x/HEAD; printf '[core]\\nfsmonitor=evil\\n' >x/config")
    assert worker.aside == []
    await worker("mkdir x/objects x/refs")
    assert worker.aside == ["x/config"]


def test_a_swapped_folder_leads_nowhere(work: Path, tmp_path: Path) -> None:
    """While folders are swapped for links as fast as can be, nothing outside is touched."""
    outside = tmp_path / "outside"
    git(tmp_path, "init", "-q", "outside")
    git(outside, "config", "core.fsmonitor", "mine")
    (outside / ".git" / "hooks" / "post-commit").write_text("mine")
    state = {path: path.lstat().st_mtime_ns for path in outside.rglob("*")}
    (work / "sub").mkdir()
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            try:
                (work / "sub").rename(work / "aside")
                (work / "sub").symlink_to(outside)
                (work / ".github").symlink_to(outside)
                (work / "sub").unlink()
                (work / ".github").unlink()
                (work / "aside").rename(work / "sub")
            except OSError:
                continue

    racer = threading.Thread(target=swap)
    racer.start()
    keeper = Keeper()
    try:
        for _ in range(200):
            try:
                keeper.release(keeper.hold(str(work), _TARGET, DEFAULT_NAMES))
            except WorkspaceError:
                continue
    finally:
        stop.set()
        racer.join()
    assert {path: path.lstat().st_mtime_ns for path in outside.rglob("*")} == state


async def test_a_swapped_workspace_is_not_followed(run: Runner, place: Path) -> None:
    """While the workspace is swapped for a link to secrets, no run ever reads them."""
    secrets, work = place / "secrets", place / "work"
    secrets.mkdir()
    (secrets / "file").write_text("secret")
    work.mkdir()
    (work / "file").write_text("fine")
    opened_to_all(place)
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            work.rename(place / "aside")
            work.symlink_to(secrets)
            work.unlink()
            (place / "aside").rename(work)

    racer = threading.Thread(target=swap)
    racer.start()
    seen = set()
    try:
        for _ in range(60):
            try:
                script = shell("cat /w/file", mounts=(Mount(str(work), "/w"),))
                outcome, sink = await run(script)
                # bubblewrap compares what it mounted with the descriptor, and gives up.
                seen.add(outcome.end.value if outcome.end is End.ENGINE_FAILURE else sink.text)
            except Exception as error:  # noqa: BLE001 - which refusals there are is the question
                seen.add(getattr(error, "code", repr(error)))
    finally:
        stop.set()
        racer.join()
    assert "secret" not in seen
    assert seen <= {"fine", "MOUNT_SOURCE", "engine_failure"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can write what a user may not")
def test_a_folder_nobody_may_write_needs_no_stand_in(place: Path) -> None:
    """Where neither we nor a tool could make anything, nothing needs to be held."""
    mount_small(place, "ro")
    try:
        keeper = Keeper()
        held = keeper.hold(str(place), _TARGET, DEFAULT_NAMES)
        assert held.mounts == ()
        assert keeper.release(held) == []
    finally:
        unmount(place)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system takes root")
def test_a_full_workspace_refuses(place: Path) -> None:
    """Where a stand-in cannot be made for want of room, the run is refused, and says so."""
    mount_small(place, "size=64k,nr_inodes=4")
    try:
        with pytest.raises(WorkspaceError) as caught:
            Keeper().hold(str(place), _TARGET, DEFAULT_NAMES)
        assert caught.value.code == "WORKSPACE_UNPROTECTED"
        assert [path.name for path in place.iterdir()] == []
    finally:
        unmount(place)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing\n\n[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n",
        '[remote "origin"]\n\turl = https://example.org/x.git\n\tfetch = +refs/heads/*:refs/r/*\n',
        '[remote "origin"]\n\turl = git@example.org:x/y.git\n',
        '[branch "main"]\n\tremote = origin\n\tmerge = refs/heads/main\n',
        "[user]\n\tname = A Ä\n\temail = a@example.org\n",
    ],
)
def test_harmless_configurations(text: str) -> None:
    """What git itself writes at init, clone and branch stays."""
    assert is_harmless(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        "[core]\n\tfsmonitor = touch x\n",
        "[core]\n\thooksPath = x\n",
        "[core]\n\tworktree = /home\n",
        "[core] fsmonitor = x\n",
        "[core]\n\tbare = true; fsmonitor\n",
        "[core]\n\tfilemode = true\\\n\tfsmonitor = x\n",
        "[core]\r\n\tfsmonitor = x\n",
        "[CORE]\n\tfsmonitor = x\n",
        "[alias]\n\tst = !x\n",
        "[include]\n\tpath = x\n",
        '[includeIf "gitdir:/"]\n\tpath = x\n',
        '[filter "x"]\n\tclean = x\n',
        '[remote "o"]\n\turl = ext::sh -c x\n',
        '[remote "o"]\n\turl = ssh://-oProxyCommand=x/y\n',
        '[remote "o"]\n\turl = -x\n',
        '[remote "o"]\n\tuploadpack = x\n',
        '[branch "m"]\n\tremote = ext::x\n',
        "[user]\n\tsigningkey = x\n",
        "[gpg]\n\tprogram = x\n",
        "[extensions]\n\tobjectformat = sha1evil\n",
        "\ufeff[core]\n\tbare = false\n",
        "[core]\n\tbare\n",
        '[core "x"]\n\tbare = false\n',
        "[core]\n\tbare = false\0\n",
    ],
)
def test_configurations_that_do_not_stay(text: str) -> None:
    """Whatever runs something, leads elsewhere, or is not understood does not stay."""
    assert not is_harmless(text.encode())


@given(st.text(alphabet=st.characters(codec="utf-8")), st.sampled_from(["core", "user", "remote"]))
def test_git_reads_no_more_than_we_do(text: str, section: str) -> None:
    """Of a configuration that stays, git reads only settings that are known to be harmless."""
    content = f"[{section}]\n\tname = {text}\n".encode()
    if not is_harmless(content):
        return
    done = subprocess.run(
        ["git", "config", "--file", "-", "--list", "--name-only", "-z"],
        input=content, capture_output=True, check=True,
    )  # fmt: skip
    assert set(done.stdout.split(b"\0")) <= {b"", b"user.name"}


@pytest.mark.parametrize(
    "names",
    [["/x"], ["../x"], ["x/../y"], ["x//y"], ["./x"], [""], ["."], ["x/"], [".git"], [".git/hooks"],
     ["a/b/c/d/e"], ["x" * 256], ["a\nb"], ["a", "a/b"], [str(n) for n in range(65)]],
)  # fmt: skip
def test_names_that_are_refused(names: list[str]) -> None:
    """A list that names something outside, twice or unclearly is refused."""
    with pytest.raises(ValueError, match=r".+"):
        check_names(names)


def test_the_default_names_are_good() -> None:
    """The list that ships passes its own check, and stand-ins fit beside other mounts."""
    assert check_names(DEFAULT_NAMES) == DEFAULT_NAMES
    assert len(DEFAULT_NAMES) + len(GIT_NAMES) < MAX_MOUNTS / 2


@pytest.mark.parametrize(
    ("setting", "where"),
    [
        (("core.hooksPath", ".githooks"), ".githooks/post-commit"),
        (("core.hooksPath", "./tools/hooks/"), "tools/hooks/post-commit"),
        (("include.path", "../shared.gitconfig"), "shared.gitconfig"),
    ],
)
async def test_where_the_operators_configuration_leads(
    run: Runner, work: Path, setting: tuple[str, str], where: str
) -> None:
    """Hooks and included files that are kept in the work tree are protected where they are."""
    git(work, "config", *setting)
    opened_to_all(work)
    script = f"mkdir -p $(dirname {where}); echo planted >{where}; chmod +x {where}; true"
    await Worker(run, work)(f"({script}) 2>/dev/null")
    assert not (work / where).exists()
    (work / where).parent.mkdir(parents=True, exist_ok=True)
    (work / where).write_text("mine")
    opened_to_all(work)
    await Worker(run, work)(f"({script}) 2>/dev/null")
    assert (work / where).read_text() == "mine"


def by_included_settings(work: Path) -> None:
    (work / "team").mkdir()
    (work / "team" / "one").write_text("[include]\n\tpath = two\n")
    (work / "team" / "two").write_text("[core]\n\thooksPath = scripts\n")
    git(work, "config", "include.path", "../team/one")


def by_settings_that_are_a_link(work: Path) -> None:
    git(work, "config", "core.hooksPath", "scripts")
    (work / ".git" / "config").rename(work / "settings")
    (work / ".git" / "config").symlink_to("../settings")


def by_a_hook_that_is_a_link(work: Path) -> None:
    (work / ".git" / "hooks" / "post-commit").symlink_to("../../scripts/post-commit")


def by_hooks_that_are_a_link(work: Path) -> None:
    shutil.rmtree(work / ".git" / "hooks")
    (work / ".git" / "hooks").symlink_to("../scripts")


@pytest.mark.parametrize(
    "led",
    [
        by_included_settings,
        by_settings_that_are_a_link,
        by_a_hook_that_is_a_link,
        by_hooks_that_are_a_link,
    ],
)
async def test_where_git_is_led_by_more_than_one_step(
    run: Runner, work: Path, led: Callable[[Path], None]
) -> None:
    """What the host's git runs at a commit is the operator's afterwards, as it was before."""
    (work / "scripts").mkdir()
    hook = work / "scripts" / "post-commit"
    hook.write_text("#!/bin/sh\necho mine >ran\n")
    hook.chmod(0o755)
    led(work)
    opened_to_all(work)
    planted = "#!/bin/sh\\necho planted >ran\\n"
    every = "scripts/post-commit team/one team/two settings .git/config .git/hooks/post-commit"
    await Worker(run, work)(
        f"(for it in {every}; do printf '{planted}' >$it; done; true) 2>/dev/null"
    )
    (work / "ran").unlink(missing_ok=True)
    git(work, "commit", "--allow-empty", "-qm", "x")
    assert (work / "ran").read_text() == "mine\n"


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("[core]\n\thooksPath = .githooks\n", [".githooks"]),
        ('[core]\n\thooksPath = "/w/a/b" # ours\n', ["a/b"]),
        ("[Core] HOOKSPATH=x\n", ["x"]),
        ("[include]\n\tpath = ../one\n\tpath = two\n", ["one", ".git/two"]),
        ('[includeIf "gitdir:/"]\n\tpath = ../one\n', ["one"]),
        ("[core]\n\thooksPath = ~/hooks\n\tpath = x\n", []),
        ("[core]\n\thooksPath = ../outside\n", []),
        ("[core]\n\thooksPath = /elsewhere\n", []),
        ("[core]\n\thooksPath = .\n", []),
        ("[user]\n\thooksPath = x\n", []),
        ('[core]\n\thooksPath = "a#b" ; ours\n', ["a#b"]),
        ("[core]\n\thooksPath = a\\\n/b\n", ["a/b"]),
    ],
)
def test_what_a_configuration_leads_to(text: str, places: list[str]) -> None:
    """Read generously, but only as far as the workspace goes."""
    assert [lead.place for lead in leads_to(text.encode(), "/w")] == places


async def test_a_file_system_without_sockets(
    run: Runner, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no socket can be made, a folder holds the name; nothing is left unprotected."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "as vfat answers")

    monkeypatch.setattr(os, "mknod", refuse)
    worker = Worker(run, work)
    await worker("! mkdir .envrc/in && ! rmdir .envrc")
    assert not (work / ".envrc").exists()
