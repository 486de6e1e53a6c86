"""Runs inside a login session of its own; the test reads what it prints.

Usage: python -I keychain_child.py CHECKOUT SCENARIO
"""

import json
import sys
from collections.abc import Callable

sys.path.insert(0, sys.argv[1])

from vault.errors import RootError
from vault.root import KeychainRoot, probe_keychain

ROOT = KeychainRoot("stockade-test", "root", deadline=20.0)


def refusal(act: Callable[[], object]) -> str:
    try:
        act()
    except RootError as error:
        return str(error.code)
    return "nothing was refused"


def probe() -> object:
    report = probe_keychain()
    return [report.works, report.backend, report.reason, report.fix]


def leftovers() -> object:
    import secretstorage

    probe_keychain()
    bus = secretstorage.dbus_init()
    collection = secretstorage.get_default_collection(bus)
    return [item.get_label() for item in collection.get_all_items()]


def absent() -> object:
    return [refusal(ROOT.load), refusal(ROOT.load)]


def create() -> object:
    return [ROOT.create().key_id, ROOT.load().key_id, refusal(ROOT.create), ROOT.load().key_id]


def load() -> object:
    return ROOT.load().key_id


def damaged() -> object:
    import keyring

    codes = []
    for text in ("", "garbage", "stockade-root-v1:" + "0" * 64 + ":" + "0" * 16, "\u00e9"):
        keyring.set_password(ROOT.service, ROOT.account, text)
        codes.append(refusal(ROOT.load))
    return codes


def locked() -> object:
    import secretstorage

    ROOT.create()
    secretstorage.get_default_collection(secretstorage.dbus_init()).lock()
    return [refusal(ROOT.load), refusal(ROOT.create), probe()]


def silent() -> object:
    quick = KeychainRoot("stockade-test", "root", deadline=0.5)
    return [refusal(quick.load), refusal(quick.create), probe_keychain(0.5).works]


def refused() -> object:
    return [refusal(ROOT.load), refusal(ROOT.create), probe()]


def chained() -> object:
    import keyring
    from keyring.backends.chainer import ChainerBackend

    keyring.set_keyring(ChainerBackend())  # type: ignore[no-untyped-call]
    return refused()


sys.stdout.write(json.dumps(globals()[sys.argv[2]]()))
