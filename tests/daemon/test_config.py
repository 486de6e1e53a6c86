"""The configuration: every key's bounds, and what is refused."""

from decimal import Decimal
from pathlib import Path

import pytest

from daemon.config import Config, load_config, parse_config
from daemon.config_file import MANY
from daemon.errors import ConfigError

# One row a key: what is accepted at its edges, what is refused beyond them. Values are TOML.
BOUNDS: dict[str, tuple[list[str], list[str]]] = {
    "server.listen": (
        ['"127.0.0.1:0"', '"[::1]:7607"', '"localhost:65535"', '"0.0.0.0:1"'],
        ['"127.0.0.1"', '":7607"', '"127.0.0.1:http"', '"a b:1"', '"x:1\\n"', "7607", '""'],
    ),
    "server.pairing_host": (['""', '"daemon.example"'], ["1", "[]"]),
    "server.drain_seconds": (["0", "3600"], ["-1", "3601", "1.0", '"10"', "true"]),
    "identity.device_certificate_hours": (
        ["1", "8784", "2.5", "0.001"],
        ["0", "8785", "0.0009", "-1", "nan", "inf", "true", '"24"'],
    ),
    "identity.local_certificate_hours": (
        ["1", "8784", "0.001"],
        ["0", "8785", "0.0009", "nan", "inf", '"720"'],
    ),
    "identity.agent_certificate_hours": (
        ["1", "8784", "0.001"],
        ["0", "8785", "nan", "inf", '"8"'],
    ),
    "identity.server_certificate_hours": (
        ["1", "8784", "0.001"],
        ["0", "8785", "nan", "inf", '"24"'],
    ),
    "identity.authority_overlap_hours": (
        ["1", "8784", "0.001"],
        ["0", "8785", "nan", "inf", '"24"'],
    ),
    "authority.key": (['"file"'], ['"token"', '"hsm"', '""', "1"]),
    "authority.module": (['""', '"/usr/lib/module.so"'], ['"module.so"', '"~/m.so"', "1"]),
    "authority.token": (['""', f'"{"x" * 32}"'], [f'"{"x" * 33}"', "1"]),
    "authority.key_label": (['"a"', '"My Key-1_2.3"'], ['""', '"a/b"', f'"{"x" * 65}"', "1"]),
    "authority.pin_file": (['""', '"/etc/stockade/pin"'], ['"pin"', "1234"]),
    "authority.pin_credential": (['""', '"stockade.pin"'], ['"../pin"', '"a b"', "1234"]),
    "vault.root": (
        ['"keychain"', '"file"', '"credential"', '"passphrase"'],
        ['"token"', '"File"', '"none"', '""', "1"],
    ),
    "vault.credential": (['"a"', '"stockade.root"'], ['""', '"../root"', '"a b"', "1"]),
    "vault.passphrase_file": (['""', '"/etc/stockade/words"'], ['"words"', '"~/w"', "1234"]),
    "vault.passphrase_credential": (['""', '"words"'], ['"../words"', '"a b"', "1234"]),
    "vault.module": (['""', '"/usr/lib/module.so"'], ['"module.so"', '"~/m.so"', "1"]),
    "vault.token": (['""', f'"{"x" * 32}"'], [f'"{"x" * 33}"', "1"]),
    "vault.pin_file": (['""', '"/etc/stockade/pin"'], ['"pin"', "1234"]),
    "vault.pin_credential": (['""', '"stockade.pin"'], ['"../pin"', '"a b"', "1234"]),
    "vault.keep_versions": (["0", "100"], ["-1", "101", "1.5", "true"]),
    "vault.expiry_warning_days": (["0", "366"], ["-1", "367", "1.5", "true"]),
    "ledger.witness_for": (["[]", '["/etc/a.pub"]'], ['["a.pub"]', '"/etc/a.pub"', '[""]']),
    "ledger.key": (['"file"'], ['"hsm"', '""', '"File"', "1"]),
    "ledger.contents": (['"full"', '"redacted"', '"none"'], ['"some"', '""', "0"]),
    "ledger.output_kib": (["0", "256"], ["-1", "257", "1.5", "true"]),
    "ledger.retain_days": (["0", "36500"], ["-1", "36501", "1.5", "true"]),
    "ledger.retain_mib": (["0", "1000000000"], ["-1", "1000000001", "1.5", "true"]),
    "ledger.checkpoint_seconds": (["1", "86400"], ["0", "86401", "1.5", "true"]),
    "ledger.checkpoint_receipts": (["1", "1000000000"], ["0", "1000000001", "1.5", "true"]),
    "ledger.checkpoint_file": (['""', '"/mnt/audit/c"'], ['"c"', '"~/c"', "1"]),
    "ledger.checkpoint_syslog": (
        ['""', '"/dev/log"', '"udp:logs.example.org:514"', '"tcp:[::1]:601"'],
        ['"log"', '"udp:host"', '"tls:host:1"', '"udp::514"', "1"],
    ),
    "ledger.checkpoint_webhook": (
        ['""', '"https://a.example.org"', '"http://127.0.0.1:8080/x?y"'],
        ['"a.example.org"', '"ftp://a/"', '"https://u:p@a/"', '"https:///x"', "1"],
    ),
    "approvals.escalate_after_seconds": (["0", "604800"], ["-1", "604801", "1.5"]),
    "approvals.lifetime_seconds": (["5", "604800"], ["4", "604801", "0", "5.0", '"600"']),
    "policy.time_zone": (
        ['"UTC"', '"Europe/Vienna"', '"America/Argentina/Buenos_Aires"'],
        ['"Nowhere/City"', '""', '"../etc/localtime"', '"/etc/localtime"', '"Europe"', "1"],
    ),
    "policy.watch": (["true", "false"], ["1", '"true"']),
    "policy.watch_quiet_seconds": (["0.1", "2", "3600"], ["0", "3601", "nan", "inf", '"2"']),
    "risk.container_floor": (["0", "0.6", '"0.3"', "0.0001"], ["-0.1", "1.1", "nan", "inf", "[]"]),
    "risk.gvisor_floor": (["0.3", "1", '"1.0"'], ["-1", "1.0001", "nan", '"high"', "0.29"]),
    "sandbox.require_cgroups": (["true", "false"], ["1", '"yes"']),
    "sandbox.refuse_known_escapes": (["true", "false"], ["1", '"yes"']),
    "sandbox.accepted_escapes": (
        ["[]", '["CVE-2025-31133"]'],
        ['["CVE-1999-1"]', '["cve-2025-31133"]', '"CVE-2025-31133"', "true"],
    ),
    "ready.per_profile": (["0", "256"], ["-1", "257", "1.5"]),
    "ready.total": (["0", "4096"], ["-1", "4097", "true"]),
    "ready.starts": (["1", "64"], ["0", "65", "1.5"]),
    "ready.idle_seconds": (["1", "86400"], ["0", "86401", "1.5"]),
    "containers.socket": (['"/run/docker.sock"', '"/x"'], ['"docker.sock"', '""', "1"]),
    "containers.runtime": (['"runc"', '"crun-1.0"'], ['""', '"a b"', '"-x"', "1"]),
    "containers.gvisor_runtime": (['"runsc"', '"runsc-kvm"'], ['""', '"../runsc"', "true"]),
    "containers.per_profile": (["0", "64"], ["-1", "65", "1.5"]),
    "containers.total": (["0", "1024"], ["-1", "1025", "true"]),
    "containers.starts": (["1", "64"], ["0", "65", "1.5"]),
    "containers.idle_seconds": (["1", "86400"], ["0", "86401", "1.5"]),
    "calls.max_running": (["1", "4096"], ["0", "4097", "-1", "1.5", "true"]),
    "calls.rest_seconds": (["0", "0.1", "60"], ["-0.1", "60.1", "nan", "inf", '"1"']),
    "sandbox.give_way_seconds": (["0.01", "1", "86400"], ["0", "86401", "nan", "inf", "-1"]),
    "calls.max_open_mib": (["1", "65536"], ["0", "65537", "-1", "1.5", "true"]),
    "rates.calls_per_second": (["1", "1000000"], ["0", "1000001", "-1", "0.5", "true"]),
    "rates.calls_burst": (["1", "1000000"], ["0", "1000001", "-1", "1.5", '"9"']),
    "rates.arguments_kib_per_second": (["1", "1000000000"], ["0", "-1", "1.5", "true"]),
    "rates.arguments_kib_burst": (["16384", "1000000000"], ["16383", "-1", "1.5", "true"]),
    "rates.administration_per_second": (["1", "1000000"], ["0", "1000001", "-1", "1.5", "true"]),
    "rates.administration_burst": (["1", "1000000"], ["0", "1000001", "-1", "1.5", "true"]),
    "rates.open_connections": (["4", "16384"], ["3", "16385", "-1", "1.5", "true"]),
    "rates.open_streams": (["4", "1000000"], ["3", "1000001", "-1", "1.5", "true"]),
    "rates.pairing_per_minute": (["1", "1000000"], ["0", "1000001", "-1", "1.5", "true"]),
    "rates.pairing_burst": (["1", "1000000"], ["0", "1000001", "-1", "1.5", "true"]),
    "calls.max_open": (["1", "1000000"], ["0", "1000001", '"20000"']),
    "calls.retain_output_kib": (["16", "65536"], ["15", "65537", "0"]),
    "server.keepalive_seconds": (["1", "60", "86400"], ["0", "86401", "-1", "1.5", "true"]),
    "server.connection_seconds": (["1", "3600"], ["0", "31536001", "-1", "1.5", "true"]),
    "sandbox.required_tiers": (
        ["[]", '["process"]', '["container", "gvisor"]'],
        ['["vm"]', '"process"', "[1]", '["Process"]', "true"],
    ),
    "metrics.listen": (
        ['""', '"127.0.0.1:0"', '"localhost:9607"', '"[::1]:9607"'],
        ['"0.0.0.0:1"', '"192.0.2.1:1"', '":1"', '"127.0.0.1"', '"127.example:1"', "9607"],
    ),
    "traces.endpoint": (
        ['""', '"http://127.0.0.1:4318/v1/traces"'],
        ['"127.0.0.1:4318"', '"grpc://a/"', '"http://u:p@a/"', '"http://a:0/"', "1"],
    ),
    "alerts.least": (['"info"', '"warning"', '"critical"'], ['"loud"', '""', "1"]),
    "alerts.denied_per_minute": (["1", "100000"], ["0", "100001", "-1", "1.5", "true"]),
    "alerts.strangers_per_minute": (["1", "100000"], ["0", "100001", "-1", "1.5", "true"]),
    "alerts.asked_per_minute": (["1", "100000"], ["0", "100001", "-1", "1.5", "true"]),
    "alerts.command": (
        ["[]", '["/bin/true"]', '["/bin/true", "$(id)", ""]'],
        ['["tell"]', '[""]', '["/"]', '["/bin/true", "\\u0000"]', '"/bin/true"', "[1]"],
    ),
    "alerts.command_seconds": (["1", "300"], ["0", "301", "1.5", "true"]),
    "alerts.reactions": (
        ["[]", '["suspend_principal", "revoke_leases", "start_maintenance"]'],
        ['["suspend"]', '"suspend_principal"', "[1]"],
    ),
    "alerts.webhook": (['""'], ['"ftp://a/"', '"https://u:p@a/"', '"https://a/"', "1"]),
    "alerts.webhook_key_file": (['""'], ['"key"', '"/etc/key"', "1"]),
    "alerts.webhook_key_credential": (['""'], ['"a/b"', '"key"', "1"]),
    "log.format": (['"auto"', '"json"', '"text"'], ['"JSON"', '""', "true"]),
    "log.level": (
        ['"debug"', '"info"', '"warning"', '"error"'],
        ['"trace"', '"INFO"', '"off"', "20"],
    ),
}
WORKSPACE_BOUNDS: dict[str, tuple[list[str], list[str]]] = {
    "path": (['"/"', '"/srv/work"'], ['"relative"', '""', '"~/x"', "1"]),
    "access": (['"read"', '"write"'], ['"rw"', '"Read"', '""', "true"]),
    "protected": (["[]", '["a", "b/c"]'], ['"a"', '[""]', '["/a"]', '["../a"]', '[".git"]']),
}


