"""Sources of secrets in the configuration: bounds of every key, and names of one form."""

import pytest

from daemon.config import EnvFile, OpenBao, parse_config
from daemon.errors import ConfigError

Table = dict[str, tuple[list[str], list[str]]]
FILE: Table = {
    "path": (['"/a.env"'], ['"a.env"', '""', '"~/a"', "1"]),
    "names": (
        ["{}", '{ a = "A" }', '{ "a.b-c_1" = "_A1" }'],
        ['{ A = "A" }', '{ a = "1A" }', '{ a = "A B" }', '{ "../a" = "A" }', '{ a = "" }', "[]"],
    ),
}
BAO: Table = {
    "address": (
        ['"https://bao.example"', '"http://127.0.0.1:8200"', '"http://[::1]:8200/"'],
        ['"http://bao.example"', '"https://a/v1"', '"https://a:b"', '"https://u:p@a"', '""', "1"],
    ),
    "authority_file": (['""', '"/ca.pem"'], ['"ca.pem"', "1"]),
    "token_file": (['"/token"'], ['"token"', '""', "1"]),
    "token_credential": (['""'], ['"bao"', '"../x"', "1"]),
    "namespace": (['""', '"team/one"'], ['"a b"', '"a\\nb"', "1"]),
    "mount": (['"secret"', '"kv/team"'], ['""', '"/kv"', '"kv/"', '"kv?x"', "1"]),
    "timeout_seconds": (["0.1", "60"], ["0", "61", "nan", "inf", '"5"']),
    "names": (
        ["{}", '{ a = "apps/mail#password" }'],
        ['{ a = "apps/mail" }', '{ a = "../x#y" }', '{ A = "a#b" }', '{ a = "a#b#c" }', "[]"],
    ),
}
WHOLE = {
    "env_files": {"path": '"/a.env"'},
    "openbao": {"token_file": '"/token"'},
}


def text(section: str, key: str, value: str) -> bytes:
    entry = {**WHOLE[section], key: value}
    return (f"[{section}.one]\n" + "".join(f"{k} = {v}\n" for k, v in entry.items())).encode()


def cases(which: int) -> list[tuple[str, str, str]]:
    tables = (("env_files", FILE), ("openbao", BAO))
    return [
        (section, key, value)
        for section, table in tables
        for key, both in table.items()
        for value in both[which]
    ]


def test_every_key_has_bounds_here() -> None:
    """A key that is added has to be added to this test."""
    assert set(EnvFile.model_fields) == set(FILE)
    assert set(OpenBao.model_fields) == set(BAO)


@pytest.mark.parametrize(("section", "key", "value"), cases(0))
def test_a_value_within_bounds_is_taken(section: str, key: str, value: str) -> None:
    """Its edges included."""
    parse_config(text(section, key, value))


@pytest.mark.parametrize(("section", "key", "value"), cases(1))
def test_a_value_out_of_bounds_is_refused(section: str, key: str, value: str) -> None:
    """With the section's name; nothing is converted."""
    with pytest.raises(ConfigError, match=rf"{section}\.one"):
        parse_config(text(section, key, value))


def test_the_token_is_in_one_place() -> None:
    """A file or a credential; neither or both is refused."""
    parse_config(b'[openbao.one]\ntoken_credential = "bao"\n')
    with pytest.raises(ConfigError):
        parse_config(b"[openbao.one]\n")


@pytest.mark.parametrize("name", ["Team", "a/b", '""', '"a b"', '"../x"', "a" * 64])
@pytest.mark.parametrize("section", WHOLE)
def test_a_sources_name_has_one_form(section: str, name: str) -> None:
    """It is a part of references, which policies permit and forbid by."""
    (key, value), *_ = WHOLE[section].items()
    with pytest.raises(ConfigError):
        parse_config(f"[{section}.{name}]\n{key} = {value}\n".encode())
