"""The image a container is of: found, never fetched, and judged by what it could have run.

The launcher is the daemon's own, also where the root file system is a stranger's: nothing of an
image is to run, or to lead what runs, before the tool is told to. So what an image would set in the
launcher's environment is unset by name, and one that has the host's loader load something first is
refused. The empty root is known by its content, for a name is whatever an image that was loaded
said it was. Raises `SpecRefusedError` for what cannot be used, `EngineError` for the rest.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox import foreign_root, root_image
from sandbox.docker_engine import DockerEngine, EngineError
from sandbox.errors import SpecRefusedError


@dataclass(frozen=True, slots=True)
class Image:
    """An image that may be used, by its id; and which variables it would set."""

    id: str
    variables: tuple[str, ...] = ()


def empty_root(docker: DockerEngine, uid: int) -> Image:
    """The root of tools without an image, which is made if the engine does not have it."""
    archive, digest = root_image.archive(uid)
    tag = root_image.tag_of(digest)
    reference = f"{root_image.REPOSITORY}:{tag}"
    if not _is_layer(docker.image(reference), digest):
        docker.import_image(archive, root_image.REPOSITORY, tag)
    found = docker.image(reference)
    if found is None or not _is_layer(found, digest):
        raise EngineError(f"the image {reference} is not what was made of it")
    return _image(found)


def own(docker: DockerEngine, reference: str, name: str, labels: Mapping[str, str]) -> Image:
    """A tool's own. `name` and `labels` are of the container that is made to look into it."""
    found = docker.image(reference)
    if found is None:
        raise SpecRefusedError(
            "IMAGE_MISSING",
            "Docker Engine does not have the tool's image",
            f"docker pull {reference}, or docker load; Stockade fetches nothing itself",
        )
    if (found.get("Config") or {}).get("Volumes"):
        # Docker would make each a writable directory on the host's disk.
        raise SpecRefusedError(
            "IMAGE_REFUSED", "the tool's image declares volumes", "use one that does not"
        )
    image = _image(found)
    folder, listed = docker.look_into(image.id, name, labels, foreign_root.LED_BY)
    if listed.there or (folder.there and not folder.is_directory):
        place, preload = foreign_root.LED_BY
        raise SpecRefusedError(
            "IMAGE_REFUSED",
            f"the tool's image has {preload}, or {place} is no directory there",
            f"use one without {preload}, which every program would load first",
        )
    return image


def _is_layer(found: Mapping[str, Any] | None, digest: str) -> bool:
    """Whether an image is exactly one archive of ours."""
    layers = ((found or {}).get("RootFS") or {}).get("Layers")
    return layers == [f"sha256:{digest}"] and not ((found or {}).get("Config") or {}).get("Volumes")


def _image(found: Mapping[str, Any]) -> Image:
    variables = (found.get("Config") or {}).get("Env") or ()
    names = (str(one).partition("=")[0] for one in variables)
    return Image(str(found["Id"]), tuple(name for name in names if name))