def accepted(table: dict[str, tuple[list[str], list[str]]]) -> list[tuple[str, str]]:
    return [(key, value) for key, (good, _) in table.items() for value in good]


def refused(table: dict[str, tuple[list[str], list[str]]]) -> list[tuple[str, str]]:
    return [(key, value) for key, (_, bad) in table.items() for value in bad]


def one(key: str, value: str) -> bytes:
    section, _, name = key.rpartition(".")
    return f"[{section}]\n{name} = {value}\n".encode()


@pytest.mark.parametrize(("key", "value"), accepted(BOUNDS))
def test_a_value_at_its_bounds_is_taken(key: str, value: str) -> None:
    """Every key takes what lies within its bounds, its edges included."""
    parse_config(one(key, value))


@pytest.mark.parametrize(("key", "value"), refused(BOUNDS))
def test_a_value_out_of_bounds_is_refused_by_key(key: str, value: str) -> None:
    """What is out of range or of another type is refused; the key and what to do are named."""
    with pytest.raises(ConfigError) as caught:
        parse_config(one(key, value), "its.toml")
    # Two floors that contradict each other are a fault of the section.
    assert f"its.toml: {key.partition('.')[0]}" in caught.value.message
    assert caught.value.code == "CONFIG_INVALID"
    assert caught.value.fix


