"""The commented configuration file, which says every key and changes nothing."""

import re
import tomllib

import pytest

from daemon.config import Config, parse_config
from daemon.config_file import MANY, commented_config, reference

# A key with its value; a list goes on in the lines below it.
KEY_LINE = re.compile(r"^# ([a-z_]+ = .+(?:(?<=,)\n# .+)*)$", re.MULTILINE)
SECTIONS = {
    section: field.annotation.model_fields  # type: ignore[union-attr]
    for section, field in Config.model_fields.items()
    if section not in MANY
}


def uncommented(text: str) -> str:
    return KEY_LINE.sub(lambda found: found[1].replace("\n# ", "\n"), text)


def example_of(section: str) -> str:
    """The example of a section, with its lines uncommented."""
    header = f"[{section}.{MANY[section][1]}]\n"
    _, _, after = commented_config("file").partition(f"# {header}")
    return header + uncommented(after.partition("\n\n")[0]) + "\n"


@pytest.mark.parametrize("root", ["keychain", "file"])
def test_as_written_it_is_the_defaults(root: str) -> None:
    """The file that init writes parses to the defaults, with the vault's root pinned."""
    config = parse_config(commented_config(root).encode())
    assert config.vault.root == root
    assert config.model_copy(update={"vault": Config().vault}) == Config()


def test_uncommented_it_is_the_defaults_too() -> None:
    """Every commented value is the default it says it is: taking the # away changes nothing."""
    text = commented_config("file")
    for section, (_, name) in MANY.items():
        before, example, after = text.partition(f"# [{section}.{name}]\n")
        assert example
        text = before + after.partition("\n\n")[2]
    without_example = uncommented(text)
    assert set(tomllib.loads(without_example)) == set(SECTIONS)
    config = parse_config(without_example.encode())
    assert config.model_copy(update={"vault": Config().vault}) == Config()


def test_the_example_of_a_workspace_can_be_used() -> None:
    """The workspace in the file works once its lines are uncommented."""
    config = parse_config(example_of("workspaces").encode())
    assert config.workspaces["notes"].access == "read"
    assert ".vscode" in config.workspaces["notes"].protected


def test_the_examples_of_other_sources_can_be_used() -> None:
    """The file and the server work once their lines are uncommented and the token has its place."""
    text = example_of("env_files") + example_of("openbao")
    config = parse_config(text.replace('token_file = ""', 'token_file = "/token"').encode())
    assert config.env_files["team"].names == {}
    assert config.openbao["central"].mount == "secret"


def test_every_key_is_in_the_file_with_its_meaning() -> None:
    """No key is undocumented in the file."""
    text = commented_config("file")
    flat = " ".join(text.replace("\n# ", " ").split())
    for section, fields in SECTIONS.items():
        assert f"\n[{section}]\n" in text
        for name, field in fields.items():
            assert re.search(rf"^(# )?{name} = ", text, re.MULTILINE)
            assert " ".join(str(field.description).split()) in flat


def test_every_key_is_in_the_reference() -> None:
    """No key is undocumented in docs/configuration.md."""
    text = reference()
    for section, fields in SECTIONS.items():
        assert f"## `[{section}]`" in text
        for name, field in fields.items():
            assert f"| `{name}` |" in text
            assert str(field.description) in text
    for section, (model, _) in MANY.items():
        assert f"## `[{section}.NAME]`" in text
        for name, field in model.model_fields.items():
            assert f"| `{name}` |" in text
            assert str(field.description) in text


def test_lines_are_short_enough_to_read() -> None:
    """The file fits a terminal."""
    assert max(map(len, commented_config("keychain").splitlines())) <= 100
