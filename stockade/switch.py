"""A channel whose credentials can change while it is used.

gRPC fixes the credentials of a channel when it is made. So there is a new channel for each new
certificate, and stubs are made of a `Switch`, which starts every RPC on the newest. RPCs under way
stay on the channel they began on, which is closed once it has none. Thread-safe.
"""

import threading
import weakref
from collections.abc import Callable
from typing import Any, Self

import grpc


class _Link:
    """One channel, and how many RPCs are under way on it."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.channel = channel
        self._uses = 0
        self._lock = threading.Lock()
        self._methods: dict[str, Any] = {}

    @property
    def idle(self) -> bool:
        return self._uses == 0

    def enter(self) -> None:
        with self._lock:
            self._uses += 1

    def leave(self) -> None:
        with self._lock:
            self._uses -= 1

    def method(self, path: str, make: Callable[[grpc.Channel], Any]) -> Any:
        """The channel's own callable for a method, made once."""
        if path not in self._methods:
            self._methods[path] = make(self.channel)
        return self._methods[path]


class _Following:
    """A stream of answers under way; its link is left when it ends, is cancelled or forgotten."""

    def __init__(self, call: Any, link: _Link) -> None:
        self._call = call
        self._leave = weakref.finalize(self, link.leave)  # which is once, whoever asks

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        try:
            return next(self._call)
        except BaseException:
            self._leave()
            raise

    def cancel(self) -> bool:
        """Tells the daemon that nobody listens."""
        self._leave()
        return bool(self._call.cancel())


class Switch:
    """Looks to the generated stubs like a channel."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._lock = threading.Lock()
        self._current = _Link(channel)
        self._before: list[_Link] = []

    def use(self, channel: grpc.Channel) -> None:
        """From now on RPCs begin on this channel."""
        with self._lock:
            self._before.append(self._current)
            self._current = _Link(channel)
        self.close_idle()

    def close_idle(self) -> None:
        """Closes the channels of before that nothing is under way on."""
        with self._lock:
            idle = [link for link in self._before if link.idle]
            self._before = [link for link in self._before if link not in idle]
        for link in idle:
            link.channel.close()

    def close(self) -> None:
        """Closes all."""
        with self._lock:
            links = [*self._before, self._current]
        for link in links:
            link.channel.close()

    def unary_unary(self, path: str, **codec: Any) -> Callable[..., Any]:
        """A method with one answer."""

        def ask(request: Any, *, timeout: float | None = None) -> Any:
            link = self._enter()
            try:
                return link.method(path, lambda channel: channel.unary_unary(path, **codec))(
                    request, timeout=timeout
                )
            finally:
                link.leave()

        return ask

    def unary_stream(self, path: str, **codec: Any) -> Callable[..., Any]:
        """A method with a stream of answers."""

        def follow(request: Any, *, timeout: float | None = None) -> Any:
            link = self._enter()
            try:
                call = link.method(path, lambda channel: channel.unary_stream(path, **codec))(
                    request, timeout=timeout
                )
            except BaseException:
                link.leave()
                raise
            return _Following(call, link)

        return follow

    def _enter(self) -> _Link:
        with self._lock:
            self._current.enter()
            return self._current
