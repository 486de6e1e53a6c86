"""Making a data directory, and pairing the local command line with it.

Run by the operator's own user while no daemon runs: being that user is the proof that stands in for
a pairing code. Makes what is missing and touches nothing that is there, so it can be run again; the
local device gets a new certificate when its old one has ended or its key is another. Raises
`StartError`, `ConfigError` and the leaves' errors.
"""

import os
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import anyio.to_thread

from daemon.config import load_config
from daemon.config_file import UNCHOSEN_LINE, commented_config, root_line
from daemon.errors import StartError
from daemon.estate import Estate, create, make_directories
from daemon.foundation import Foundation, foundation
from daemon.identity.authority_files import Files
from daemon.identity.authority_keys import AuthorityKeys
from daemon.identity.devices import LOCAL_DEVICE, OWNERS, certificate_row
from daemon.identity.registrar import check_device_name, record_device
from daemon.lock import data_directory_lock
from daemon.store import certificates, devices, meta, secrets
from daemon.store.commit import Tx
from daemon.store.devices import DeviceStatus
from daemon.store.ids import DeviceId
from daemon.vault.root import source_at
from daemon.vault.standing import META_KEY, Place
from identity.names import DeviceId as NewDeviceId
from stockade.home import Home
from vault.errors import Code as VaultCode
from vault.errors import VaultError
from vault.root import probe_keychain

LOCAL_GROUPS = (OWNERS,)
INITIALISED_BY = "stockaded init"


@dataclass(frozen=True, slots=True)
class LocalPairing:
    """The local command line's certificate request, and where its answer goes."""

    request: Path
    certificate: Path
    authority: Path
    name: str


async def initialise(
    home: Home, pairing: LocalPairing, vault_root: str | None
) -> dict[str, object]:
    """Does it; what was done, for the command's answer."""
    os.umask(0o077)
    root = _choose_root(home, vault_root)
    make_directories(home)
    with data_directory_lock(home.lock):
        _pin(home, root)
        config = load_config(home.config_file)
        files = Files(home.data, AuthorityKeys(config.authority))
        created = await anyio.to_thread.run_sync(create, home, files)
        estate = Estate.open(home)
        async with foundation(estate, config) as base:
            await ensure_root(base)
            device_id = await _pair_local(base, pairing)
    return {"device_id": device_id, "created": created, "vault_root": config.vault.root}


def _choose_root(home: Home, asked: str | None) -> str | None:
    """The vault root to pin in a new configuration. Asked for, or a keychain that works."""
    if home.config_file.exists():
        pinned = load_config(home.config_file).vault.root
        if pinned is not None and asked is not None and asked != pinned:
            raise StartError(
                f'{home.config_file} pins vault.root = "{pinned}"',
                code="VAULT_ROOT_PINNED",
                fix="leave --vault-root away; changing the root is an act of its own",
            )
        return asked or pinned
    if asked is not None:
        return asked
    # None where there is no keychain: the daemon runs without secrets until somebody chooses.
    return "keychain" if probe_keychain().works else None


def _pin(home: Home, root: str | None) -> None:
    """Writes the choice where there was none."""
    if not home.config_file.exists():
        home.config_file.write_text(commented_config(root))
        return
    if root is None or load_config(home.config_file).vault.root is not None:
        return
    text = home.config_file.read_text()
    pinned = text.replace(UNCHOSEN_LINE, root_line(root), 1)
    if pinned == text:
        raise StartError(
            f"{home.config_file} has no vault.root",
            code="VAULT_ROOT_UNPINNED",
            fix=f"add to its [vault] section: {root_line(root)}",
        )
    home.config_file.write_text(pinned)


async def ensure_root(base: Foundation) -> None:
    """Makes the root key where none was ever used; a lost one is not replaced in silence."""
    kind = base.config.vault.root
    if kind not in ("keychain", "file", "token"):
        return  # not chosen; supplied from elsewhere; or made with a passphrase: `secrets unlock`
    if await base.reader.read(
        lambda c: meta.get(c, META_KEY) is not None or bool(secrets.root_key_ids(c))
    ):
        return  # one was; whether it is there, and the right one, is looked at when it is used
    source = source_at(Place(kind), base.estate, base.config.vault)

    def ensure() -> None:
        try:
            source.load()
        except VaultError as error:
            if error.code is not VaultCode.ROOT_ABSENT:
                raise
            source.create()

    await anyio.to_thread.run_sync(ensure)


async def _pair_local(base: Foundation, pairing: LocalPairing) -> str:
    csr_pem, name = pairing.request.read_bytes(), check_device_name(pairing.name)
    found = await base.reader.read(lambda c: meta.get(c, LOCAL_DEVICE))
    device_id = NewDeviceId(found) if found else NewDeviceId.generate()
    lifetime = timedelta(hours=base.config.identity.local_certificate_hours)
    issued = await base.authorities.issue_device(csr_pem, device_id, base.clock.now(), lifetime)
    stored_id = DeviceId(str(device_id))

    def operation(tx: Tx) -> None:
        known = devices.get(tx.connection, stored_id)
        now = base.clock.now_ms()
        if known is None:
            record_device(tx, device_id, name, LOCAL_GROUPS, issued, now, INITIALISED_BY)
            meta.swap(tx.connection, LOCAL_DEVICE, found, str(device_id))
            return
        if known.status is not DeviceStatus.ACTIVE:
            raise StartError(
                "the local command line was revoked",
                code="DEVICE_REVOKED",
                fix="pair it like any other: `stockade devices invite` on a device that is paired",
            )
        row = certificate_row(stored_id, issued)
        certificates.add(tx.connection, row)
        body = {"device": str(stored_id), "serial": row.serial, "not_after": row.not_after}
        tx.receipt("device.renewed", body, principal=INITIALISED_BY)

    await base.writer.write(operation)
    _write(pairing.certificate, issued.pem)
    _write(pairing.authority, base.authorities.bundle)
    return str(device_id)


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(path.name + ".new")
    temporary.write_bytes(data)
    temporary.replace(path)
