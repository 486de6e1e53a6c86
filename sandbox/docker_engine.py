"""Docker Engine, as the container tiers need it: the only module that knows the docker SDK.

Everything here blocks and is called from threads. Containers are described in the Engine API's own
terms, so that what is asked for is exactly what is written here and nothing is filled in from the
environment or from a user's Docker settings. Trusted to leave nothing behind when a start fails.
Raises `EngineError` only.
"""

import os
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from sandbox.engine_answers import Ended, Engine, Known, Seen, ended, engine, known, seen
from sandbox.engine_socket import distrusted

T = TypeVar("T")

INSTANCE_LABEL = "stockade.instance"
TIER_LABEL = "stockade.tier"
API_VERSION = "1.41"  # Docker 20.10 and later; what is too new for that is asked in its oldest
_SECONDS = 60
_REMOVAL_SECONDS = 10
_HEAD = 16 * 1024


class EngineError(Exception):
    """The engine did not do what it was asked.

    `unreachable`: there is none to ask. `image_gone`: it does not have the image any more.
    """

    def __init__(
        self, message: str, *, unreachable: bool = False, image_gone: bool = False
    ) -> None:
        super().__init__(message)
        self.unreachable = unreachable
        self.image_gone = image_gone


@dataclass(frozen=True, slots=True)
class Attached:
    """A container that runs: its id, its streams (one socket, ours to close), its first process."""

    container: str
    streams: int
    pid: int


class DockerEngine:
    """One engine, at one socket. Nothing is asked of it before the first call."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._client: Any = None

    def info(self) -> Engine:
        """Ask what it can do."""
        return self._ask(lambda api: engine(api.info()))

    def image(self, reference: str) -> Mapping[str, Any] | None:
        """An image's id and configuration; None if the engine does not have it."""

        def inspect(api: Any) -> Mapping[str, Any] | None:
            from docker.errors import ImageNotFound

            try:
                return dict(api.inspect_image(reference))
            except ImageNotFound:
                return None

        return self._ask(inspect)

    def import_image(self, archive: bytes, repository: str, tag: str) -> None:
        """Make an image of a tar archive."""
        self._ask(lambda api: api.import_image_from_data(archive, repository, tag))

    def remove_image(self, reference: str) -> None:
        """Take an image, or a name of one, away."""
        self._ask(lambda api: api.remove_image(reference))

    def look_into(
        self, image: str, name: str, labels: Mapping[str, str], paths: Sequence[str]
    ) -> tuple[Seen, ...]:
        """What is at these paths. It takes a container of this name, in which nothing runs."""
        plan = {"Image": image, "Cmd": ["-"], "NetworkDisabled": True, "Labels": dict(labels)}
        container = self._create(name, plan)
        try:
            return tuple(self._ask(partial(_seen, container, path)) for path in paths)
        finally:
            self.remove(container, ())

    def start(self, name: str, config: Mapping[str, Any], volumes: Sequence[str]) -> Attached:
        """Create a container with these volumes of its own, take hold of its streams, start it."""
        container = self._create(name, config)
        streams = -1
        try:
            streams = self._ask(lambda api: _attach(self._path, api.api_version, container))
            self._ask(lambda api: api.start(container))
            pid = self._ask(lambda api: int(api.inspect_container(container)["State"]["Pid"]))
            return Attached(container, streams, pid)
        except BaseException:
            if streams >= 0:
                os.close(streams)
            self.remove(container, volumes)
            raise

    def _create(self, name: str, config: Mapping[str, Any]) -> str:
        def create(api: Any) -> str:
            return str(api.create_container_from_config(dict(config), name)["Id"])

        return self._ask(create)

    def limit_pids(self, container: str, count: int) -> None:
        """Lower the number of processes of a container that runs."""

        # The SDK's update_container does not know this limit.
        def update(api: Any) -> None:
            where = f"{api.base_url}/v{api.api_version}/containers/{container}/update"
            answer = api.post(where, json={"PidsLimit": count})
            if not answer.ok:
                raise EngineError(answer.text[:500] or f"refused: {answer.status_code}")

        self._ask(update)

    def ended(self, container: str) -> Ended:
        """How a container stands."""
        return self._ask(lambda api: ended(api.inspect_container(container)["State"]))

    def remove(self, container: str, volumes: Sequence[str]) -> None:
        """Kill and remove a container and its volumes; what is gone is what was wanted."""

        def remove(api: Any) -> None:
            from docker.errors import APIError, NotFound

            try:
                api.remove_container(container, v=True, force=True)
            except NotFound:
                return
            except APIError as error:
                if error.status_code != 409:
                    raise
                # Its removal is under way already; until it is over, it holds its volumes.
                with suppress(NotFound):
                    answer = api.wait(container, timeout=_REMOVAL_SECONDS, condition="removed")
                    if failed := answer.get("Error"):  # so did whoever removed it, and it is there
                        raise EngineError(str(failed.get("Message"))) from None

        self._ask(remove)
        for name in volumes:
            self.remove_volume(name)

    def containers(self, labels: Mapping[str, str]) -> tuple[Known, ...]:
        """The containers with these labels."""
        wanted = [f"{name}={value}" for name, value in labels.items()]

        def listed(api: Any) -> tuple[Known, ...]:
            return tuple(map(known, api.containers(all=True, filters={"label": wanted})))

        return self._ask(listed)

    def volumes(self, labels: Mapping[str, str]) -> tuple[str, ...]:
        """The volumes with these labels."""
        wanted = [f"{name}={value}" for name, value in labels.items()]

        def named(api: Any) -> tuple[str, ...]:
            found = api.volumes(filters={"label": wanted}).get("Volumes")
            return tuple(str(one["Name"]) for one in found or ())

        return self._ask(named)

    def remove_volume(self, name: str) -> None:
        """Remove a volume that no container holds any more."""

        def remove(api: Any) -> None:
            from docker.errors import NotFound

            try:
                api.remove_volume(name)
            except NotFound:
                return

        self._ask(remove)

    def close(self) -> None:
        """Close idle connections."""
        if self._client is not None:
            self._client.close()

    def _ask(self, question: Callable[[Any], T]) -> T:
        if why := distrusted(self._path):
            raise EngineError(f"{why}: whoever that is could be the engine", unreachable=True)
        if self._client is None:
            _knock(self._path)  # a host without an engine need not load what speaks to one
        import requests
        from docker.errors import APIError, DockerException, ImageNotFound

        try:
            if (client := self._client) is None:
                client = self._client = _connect(self._path)
            return question(client)
        except EngineError:
            raise
        except APIError as error:
            gone = isinstance(error, ImageNotFound)
            raise EngineError(_said(error), image_gone=gone) from None
        except (DockerException, requests.RequestException, OSError) as error:
            self._client = None  # what comes back may be another version
            raise EngineError(_unreachable(self._path, error), unreachable=True) from None
        except Exception as error:  # noqa: BLE001 - what the SDK or we make of a senseless answer
            fault = f"{self._path} answers otherwise than Docker Engine ({type(error).__name__})"
            raise EngineError(fault) from None


