"""The control groups that Docker put a container into, from outside.

Docker makes and removes them; here they are looked at, which any user may, and their weight is set,
where this one may. A container whose groups cannot be seen (an engine in another machine or
namespace) has none, and the report says so. Raises nothing.
"""

from sandbox.cgroup import NoGroup, RunGroup
from sandbox.cgroup_hosts import hierarchies
from sandbox.cgroup_v1 import CONTROLLERS, GroupV1
from sandbox.cgroup_v2 import GroupV2


def find(pid: int, container: str) -> RunGroup:
    """The groups of the container's first process; only such as bear the container's name."""
    try:
        found = [one for one in hierarchies(str(pid)) if container in one.own.name]
    except (OSError, ValueError):
        return NoGroup()
    for one in found:
        if not one.controllers and (one.own / "memory.max").exists():
            return GroupV2(one.own)
    made = {name: one.own for one in found for name in one.controllers & CONTROLLERS}
    return GroupV1(made) if made else NoGroup()
