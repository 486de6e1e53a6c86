"""Docker Engine alone, running what the tiers' benchmarks run: the command line, start to end."""

import os
import shutil
import subprocess
from collections.abc import Sequence

from bench.sampling import StepError
from sandbox import root_image
from sandbox.docker_engine import DockerEngine, EngineError

SOCKET = "/var/run/docker.sock"


def runtimes() -> frozenset[str]:
    """What the engine of this machine can run with; nothing where there is none."""
    if shutil.which("docker") is None:
        return frozenset()
    try:
        return frozenset(DockerEngine(SOCKET).info().runtimes)
    except EngineError:
        return frozenset()


class BareEngine:
    """`docker run` of /bin/true on the root image of the tiers, without network, removed after."""

    def __init__(self, runtime: str) -> None:
        uid = os.geteuid() or 65534
        _, digest = root_image.archive(uid)
        self._command: Sequence[str] = (
            *("docker", "run", "--rm", "--network=none", f"--runtime={runtime}", "--read-only"),
            *("--volume=/usr:/usr:ro", f"--user={uid}:{uid}", "--cap-drop=ALL"),
            *(f"{root_image.REPOSITORY}:{root_image.tag_of(digest)}", "/bin/true"),
        )

    def run(self) -> None:
        """Starts it and waits for its end."""
        done = subprocess.run(self._command, capture_output=True, check=False)
        if done.returncode != 0:
            raise StepError(f"exit status {done.returncode}")