def _knock(path: str) -> None:
    try:
        with socket.socket(socket.AF_UNIX) as found:
            found.settimeout(_SECONDS)
            found.connect(path)
    except OSError as error:
        raise EngineError(f"{path}: {error.strerror or error}", unreachable=True) from None


def _connect(path: str) -> Any:
    client = _client(path, API_VERSION)
    least = str(client.version(api_version=False).get("MinAPIVersion") or API_VERSION)
    return client if _parts(least) <= _parts(API_VERSION) else _client(path, least)


def _client(path: str, version: str) -> Any:
    # Imported late: it takes 0.1 s and 6 MB.
    from docker import APIClient

    client = APIClient(base_url=f"unix://{path}", version=version, timeout=_SECONDS)
    # Else it keeps one open for every address it was ever asked for, and uses none again.
    client.headers["Connection"] = "close"
    return client


def _parts(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def _attach(path: str, version: str, container: str) -> int:
    """A connection of our own that is, from here on, the container's three streams."""
    target = f"/v{version}/containers/{container}/attach?stream=1&stdin=1&stdout=1&stderr=1"
    with socket.socket(socket.AF_UNIX) as found:
        found.settimeout(_SECONDS)
        found.connect(path)
        found.sendall(
            f"POST {target} HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\n"
            "Upgrade: tcp\r\nContent-Length: 0\r\n\r\n".encode()
        )
        head = b""
        # Byte by byte: what comes after the answer is the container's already.
        while len(head) < _HEAD and not head.endswith(b"\r\n\r\n") and (byte := found.recv(1)):
            head += byte
        if not head.startswith((b"HTTP/1.1 101", b"HTTP/1.1 200")):
            raise EngineError(f"the streams were refused: {head[:200]!a}")
        found.setblocking(False)
        return found.detach()


def _seen(container: str, path: str, api: Any) -> Seen:
    where = f"{api.base_url}/v{api.api_version}/containers/{container}/archive"
    answer = api.head(where, params={"path": path})
    if answer.status_code == 404:
        return Seen(there=False)
    if not answer.ok:
        raise EngineError(f"{path} of an image was not shown: {answer.status_code}")
    return seen(answer.headers["X-Docker-Container-Path-Stat"])


def _said(error: Any) -> str:
    return str(error.explanation or error)[:500]


def _unreachable(path: str, error: Exception) -> str:
    reasons: Iterable[str] = (type(error).__name__,)
    at: BaseException | None = error
    while at is not None:
        for one in at.args:
            if isinstance(one, OSError):
                reasons = (one.strerror or str(one),)
        at = at.__cause__ or at.__context__
    return f"{path}: {'; '.join(reasons)}"
