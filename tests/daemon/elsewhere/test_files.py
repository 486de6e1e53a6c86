"""Secrets of an environment file: read anew each time, and only if nobody else could write it."""

import os
from pathlib import Path

import anyio
import pytest

from daemon.config import parse_config
from daemon.elsewhere.sources import Sources
from daemon.errors import ConfigError, Fault
from vault.reference import parse_reference


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "team.env"
    path.touch(mode=0o600)
    path.write_bytes(b"API_TOKEN='first'\nOTHER=hidden\n")
    return path


def sources(file: Path) -> Sources:
    text = f'[env_files.team]\npath = "{file}"\nnames = {{ api-token = "API_TOKEN", no = "NO" }}\n'
    return Sources.configured(parse_config(text.encode()))


def fetch(source: Sources, name: str = "api-token") -> tuple[int, bytes]:
    version, value = anyio.run(source.fetch, parse_reference(f"secret://source/team/{name}"))
    with value:
        return version, value.reveal()


def refused(source: Sources, name: str = "api-token") -> Fault:
    with pytest.raises(Fault) as caught:
        fetch(source, name)
    assert caught.value.fix
    return caught.value


def test_the_version_is_the_second_of_the_last_change(file: Path) -> None:
    """A change counts for the next fetch."""
    source = sources(file)
    os.utime(file, (1_700_000_000, 1_700_000_000))
    assert fetch(source) == (1_700_000_000, b"first")
    file.write_bytes(b"API_TOKEN=second\n")
    os.utime(file, (1_700_000_009, 1_700_000_009))
    assert fetch(source) == (1_700_000_009, b"second")


def test_a_variable_that_is_not_named_cannot_be_had(file: Path) -> None:
    """Though it is in the file; and one that is named has to be there."""
    source = sources(file)
    assert refused(source, "other").code == "UNKNOWN_SECRET"
    assert refused(source, "no").code == "UNKNOWN_SECRET"


def test_an_empty_value_is_none(file: Path) -> None:
    """As in the vault."""
    file.write_bytes(b"API_TOKEN=\n")
    assert refused(sources(file)).code == "SOURCE_MALFORMED"


def test_a_file_in_doubt_gives_nothing(file: Path) -> None:
    """Not the lines before the one that cannot be read; and the line is named, not told."""
    file.write_bytes(b"API_TOKEN=first\nexport X=hidden\n")
    fault = refused(sources(file))
    assert fault.code == "SOURCE_MALFORMED"
    assert "line 2" in fault.message
    assert "hidden" not in fault.message


def test_a_file_that_others_can_read_or_that_is_not_there_gives_nothing(file: Path) -> None:
    """Nor does one that is a link, or too large."""
    source = sources(file)
    file.chmod(0o640)
    assert refused(source).code == "SOURCE_UNUSABLE"
    file.chmod(0o600)
    with file.open("ab") as more:
        more.write(b"#" * 1024 * 1024)
    assert refused(source).code == "SOURCE_UNUSABLE"
    target = file.rename(file.with_name("moved"))
    assert refused(source).code == "SOURCE_UNUSABLE"
    file.symlink_to(target)
    assert refused(source).code == "SOURCE_UNUSABLE"


def test_two_sources_of_one_name_are_refused() -> None:
    """A reference means one secret."""
    text = b'[env_files.x]\npath = "/a"\n[openbao.x]\ntoken_file = "/t"\n'
    with pytest.raises(ConfigError, match="two sources of secrets are named x"):
        parse_config(text)