TOKEN = 'module = "/m.so"\ntoken = "t"\n'


@pytest.mark.parametrize("pin", ['pin_file = "/pin"', 'pin_credential = "pin"'])
def test_a_key_in_a_token_needs_all_that_opens_it(pin: str) -> None:
    """Module, token, and one place of the PIN: each missing, or two places, is refused."""
    whole = f'[authority]\nkey = "token"\n{TOKEN}{pin}\n'
    assert parse_config(whole.encode()).authority.token_named
    for line in (*TOKEN.splitlines(), pin):
        with pytest.raises(ConfigError):
            parse_config(whole.replace(line, "").encode())
    both = '[authority]\npin_file = "/pin"\npin_credential = "pin"\n'
    with pytest.raises(ConfigError):
        parse_config(both.encode())


def test_every_key_has_bounds_here() -> None:
    """A key that is added to the configuration has to be added to this test."""
    keys = {
        f"{section}.{name}"
        for section, field in Config.model_fields.items()
        if section not in MANY
        for name in field.annotation.model_fields  # type: ignore[union-attr]
    }
    assert keys == set(BOUNDS)


@pytest.mark.parametrize(("key", "value"), accepted(WORKSPACE_BOUNDS))
def test_a_workspace_within_bounds(key: str, value: str) -> None:
    """A workspace has an absolute path and one of two kinds of access."""
    entry = {"path": '"/srv"', key: value}
    text = "[workspaces.notes]\n" + "".join(f"{k} = {v}\n" for k, v in entry.items())
    assert "notes" in parse_config(text.encode()).workspaces


