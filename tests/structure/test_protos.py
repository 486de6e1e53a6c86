"""proto/ is the wire's reference: what it does not say of itself, nobody is told."""

from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)
from grpc_tools import protoc  # type: ignore[import-untyped] # published without types

from tests.structure.source import CHECKOUT

PROTOS = CHECKOUT / "proto"
Place = tuple[int, ...]
# Numbers of fields in descriptor.proto, by which source locations are found.
SERVICE, METHOD, MESSAGE, NESTED, ENUM, ENUM_IN_MESSAGE = 6, 2, 4, 3, 5, 4
SYNTAX: Place = (12,)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[FileDescriptorProto]:
    """Every file, with its comments."""
    out = tmp_path_factory.mktemp("protos") / "set"
    sources = sorted(str(path) for path in PROTOS.rglob("*.proto"))
    well_known = resources.files("grpc_tools") / "_proto"
    options = ["--include_source_info", f"--descriptor_set_out={out}"]
    places = [f"--proto_path={PROTOS}", f"--proto_path={well_known}"]
    assert protoc.main(["protoc", *places, *options, *sources]) == 0
    return list(FileDescriptorSet.FromString(Path(out).read_bytes()).file)


def uncommented(file: FileDescriptorProto, path: Place) -> bool:
    """Whether nothing is said of what is there."""
    found = [one for one in file.source_code_info.location if tuple(one.path) == path]
    return not any(one.leading_comments.strip() for one in found)


def enums_of(message: DescriptorProto, path: Place) -> Iterator[tuple[str, Place]]:
    for number, enum in enumerate(message.enum_type):
        yield enum.name, (*path, ENUM_IN_MESSAGE, number)
    for number, nested in enumerate(message.nested_type):
        yield from enums_of(nested, (*path, NESTED, number))


def test_every_file_says_what_it_is_about(files: list[FileDescriptorProto]) -> None:
    """At its top, before anything else."""
    assert len(files) >= 10
    assert [file.name for file in files if uncommented(file, SYNTAX)] == []


def test_every_rpc_says_what_it_does(files: list[FileDescriptorProto]) -> None:
    """A client's author has nothing else to go by."""
    missing = [
        f"{service.name}.{method.name}"
        for file in files
        for n, service in enumerate(file.service)
        for m, method in enumerate(service.method)
        if uncommented(file, (SERVICE, n, METHOD, m))
    ]
    assert missing == []


def test_every_enum_says_what_it_tells_apart(files: list[FileDescriptorProto]) -> None:
    """Wherever it is declared."""
    missing = []
    for file in files:
        found: list[tuple[str, Place]] = []
        found += ((enum.name, (ENUM, n)) for n, enum in enumerate(file.enum_type))
        for n, message in enumerate(file.message_type):
            found += enums_of(message, (MESSAGE, n))
        missing += [f"{file.name} {name}" for name, path in found if uncommented(file, path)]
    assert missing == []
