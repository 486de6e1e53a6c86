"""What the demo works on: a directory of its own with input files, a configuration and a tool.

The directory is `.demo` of the checkout, made anew each time. Where the daemon is root its tools
run as another user, who must be able to search the way there; a checkout that is closed to others
(under /root, say) gets its `.demo` elsewhere, with a link to it.
"""

import hashlib
import hmac
import os
import socket
import tempfile
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from stockade.trees import remove_tree

# Whom the process tier runs tools as when the daemon is root.
TOOL_USER = 65534

ORDERS = """\
order,region,units,unit_price
1001,north,12,19.90
1002,south,3,249.00
1003,west,40,4.75
1004,north,7,19.90
1005,east,1,1290.00
1006,south,5,249.00
1007,west,25,4.75
1008,east,2,1290.00
1009,north,30,17.50
1010,south,1,299.00
"""

NOTES = "Orders of the third quarter, prices in euro. The report goes to finance.\n"

# What an agent might come up with: it reads the orders and writes a report beside them.
SUMMARISE = """\
import csv
from collections import Counter
from decimal import Decimal

revenue = Counter()
with open("orders.csv", newline="") as file:
    for row in csv.DictReader(file):
        revenue[row["region"]] += int(row["units"]) * Decimal(row["unit_price"])

lines = [f"{region}: {amount:.2f}" for region, amount in sorted(revenue.items())]
report = "\\n".join(["# Revenue by region", *lines, f"total: {sum(revenue.values()):.2f}"])
with open("report.md", "w") as file:
    print(report, file=file)
print(report)
"""

# A tool of the operator's own. It is careless: it prints the secret it was given.
SIGN_REPORT = '''\
name = "sign_report"
version = "1.0.0"
summary = "Sign a file of a workspace with the report key."
argv = ["/usr/bin/python3", "-I", "-S", "-c", """
import hashlib, hmac, os, sys
key = os.environ["REPORT_KEY"].encode()
data = open(sys.argv[1], "rb").read()
print("debug: REPORT_KEY is", key.decode())
print("hmac-sha256:", hmac.new(key, data, hashlib.sha256).hexdigest())
""", "{path}"]

[input]
type = "object"
required = ["workspace", "path"]
properties.workspace = { type = "string" }
properties.path = { type = "string", maxLength = 4096 }

[risk]
data_sensitivity = 0.1

[workspace]
access = "read"

[[secrets]]
reference = "secret://global/report_key"
env = "REPORT_KEY"
'''

SIGNING_POLICY = """\
// The report key is for sign_report, and signing needs nobody's word.
@id("report-key")
permit (
  principal in Group::"owners",
  action == Action::"use_secret",
  resource == Secret::"global/report_key"
) when { context.tool == Tool::"sign_report" };
@id("signing")
permit (
  principal in Group::"owners",
  action == Action::"call_unattended",
  resource == Tool::"sign_report"
);
"""

CONFIG = """\
[server]
listen = "127.0.0.1:{port}"   # one that was free; the same at each start, for paired devices

[vault]
root = "{root}"

[workspaces.orders]
path = "{orders}"
access = "write"

[workspaces.archive]     # the same files, not to be changed
path = "{orders}"
access = "read"
"""


@dataclass(frozen=True)
class World:
    """Where everything of the demo is."""

    root: Path

    @property
    def home(self) -> Path:
        """The daemon's and the local command line's."""
        return self.root / "home"

    @property
    def approver(self) -> Path:
        """The second device's."""
        return self.root / "approver"

    @property
    def orders(self) -> Path:
        """The workspace."""
        return self.root / "orders"

    @property
    def verifier(self) -> Path:
        """What somebody who only verifies has."""
        return self.root / "verifier"

    def configure(self, vault_root: str) -> None:
        """Writes the configuration."""
        text = CONFIG.format(root=vault_root, orders=self.orders, port=_free_port())
        (self.home / "config.toml").write_text(text)


def make_world(link: Path) -> World:
    """A new directory at `link` with the input in it; an old one there is removed."""
    remove_world(link)
    open_to_tools = os.geteuid() != 0 or _searchable(link.parent)
    if open_to_tools:
        link.mkdir()
        root = link.resolve()
    else:
        root = Path(tempfile.mkdtemp(prefix="stockade-demo-", dir="/var/tmp"))
        link.symlink_to(root)
    world = World(root)
    for directory in (root, world.home, world.approver, world.orders, world.verifier):
        directory.mkdir(exist_ok=True)
        directory.chmod(0o711 if os.geteuid() == 0 else 0o700)
    (world.orders / "orders.csv").write_text(ORDERS)
    (world.orders / "notes.txt").write_text(NOTES)
    if os.geteuid() == 0:
        for path in (world.orders, *world.orders.iterdir()):
            os.chown(path, TOOL_USER, TOOL_USER)
    (root / "summarise.py").write_text(SUMMARISE)
    (root / "sign_report").mkdir()
    (root / "sign_report" / "manifest.toml").write_text(SIGN_REPORT)
    return world


def remove_world(link: Path) -> None:
    """Removes what an earlier demo left there."""
    if link.is_symlink():
        if link.resolve().is_dir():
            remove_tree(link.resolve())
        link.unlink()
    elif link.exists():
        remove_tree(link)


def expected_report() -> str:
    """What the report has to say, computed here."""
    revenue: Counter[str] = Counter()
    for line in ORDERS.splitlines()[1:]:
        _, region, units, price = line.split(",")
        revenue[region] += int(int(units) * Decimal(price) * 100)
    lines = [f"{region}: {cents / 100:.2f}" for region, cents in sorted(revenue.items())]
    return "\n".join(["# Revenue by region", *lines, f"total: {revenue.total() / 100:.2f}"]) + "\n"


def expected_signature(key: str, report: bytes) -> str:
    """What sign_report has to say."""
    return hmac.new(key.encode(), report, hashlib.sha256).hexdigest()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
    return port


def _searchable(directory: Path) -> bool:
    """Every user may search the way to it."""
    whole = directory.resolve()
    return all(one.stat().st_mode & 0o001 for one in (whole, *whole.parents))
