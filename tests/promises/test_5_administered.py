"""Promise 5 for what is administered: each RPC that changes something leaves its receipt."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from daemon.rpc.authorization import RULES
from stockade.approving import narrowed
from stockade.client import Client
from stockade.home import Home
from stockade.v1 import tool_pb2
from tests.approvals.leasing import give, hence
from tests.attacks.enrolling import EnrolledAgent, enroll_agent
from tests.operating.acting import join
from tests.promises.acting import apply
from tests.running import CONFIG, RunningDaemon, make_directory, running

KEPT = "secret://global/kept"
ELSEWHERE = "secret://source/team/api-token"
WORDS = b"correct horse battery staple"
# What leaves things as they are; of what leaves the machine, exports, there is a receipt all the
# same. A checkpoint is signed itself.
LOOKS = {
    *("ListTools", "GetTool", "WatchCall", "ListCalls", "ListApprovals", "WatchApprovals"),
    *("ListLeases", "GetPolicy", "CheckPolicy", "ListPolicyVersions", "GetEntities"),
    *("ExplainPolicy", "TestPolicy", "ReplayPolicy", "DiffPolicy", "SuggestPolicy", "ListSecrets"),
    *("GetVaultKey", "WhoAmI", "ListDevices", "ListAgents", "ReadLedger", "FollowLedger"),
    *("GetLedgerKeys", "CheckpointLedger", "GetStatus", "Check", "List", "Watch"),
    "ServerReflectionInfo",
}
# Receipts of calls and of what people answer: the other tests of this promise and of the third.
CALLS = {"Call", "CancelCall", "AnswerApproval", "GetApproval"}
# Takes a witness, a database that was put back, an alert, a battery of attacks: tests/attacks/
# test_witness.py and test_battery.py, tests/daemon/vault/test_roots.py, tests/operating/
# test_reactions.py.
SHOWN_ELSEWHERE = {
    *("CountersignCheckpoint", "AcceptVaultRollback", "ResumePrincipal", "RunAttacks"),
}


@dataclass
class World:
    """A daemon, and who and what there is to be administered."""

    daemon: RunningDaemon
    owner: Client
    approver: Client
    agent: EnrolledAgent
    devices: list[Home] = field(default_factory=list)
    backup: bytes = b""
    lease: str = ""

    def device(self) -> str:
        """Another device's id."""
        self.devices.append(self.daemon.pair_device(f"other-{len(self.devices)}", "callers"))
        return self._id(self.devices[-1])

    def _id(self, home: Home) -> str:
        with Client.open(home) as client:
            return client.who_am_i().device.device_id

    def certificate(self) -> str:
        """The serial of another device's certificate."""
        home = self.daemon.pair_device("certified", "callers")
        with Client.open(home) as client:
            return client.who_am_i().device.certificates[0].serial

    def back_up(self) -> None:
        self.backup = b"".join(part.data for part in self.owner.back_up_vault(WORDS))

    def hand(self) -> None:
        terms = give(self.owner, self.approver, "run_shell", command="true")
        self.lease = terms.lease_id
        self.owner.hand_lease(narrowed(terms, self.agent.id, expires_ms=hence(60), uses=1))

    def in_force_before(self) -> str:
        """A version of the policies that is not the one in force."""
        now = self.owner.status().policy_digest
        versions = self.owner.list_policy_versions().versions
        return next(one.digest for one in versions if one.digest != now)


def manifest(name: str) -> list[tool_pb2.AddToolRequest.File]:
    text = f'name = "{name}"\nversion = "1"\nsummary = "s"\nargv = ["/bin/true"]\n'
    text += '[input]\ntype = "object"\n[risk]\ndata_sensitivity = 0.1\n'
    return [tool_pb2.AddToolRequest.File(path="manifest.toml", content=text.encode())]


