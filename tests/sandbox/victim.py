"""A daemon to be killed: starts runs, says so, and never ends by itself."""

import sys

import anyio

from sandbox import ProcessSandbox, ProcessSettings
from sandbox.tier import Stream
from tests.sandbox.conftest import shell

_SCRIPT = "setsid sh -c 'echo up; sleep 1000' & sleep 1000"


async def main() -> None:
    """Run one tool, with a grandchild in a session of its own, until killed."""

    async def say(_stream: Stream, data: bytes) -> None:
        sys.stdout.buffer.write(data)
        sys.stdout.flush()

    instance, use_cgroups = sys.argv[1:]
    settings = ProcessSettings(instance, use_cgroups=use_cgroups == "yes")
    sys.stdout.write("starting\n")
    sys.stdout.flush()
    await ProcessSandbox(settings).run(shell(_SCRIPT), say)


if __name__ == "__main__":
    anyio.run(main)