@pytest.mark.parametrize(("key", "value"), refused(WORKSPACE_BOUNDS))
def test_a_workspace_out_of_bounds(key: str, value: str) -> None:
    """A workspace with a relative path or an access of its own making is refused."""
    entry = {"path": '"/srv"', key: value}
    text = "[workspaces.notes]\n" + "".join(f"{k} = {v}\n" for k, v in entry.items())
    with pytest.raises(ConfigError, match=rf"workspaces\.notes\.{key}: "):
        parse_config(text.encode())


@pytest.mark.parametrize("name", ["Notes", "1st", '""', '"a b"', '"../x"', '"ä"', "a" * 64])
def test_a_workspace_name_has_one_form(name: str) -> None:
    """Names that differ in case or hold odd characters are refused, so policy cannot miss one."""
    with pytest.raises(ConfigError, match="workspaces"):
        parse_config(f'[workspaces.{name}]\npath = "/srv"\n'.encode())


def test_a_workspace_is_read_only_unless_it_says_write() -> None:
    """Access that was not given is not had."""
    config = parse_config(b'[workspaces.notes]\npath = "/srv"\n')
    assert config.workspaces["notes"].access == "read"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[servr]\n", "servr"),
        ('[server]\nlisten_on = "127.0.0.1:1"\n', "server.listen_on"),
        ("[approvals]\nlifetime = 10\n", "approvals.lifetime"),
        ("[risk]\nContainer_floor = 0\n", "risk.Container_floor"),
        ('[workspaces.a]\npath = "/a"\nacces = "read"\n', "workspaces.a.acces"),
        ("drain_seconds = 1\n", "drain_seconds"),
    ],
)
def test_an_unknown_key_is_refused(text: str, key: str) -> None:
    """A typo must not remove a rule: unknown keys are refused, each by name."""
    with pytest.raises(ConfigError, match=f"{key}: unknown key"):
        parse_config(text.encode())