CHANGES = {
    *("tool.added", "tool.removed", "policy.applied", "policy.rolled_back"),
    *("policy.entities", "policy.maintenance"),
}
Act = Callable[[World], object]
# In this order; the receipts' kinds, of which each RPC has its own.
ACTS: dict[str, tuple[Act, str]] = {
    "AddTool": (lambda w: w.owner.add_tool(manifest("mine")), "tool.added"),
    "RemoveTool": (lambda w: w.owner.remove_tool("mine"), "tool.removed"),
    "ApplyPolicy": (lambda w: apply(w.owner, "// another"), "policy.applied"),
    "RollbackPolicy": (
        lambda w: w.owner.rollback_policy(w.in_force_before()),
        "policy.rolled_back",
    ),
    "ChangeEntities": (
        lambda w: w.owner.change_entities([join("Tool/run_shell", "Toolset/x")]),
        "policy.entities",
    ),
    "SetMaintenance": (lambda w: w.owner.set_maintenance(on=False), "policy.maintenance"),
    "PutSecret": (lambda w: w.owner.put_secret(KEPT, b"value"), "secret.put"),
    "RevertSecret": (lambda w: w.owner.revert_secret(KEPT, 1), "secret.reverted"),
    "RotateSecrets": (lambda w: w.owner.rotate_secrets(KEPT), "secret.rotated"),
    "RotateVaultRoot": (lambda w: w.owner.rotate_vault_root(), "vault.root_rotated"),
    "UnlockVault": (lambda w: w.owner.unlock_vault(), "vault.unlock"),
    "BackUpVault": (lambda w: w.back_up(), "vault.backed_up"),
    "RestoreVault": (
        lambda w: w.owner.restore_vault(WORDS, w.backup, overwrite=True),
        "vault.restored",
    ),
    "RevokeSecret": (
        lambda w: w.owner.revoke_secret(ELSEWHERE, cancel_calls=True),
        "secret.revoked",
    ),
    "ReinstateSecret": (lambda w: w.owner.reinstate_secret(ELSEWHERE), "secret.reinstated"),
    "CheckSources": (lambda w: w.owner.check_sources(), "secret.checked"),
    "RemoveSecret": (lambda w: w.owner.remove_secret(KEPT), "secret.removed"),
    "HandLease": (lambda w: w.hand(), "lease.created"),
    "RevokeLease": (lambda w: w.owner.revoke_lease(w.lease), "lease.revoked"),
    "InviteDevice": (lambda w: w.device(), "device.paired"),
    "ConfirmPairing": (lambda w: w.device(), "device.paired"),
    "SetDeviceGroups": (
        lambda w: w.owner.set_device_groups(w.device(), ["auditors"]),
        "device.groups",
    ),
    "RevokeDevice": (lambda w: w.owner.revoke_device(w.device()), "device.revoked"),
    "RevokeCertificate": (
        lambda w: w.owner.revoke_certificate(w.certificate()),
        "certificate.revoked",
    ),
    "EnrollAgent": (lambda w: enroll_agent(w.daemon, "newer"), "agent.enrolled"),
    "RevokeAgent": (lambda w: w.owner.revoke_agent(w.agent.id), "agent.revoked"),
    "ExportLedger": (lambda w: list(w.owner.export_ledger()), "ledger.exported"),
    "ExportEvidence": (
        lambda w: list(w.owner.export_evidence(lease_id=w.lease)),
        "ledger.evidence_exported",
    ),
    "RenewCertificate": (
        lambda w: w.owner.renew_certificate(w.daemon.home),
        "device.renewed",
    ),
    "RotateLedgerKeys": (lambda w: w.owner.rotate_ledger_keys(), "ledger.keys_rotated"),
    "RotateAuthority": (lambda w: w.owner.rotate_authority(), "authority.rotated"),
}


def test_no_rpc_is_forgotten() -> None:
    """Each that is served either looks, or is of a call, or is shown to leave its receipt."""
    served = {method.rpartition("/")[2] for method in RULES}
    sorts = (LOOKS, CALLS, SHOWN_ELSEWHERE, set(ACTS))
    assert served == set().union(*sorts)
    assert sum(map(len, sorts)) == len(served)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    folder = make_directory("stockade-team-")
    file = folder / "team.env"
    file.touch(mode=0o600)
    file.write_text("API_TOKEN=x\n")
    config = f'{CONFIG}[env_files.team]\npath = "{file}"\nnames = {{ api-token = "API_TOKEN" }}\n'
    with running(config) as daemon:
        phone = daemon.pair_device("phone", "approvers")
        agent = enroll_agent(daemon, "worker")
        with daemon.client() as owner, Client.open(phone) as approver:
            owner.put_secret(KEPT, b"first")
            yield World(daemon, owner, approver, agent)
    file.unlink()
    folder.rmdir()


def test_every_act_of_administration_is_a_receipt(world: World) -> None:
    """By its own kind, with who did it under which policy, durable when the answer is there."""
    me = world.owner.who_am_i().device.device_id
    for name, (act, kind) in ACTS.items():
        status = world.owner.status()
        before, digest = status.ledger_sequence, status.policy_digest
        act(world)
        found = world.owner.read_ledger(page_size=500).receipts
        new = [json.loads(one.canonical) for one in found if one.sequence > before]
        of_kind = [one for one in new if one["kind"] == kind]
        assert of_kind, (name, [one["kind"] for one in new])
        body = of_kind[0]["body"]
        assert me in str(body), (name, body)
        # What changes the policies, tools or entity data says what came of it.
        after = world.owner.status().policy_digest
        assert body["policy_digest"] == (after if kind in CHANGES else digest), (name, body)
