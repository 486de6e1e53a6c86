"""Attacks by an image: its author has chosen files, variables and names, and never the launcher."""

import io
import os
import secrets
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import anyio
import pytest

from sandbox import ContainerSandbox, End, SpecRefusedError, root_image
from sandbox.docker_engine import EngineError
from tests.sandbox.conftest import Collected, ContainerRunner, make_spec, settled, shell
from tests.sandbox.test_containers import kept
from tests.sandbox.test_in_place import ran

pytestmark = pytest.mark.anyio

EVIL = """
#include <fcntl.h>
__attribute__((constructor)) static void f(void) { open("/tmp/ran", O_CREAT | O_WRONLY, 0666); }
"""
# It says whether anything of its image has run before it, or beside the launcher.
OWN = """
#include <unistd.h>
int main(void) { return write(1, access("/tmp/ran", 0) ? "own\\n" : "evil\\n", 5) < 0; }
"""
Images = Callable[[Mapping[str, bytes], Sequence[str]], str]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, bytes]:
    """A program, and a library that leaves a mark where it is loaded."""
    place = tmp_path_factory.mktemp("built")
    for name, source, flags in (("own", OWN, ["-static"]), ("evil.so", EVIL, ["-shared", "-fPIC"])):
        (place / f"{name}.c").write_text(source)
        command = ["cc", *flags, "-o", str(place / name), str(place / f"{name}.c")]
        subprocess.run(command, check=True)
    return {"bin/own": (place / "own").read_bytes(), "evil.so": (place / "evil.so").read_bytes()}


@pytest.fixture
def images(box: ContainerRunner) -> Iterator[Images]:
    """Makes images of files and of what a Dockerfile would say; by id."""
    made: list[str] = []

    def make(files: Mapping[str, bytes], said: Sequence[str]) -> str:
        made.append(f"test-{secrets.token_hex(4)}")
        imported(box, packed(files), made[-1], "latest", said)
        found = box.docker.image(f"{made[-1]}:latest")
        assert found is not None
        return str(found["Id"])

    yield make
    anyio.run(settled, box)  # what was made of them is in their way
    for name in made:
        with suppress(EngineError):
            box.docker.remove_image(f"{name}:latest")


def packed(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.mode, entry.size = 0o755, len(content)
            tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def imported(
    box: ContainerRunner, archive: bytes, name: str, tag: str, said: Sequence[str] = ()
) -> None:
    box.docker._ask(lambda api: api.import_image_from_data(archive, name, tag, changes=list(said)))


async def test_an_images_variables_do_not_reach_the_launcher(
    box: ContainerRunner, images: Images, built: Mapping[str, bytes]
) -> None:
    """What the host's loader would load for them, in the launcher that waits, is not loaded."""
    said = ["ENV LD_PRELOAD=/evil.so LD_AUDIT=/evil.so PATH=/evil LC_ALL=evil", "USER root"]
    spec = make_spec("/bin/own", image=images(built, said))
    assert (await ran(box, spec))[0] == b"own\n\0"
    async with kept(box):
        assert await box.sandbox.warm(spec)
        await anyio.sleep(0.3)
        assert (await ran(box, spec))[0] == b"own\n\0"


async def test_an_image_that_is_loaded_into_every_program_is_refused(
    box: ContainerRunner, images: Images, built: Mapping[str, bytes]
) -> None:
    """By the one file that any loader reads, the launcher would be the image author's."""
    preload = {"etc/ld.so.preload": b"/evil.so\n"}
    with pytest.raises(SpecRefusedError) as caught:
        await box(make_spec("/bin/own", image=images({**built, **preload}, ())))
    assert caught.value.code == "IMAGE_REFUSED"
    assert "/etc/ld.so.preload" in str(caught.value)
    await settled(box)
    assert box.groups() == []


@pytest.fixture
def apart(box: ContainerRunner) -> Iterator[ContainerSandbox]:
    """A tier whose tools are a user of their own, so that its empty root is nobody else's."""
    if os.geteuid() != 0:
        pytest.skip("only under root may tools be another user")
    settings = replace(box.settings, root_becomes=secrets.randbelow(2**20) + 2**20)
    made = ContainerSandbox(settings)
    yield made
    anyio.run(settled, box, made)
    anyio.run(made.close)
    with suppress(EngineError):
        box.docker.remove_image(root_of(made))


def root_of(sandbox: ContainerSandbox) -> str:
    _, digest = root_image.archive(sandbox.settings.inside_uid)
    return f"{root_image.REPOSITORY}:{root_image.tag_of(digest)}"


async def test_an_image_under_the_empty_roots_name_is_not_the_root(
    box: ContainerRunner, apart: ContainerSandbox, built: Mapping[str, bytes]
) -> None:
    """An archive that somebody loads may name its images as it likes: the root is its content."""
    reference = root_of(apart)
    evil = {**built, "etc/ld.so.preload": b"/evil.so\n"}
    imported(box, packed(evil), *reference.split(":"))
    hijacked = box.docker.image(reference)
    assert hijacked is not None
    try:
        sink = Collected()
        await apart.run(shell("test ! -e /tmp/ran && test ! -e /evil.so && echo ours"), sink)
        assert (sink.out, sink.err) == (b"ours\n", b"")
    finally:
        box.docker.remove_image(str(hijacked["Id"]))


async def test_a_root_that_was_removed_is_made_again(
    box: ContainerRunner, apart: ContainerSandbox
) -> None:
    """Whoever tidies up the engine's images between two calls costs the second nothing but time."""
    for _ in range(2):
        sink = Collected()
        outcome = await apart.run(shell("echo here"), sink)
        assert (sink.out, outcome.detail) == (b"here\n", "")
        await settled(box, apart)
        box.docker.remove_image(root_of(apart))


async def test_an_own_image_that_was_removed_is_missing(
    box: ContainerRunner, images: Images, built: Mapping[str, bytes]
) -> None:
    """Also if it was found before: the call is refused by that reason, with what mends it."""
    spec = make_spec("/bin/own", image=images(built, ()))
    assert (await ran(box, spec))[0] == b"own\n\0"
    await settled(box)
    box.docker.remove_image(spec.image)
    with pytest.raises(SpecRefusedError) as caught:
        await box(replace(spec, run_id="again"))
    assert caught.value.code == "IMAGE_MISSING"


async def test_a_root_that_is_not_what_was_made_of_it_is_refused(
    box: ContainerRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the name means another image again at once, there is no root, and nothing runs."""
    docker = box.sandbox._starter.docker
    monkeypatch.setattr(docker, "import_image", lambda *_: None)
    monkeypatch.setattr(docker, "image", lambda _: {"Id": "x", "RootFS": {"Layers": ["sha256:0"]}})
    outcome, sink = await box(shell("echo never"))
    assert (outcome.end, sink.out) == (End.ENGINE_FAILURE, b"")
    assert "not what was made" in outcome.detail
