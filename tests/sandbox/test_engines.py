"""Installed engines: which version, from which package, with which published escapes."""

import re
import shutil
import subprocess

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sandbox.engines import ENGINES_OF, ESCAPES, Engine, look
from sandbox.engines.debian_version import compare, upstream

pytestmark = pytest.mark.anyio
needs_dpkg = pytest.mark.skipif(shutil.which("dpkg") is None, reason="no dpkg to compare with")

_UPSTREAM = st.from_regex(r"\A[0-9][0-9a-zA-Z.+~]{0,8}\Z")
_REVISION = st.from_regex(r"\A[0-9a-zA-Z.+~]{1,6}\Z")
_VERSIONS = st.one_of(
    _UPSTREAM,
    st.builds("{}-{}".format, _UPSTREAM, _REVISION),
    st.builds("{}:{}-{}".format, st.integers(0, 3), _UPSTREAM, _REVISION),
)


def dpkg_says(one: str, operator: str, other: str) -> bool:
    done = subprocess.run(["dpkg", "--compare-versions", one, operator, other], check=False)
    return done.returncode == 0


@needs_dpkg
@settings(max_examples=150, deadline=None)
@given(_VERSIONS, _VERSIONS)
@example("1.0~rc1", "1.0")
@example("1.1.5+ds1-1+deb12u1", "1.1.5+ds1-1")
@example("1.0a", "1.0+")
@example("0.0~20240729.0-4+b7", "0.0~20240729.0-4")
def test_versions_compare_as_dpkg_does(one: str, other: str) -> None:
    """Two versions of packages stand in the order that dpkg gives them."""
    found = compare(one, other)
    assert dpkg_says(one, "lt" if found < 0 else "gt" if found > 0 else "eq", other)


@given(_VERSIONS)
def test_a_version_is_equal_to_itself(version: str) -> None:
    """The order is reflexive, and upstream's part is a part."""
    assert compare(version, version) == 0
    assert upstream(version) in version


@pytest.mark.parametrize(
    ("engine", "has"),
    [
        (Engine("runc", "1.1.11"), True),
        (Engine("runc", "1.1.12"), False),
        (Engine("runc", "1.1.5+ds1", "1.1.5+ds1-1"), True),
        # A distribution's back-port, known by the package's version and by nothing else.
        (Engine("runc", "1.1.5+ds1", "1.1.5+ds1-1+deb12u1"), False),
        (Engine("runc", "1.1.5+ds1"), True),
        (Engine("runc", "1.1.4", "1.1.4-9"), True),
        (Engine("runc", "1.0.0~rc92"), False),
        (Engine("runc", "1.2.0"), False),
    ],
)
def test_leaky_descriptors(engine: Engine, *, has: bool) -> None:
    """CVE-2024-21626: by version, and by the package that closes it under an older number."""
    assert ("CVE-2024-21626" in {one.id for one in engine.escapes()}) is has


@pytest.mark.parametrize(
    ("version", "has"),
    [("1.1.15", True), ("1.2.7", True), ("1.2.8", False), ("1.3.2", True), ("1.3.3", False),
     ("1.4.0~rc2", True), ("1.4.0~rc3", False), ("1.4.0", False), ("2.0", False)],
)  # fmt: skip
def test_each_branch_has_its_own_fix(version: str, *, has: bool) -> None:
    """A fix in one branch says nothing of a newer branch's earlier releases."""
    assert ("CVE-2025-31133" in {one.id for one in Engine("runc", version).escapes()}) is has


@pytest.mark.parametrize(
    ("engine", "escape", "has"),
    [
        (Engine("bubblewrap", "0.4.0"), "CVE-2020-5291", True),
        (Engine("bubblewrap", "0.3.3"), "CVE-2020-5291", False),
        (Engine("bubblewrap", "0.8.0"), "CVE-2020-5291", False),
        (Engine("dockerd", "20.10.2"), "CVE-2021-21284", True),
        (Engine("dockerd", "19.03.15"), "CVE-2021-21284", False),
        (Engine("dockerd", "20.10.24+dfsg1"), "CVE-2021-21284", False),
        (Engine("runsc", "20240729.0"), "CVE-2026-96812", True),
        (Engine("runsc", "20260824.0"), "CVE-2026-96812", False),
    ],
)
def test_other_engines(engine: Engine, escape: str, *, has: bool) -> None:
    """Each engine's versions are read in its own way, and compared in one."""
    assert (escape in {one.id for one in engine.escapes()}) is has


def test_what_was_looked_into_is_not_named() -> None:
    """An escape that the operator accepts is neither named nor refused."""
    engine = Engine("runc", "1.1.11")
    assert not [one for one in engine.escapes(["CVE-2024-21626"]) if one.id == "CVE-2024-21626"]


def test_the_table_is_whole() -> None:
    """Every line has an id, its engine is one that is looked for, and says what closes it."""
    looked_for = {name for names in ENGINES_OF.values() for name in names}
    for one in ESCAPES:
        assert re.fullmatch(r"CVE-\d{4}-\d{4,}", one.id)
        assert one.engine in looked_for
        assert one.fixed
        assert one.summary
    assert len({one.id for one in ESCAPES}) == len(ESCAPES)


def said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


async def test_what_is_installed_here() -> None:
    """The version is what bubblewrap says itself, and its package's what dpkg says."""
    (found,) = await look("process")
    assert said("bwrap", "--version").strip() == f"bubblewrap {found.version}"
    if shutil.which("dpkg-query") is not None:
        query = ("dpkg-query", "--show", "--showformat=${Version}", "bubblewrap")
        assert found.package_version == said(*query)
    assert await look("no such tier") == ()
