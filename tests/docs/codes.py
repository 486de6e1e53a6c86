"""Every reason code there is, read off the source.

Whatever looks like a code is one, unless it is named below as something else: so a new code cannot
be overlooked, at worst a new constant has to be named.
"""

import ast
import re
from collections.abc import Iterator
from typing import TypeGuard

from sandbox.outcome import LimitName
from tests.docs.pages import ROOT

PACKAGES = ("daemon", "identity", "ledger", "policy", "sandbox", "stockade", "vault")

# Two words or more, joined by underscores. One word counts only where a code must stand.
_WORDS = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+")
_WORD = re.compile(r"[A-Z]{2,}")
_ENUMERATIONS = {"Code", "Reason", "ReasonCode"}
_ATTRIBUTES = {"code", "default_reason"}
_KEYWORDS = {"code", "reason"}
_RAISES = re.compile(r".*(Error|Fault)|_refuse|_refusal|_invalid|Ending|Verdict|close|_denial|move")

NOT_CODES = {
    # environment variables
    *(
        "GRPC_EXPERIMENTS",
        "GRPC_SSL_CIPHER_SUITES",
        "GRPC_VERBOSITY",
        "LC_ALL",
        "NO_COLOR",
        *("STOCKADE_APPROVAL_ID", "STOCKADE_SUMMARY"),
        "STOCKADE_HOME",
        "STOCKADE_VICTIM",
        "CREDENTIALS_DIRECTORY",
        *("LISTEN_FDNAMES", "LISTEN_FDS", "LISTEN_PID"),
        *("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"),
        *("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"),
    ),
    # words of the operating system's
    *("POSIX_SPAWN_CLOSEFROM", "RLIMIT_CORE", "RLIMIT_FSIZE", "SC_CLK_TCK", "SC_PAGE_SIZE"),
    # words of libseccomp's, in the profile that Docker reads
    *("SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_TRACE", "SCMP_CMP_MASKED_EQ"),
    *("SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64", "SCMP_ARCH_RISCV64"),
    # gRPC's own statuses
    *("DEADLINE_EXCEEDED", "UNIMPLEMENTED"),
    # what a device closes over, before it becomes PAIRING_...
    "PAIRED",
    # constants that their packages export
    *("DEFAULT_NAMES", "ENGINES_OF"),
    # labels of PEM
    "CERTIFICATE",
}

# One word, where the source has it in a tuple.
ALSO = {"APPROVED", "LEASED"}

# Codes made by formatting, by the format.
MADE = {
    "{}_LIMIT": {f"{name.value.upper()}_LIMIT" for name in LimitName},
    "{}_MISSING": {"BWRAP_MISSING", "SH_MISSING", "CHROOT_MISSING", "PRLIMIT_MISSING"},
    "UNKNOWN_{}": {"UNKNOWN_CALL", "UNKNOWN_APPROVAL"},
    "PAIRING_{}": {"PAIRING_REFUSED", "PAIRING_EXPIRED", "PAIRING_BAD_PROOF"},
}
# Formats that make enumerators of protobuf.
NOT_MADE = {"APPROVAL_STATE_{}", "CALL_STATE_{}"}


def trees() -> Iterator[ast.Module]:
    """The source, without what protobuf generates."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if "v1" not in path.relative_to(ROOT).parts:
                yield ast.parse(path.read_text(encoding="utf-8"))


def codes() -> set[str]:
    """All of them."""
    found: set[str] = set()
    for tree in trees():
        for node in ast.walk(tree):
            found |= set(_constants(node))
            if isinstance(node, ast.ClassDef):
                found |= set(_of_class(node))
            elif isinstance(node, ast.Call):
                found |= set(_of_call(node))
    return (found | ALSO | set().union(*MADE.values())) - NOT_CODES


def formats() -> set[str]:
    """The formats that make codes."""
    found = set()
    for tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                parts = (p.value if isinstance(p, ast.Constant) else "{}" for p in node.values)
                text = "".join(str(part) for part in parts)
                if re.fullmatch(r"[A-Z_]*_?\{\}_?[A-Z_]*", text) and re.search("[A-Z]{3}", text):
                    found.add(text)
    return found - NOT_MADE


def _constants(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Constant) and _is(node.value, _WORDS):
        yield node.value


def _of_class(node: ast.ClassDef) -> Iterator[str]:
    for part in node.body:
        if not isinstance(part, ast.Assign) or not isinstance(part.value, ast.Constant):
            continue
        names = {target.id for target in part.targets if isinstance(target, ast.Name)}
        wanted = node.name in _ENUMERATIONS or names & _ATTRIBUTES
        in_ledger = node.name == "Fault" and names == {part.value.value}
        if (wanted or in_ledger) and _is(part.value.value, _WORD):
            yield part.value.value


def _of_call(node: ast.Call) -> Iterator[str]:
    given = [k.value for k in node.keywords if k.arg in _KEYWORDS]
    name = getattr(node.func, "id", getattr(node.func, "attr", ""))
    if _RAISES.fullmatch(name):
        given += node.args
    for argument in given:
        if isinstance(argument, ast.Constant) and _is(argument.value, _WORD):
            yield argument.value


def _is(value: object, form: re.Pattern[str]) -> TypeGuard[str]:
    return isinstance(value, str) and form.fullmatch(value) is not None
