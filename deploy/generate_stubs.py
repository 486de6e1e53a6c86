"""Generates the protobuf and gRPC stubs, typed, from proto/ into a directory.

    python deploy/generate_stubs.py stockade/v1

The stubs are committed; tests/structure generates them again and compares.
"""

import shutil
import sys
import tempfile
from importlib import resources
from pathlib import Path

from grpc_tools import protoc  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parent.parent


def generate(destination: Path) -> None:
    """Writes the stubs of every file of proto/stockade/v1 into `destination`."""
    sources = sorted((ROOT / "proto" / "stockade" / "v1").glob("*.proto"))
    plugins = Path(sys.executable).parent
    well_known = resources.files("grpc_tools") / "_proto"
    with tempfile.TemporaryDirectory() as scratch:
        status = protoc.main(
            [
                "protoc",
                f"--proto_path={ROOT / 'proto'}",
                f"--proto_path={well_known}",
                f"--plugin=protoc-gen-mypy={plugins / 'protoc-gen-mypy'}",
                f"--plugin=protoc-gen-mypy_grpc={plugins / 'protoc-gen-mypy_grpc'}",
                f"--python_out={scratch}",
                f"--grpc_python_out={scratch}",
                f"--mypy_out=quiet:{scratch}",
                f"--mypy_grpc_out=quiet:{scratch}",
                *(str(source) for source in sources),
            ]
        )
        if status != 0:
            raise SystemExit(status)
        destination.mkdir(parents=True, exist_ok=True)
        for made in sorted((Path(scratch) / "stockade" / "v1").iterdir()):
            shutil.copy(made, destination / made.name)


if __name__ == "__main__":
    generate(Path(sys.argv[1]))
