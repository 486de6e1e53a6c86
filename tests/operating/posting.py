"""A server on this machine that takes what the daemon posts: refuses, hangs, or keeps it."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

# Longer than the daemon waits.
HANG_SECONDS = 300


@dataclass
class Posted:
    """What came; the server refuses as often as it was told to, or hangs."""

    refuse: int = 0
    hang: threading.Event | None = None
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    tries: int = 0


@contextmanager
def posted_to(posted: Posted, path: str) -> Iterator[str]:
    """The server's address, with this path, while it serves."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            posted.tries += 1
            if posted.hang is not None:
                posted.hang.wait(HANG_SECONDS)
            if posted.tries <= posted.refuse:
                self.send_error(503)
                return
            posted.got.append((dict(self.headers.items()), body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
            del format, args

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}{path}"
    finally:
        if posted.hang is not None:
            posted.hang.set()
        server.shutdown()
        server.server_close()
