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
from typing import Any, TypeVar

T = TypeVar("T")

INSTANCE_LABEL = "stockade.instance"
TIER_LABEL = "stockade.tier"
API_VERSION = "1.41"  # Docker 20.10 and later
_SECONDS = 60
_REMOVAL_SECONDS = 10


class EngineError(Exception):
    """The engine did not do what it was asked. `unreachable`: there is none to ask."""

    def __init__(self, message: str, *, unreachable: bool = False) -> None:
        super().__init__(message)
        self.unreachable = unreachable


@dataclass(frozen=True, slots=True)
class Engine:
    """What an engine says of itself, as far as controls depend on it."""

    version: str
    runtimes: Mapping[str, str]  # the program of each, by its name; empty where it is no program
    cgroup_version: str
    limits_memory: bool
    limits_swap: bool
    limits_pids: bool
    user_namespaces: bool


@dataclass(frozen=True, slots=True)
class Attached:
    """A container that runs: its id, its streams (one socket, ours to close), its first process."""

    container: str
    streams: int
    pid: int


@dataclass(frozen=True, slots=True)
class Known:
    """A container that is there."""

    container: str
    name: str
    running: bool


@dataclass(frozen=True, slots=True)
class Ended:
    """What the engine knows of a container's end."""

    running: bool
    out_of_memory: bool
    exit_code: int
    error: str


class DockerEngine:
    """One engine, at one socket. Nothing is asked of it before the first call."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._client: Any = None

    def info(self) -> Engine:
        """Ask what it can do."""
        found = self._ask(lambda api: api.info())
        return Engine(
            version=str(found.get("ServerVersion", "")),
            runtimes={
                str(name): str((one or {}).get("path") or "")
                for name, one in (found.get("Runtimes") or {}).items()
            },
            cgroup_version=str(found.get("CgroupVersion") or "1"),
            limits_memory=bool(found.get("MemoryLimit")),
            limits_swap=bool(found.get("SwapLimit")),
            limits_pids=bool(found.get("PidsLimit")),
            user_namespaces=any("userns" in one for one in found.get("SecurityOptions") or ()),
        )

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

    def start(self, name: str, config: Mapping[str, Any], volumes: Sequence[str]) -> Attached:
        """Create a container with these volumes of its own, take hold of its streams, start it."""
        made = self._ask(lambda api: api.create_container_from_config(dict(config), name))
        container = str(made["Id"])
        streams = -1
        try:
            streams = self._ask(lambda _: _attach(self._path, container))
            self._ask(lambda api: api.start(container))
            state = self._ask(lambda api: api.inspect_container(container)["State"])
            return Attached(container, streams, int(state["Pid"]))
        except BaseException:
            if streams >= 0:
                os.close(streams)
            self.remove(container, volumes)
            raise

    def limit_pids(self, container: str, count: int) -> None:
        """Lower the number of processes of a container that runs."""

        # The SDK's update_container does not know this limit.
        def update(api: Any) -> None:
            where = f"{api.base_url}/v{API_VERSION}/containers/{container}/update"
            answer = api.post(where, json={"PidsLimit": count})
            if not answer.ok:
                raise EngineError(answer.text[:500])

        self._ask(update)

    def ended(self, container: str) -> Ended:
        """How a container stands."""
        state = self._ask(lambda api: api.inspect_container(container)["State"])
        return Ended(
            running=bool(state["Running"]),
            out_of_memory=bool(state["OOMKilled"]),
            exit_code=int(state["ExitCode"]),
            error=str(state["Error"]),
        )

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
                    api.wait(container, timeout=_REMOVAL_SECONDS, condition="removed")

        self._ask(remove)
        for name in volumes:
            self.remove_volume(name)

    def containers(self, labels: Mapping[str, str]) -> tuple[Known, ...]:
        """The containers with these labels."""
        wanted = [f"{name}={value}" for name, value in labels.items()]
        found = self._ask(lambda api: api.containers(all=True, filters={"label": wanted}))
        return tuple(
            Known(str(one["Id"]), "".join(one["Names"]).strip("/"), one.get("State") == "running")
            for one in found
        )

    def volumes(self, labels: Mapping[str, str]) -> tuple[str, ...]:
        """The volumes with these labels."""
        wanted = [f"{name}={value}" for name, value in labels.items()]
        found = self._ask(lambda api: api.volumes(filters={"label": wanted}))
        return tuple(str(one["Name"]) for one in found.get("Volumes") or ())

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
        if self._client is None:
            _knock(self._path)  # a host without an engine need not load what speaks to one
        import requests
        from docker.errors import APIError, DockerException

        try:
            if self._client is None:
                self._client = _connect(self._path)
            return question(self._client)
        except APIError as error:
            raise EngineError(_said(error)) from None
        except (DockerException, requests.RequestException, OSError) as error:
            raise EngineError(_unreachable(self._path, error), unreachable=True) from None


def _knock(path: str) -> None:
    try:
        with socket.socket(socket.AF_UNIX) as found:
            found.settimeout(_SECONDS)
            found.connect(path)
    except OSError as error:
        raise EngineError(f"{path}: {error.strerror or error}", unreachable=True) from None


def _connect(path: str) -> Any:
    # Imported late: it takes 0.1 s and 6 MB.
    from docker import APIClient

    client = APIClient(base_url=f"unix://{path}", version=API_VERSION, timeout=_SECONDS)
    # Else it keeps one open for every address it was ever asked for, and uses none again.
    client.headers["Connection"] = "close"
    return client


def _attach(path: str, container: str) -> int:
    """A connection of our own that is, from here on, the container's three streams."""
    target = f"/v{API_VERSION}/containers/{container}/attach?stream=1&stdin=1&stdout=1&stderr=1"
    with socket.socket(socket.AF_UNIX) as found:
        found.settimeout(_SECONDS)
        found.connect(path)
        found.sendall(
            f"POST {target} HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\n"
            "Upgrade: tcp\r\nContent-Length: 0\r\n\r\n".encode()
        )
        head = b""
        # Byte by byte: what comes after the answer is the container's already.
        while not head.endswith(b"\r\n\r\n") and (byte := found.recv(1)):
            head += byte
        if not head.startswith((b"HTTP/1.1 101", b"HTTP/1.1 200")):
            raise EngineError(f"the streams were refused: {head[:200]!a}")
        found.setblocking(False)
        return found.detach()


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