def test_all_mistakes_are_told_at_once() -> None:
    """Two mistakes are two lines, not two starts."""
    with pytest.raises(ConfigError) as caught:
        parse_config(b"[calls]\nmax_running = 0\n[log]\nlevl = 1\n")
    assert "calls.max_running" in caught.value.message
    assert "log.levl: unknown key" in caught.value.message


def test_the_floors_must_be_in_order() -> None:
    """A gVisor floor below the container floor is a contradiction, not a preference."""
    with pytest.raises(ConfigError, match="gvisor_floor must not be below container_floor"):
        parse_config(b"[risk]\ncontainer_floor = 0.7\ngvisor_floor = 0.5\n")


def test_a_floor_is_exact() -> None:
    """0.3 written without quotes is 3/10, not the nearest binary fraction."""
    assert parse_config(b"[risk]\ncontainer_floor = 0.3\n").risk.container_floor == Decimal("0.3")


@pytest.mark.parametrize(
    "data",
    [b"[server", b"\xff\xfe", b"a = 1\na = 2\n", b"[server]\n[server]\n", b"server = 1\n", b"\0"],
)
def test_what_is_not_toml_is_refused(data: bytes) -> None:
    """Broken TOML, other encodings and keys given twice are refused."""
    with pytest.raises(ConfigError):
        parse_config(data)


def test_an_empty_file_is_the_defaults() -> None:
    """Every key has a default."""
    assert parse_config(b"") == Config()


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    """A configuration that is not there is not read as permission to use the defaults."""
    with pytest.raises(ConfigError, match=r"config\.toml: No such file"):
        load_config(tmp_path / "config.toml")


def test_a_file_is_read(tmp_path: Path) -> None:
    """`load_config` names the file it complains of."""
    path = tmp_path / "config.toml"
    path.write_text("[calls]\nmax_running = 3\n")
    assert load_config(path).calls.max_running == 3
    path.write_text("[calls]\nmax_running = 0\n")
    with pytest.raises(ConfigError, match=str(path)):
        load_config(path)


def test_the_configuration_cannot_be_changed() -> None:
    """What was read at start is what holds until the end."""
    with pytest.raises(ValueError, match="frozen"):
        Config().calls.max_running = 4096


def test_a_ledgers_key_in_a_token_needs_the_token() -> None:
    """The one under [authority]: a key that nobody can make would be found out at a rotation."""
    text = '[ledger]\nkey = "token"\n'
    with pytest.raises(ConfigError, match="authority"):
        parse_config(text.encode())
    text += '[authority]\nmodule = "/m.so"\ntoken = "t"\npin_file = "/pin"\n'
    assert parse_config(text.encode()).ledger.key == "token"
