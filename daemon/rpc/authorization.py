"""Which question of policy each RPC asks.

One literal line per RPC of every service that is served; the gate refuses an RPC that has none, and
a test compares this table with the services' descriptors. `SERVICE` marks the RPCs whose question
needs what only the service knows (the call, the approval); those ask it themselves.
"""

from enum import Enum
from types import MappingProxyType
from typing import NamedTuple


class Asked(Enum):
    """Who puts the question."""

    GATE = "gate"
    SERVICE = "service"


class Rule(NamedTuple):
    """The Cedar action of an RPC, and who asks it."""

    action: str
    asked: Asked = Asked.GATE


EXAMINE = "examine_daemon"
"""Asked besides `get_status`, of how much its answer tells."""

RULES: MappingProxyType[str, Rule] = MappingProxyType(
    {
        "/stockade.v1.ToolService/ListTools": Rule("list_tools"),
        "/stockade.v1.ToolService/GetTool": Rule("get_tool"),
        "/stockade.v1.ToolService/AddTool": Rule("add_tool"),
        "/stockade.v1.ToolService/RemoveTool": Rule("remove_tool"),
        "/stockade.v1.ToolService/Call": Rule("call", Asked.SERVICE),
        "/stockade.v1.ToolService/WatchCall": Rule("watch_call", Asked.SERVICE),
        "/stockade.v1.ToolService/CancelCall": Rule("cancel_call", Asked.SERVICE),
        "/stockade.v1.ToolService/ListCalls": Rule("list_calls", Asked.SERVICE),
        "/stockade.v1.ApprovalService/ListApprovals": Rule("list_approvals"),
        "/stockade.v1.ApprovalService/GetApproval": Rule("get_approval"),
        "/stockade.v1.ApprovalService/WatchApprovals": Rule("watch_approvals"),
        "/stockade.v1.ApprovalService/AnswerApproval": Rule("approve", Asked.SERVICE),
        "/stockade.v1.LeaseService/ListLeases": Rule("list_leases", Asked.SERVICE),
        "/stockade.v1.LeaseService/HandLease": Rule("hand_lease"),
        "/stockade.v1.LeaseService/RevokeLease": Rule("revoke_lease"),
        "/stockade.v1.PolicyService/GetPolicy": Rule("get_policy"),
        "/stockade.v1.PolicyService/CheckPolicy": Rule("check_policy"),
        "/stockade.v1.PolicyService/ApplyPolicy": Rule("apply_policy"),
        "/stockade.v1.PolicyService/ListPolicyVersions": Rule("list_policy_versions"),
        "/stockade.v1.PolicyService/RollbackPolicy": Rule("rollback_policy"),
        "/stockade.v1.PolicyService/GetEntities": Rule("get_entities"),
        "/stockade.v1.PolicyService/ChangeEntities": Rule("change_entities"),
        "/stockade.v1.PolicyService/SetMaintenance": Rule("set_maintenance"),
        "/stockade.v1.PolicyService/ExplainPolicy": Rule("explain_policy"),
        "/stockade.v1.PolicyService/TestPolicy": Rule("test_policy"),
        "/stockade.v1.PolicyService/ReplayPolicy": Rule("replay_policy"),
        "/stockade.v1.PolicyService/DiffPolicy": Rule("diff_policy"),
        "/stockade.v1.PolicyService/SuggestPolicy": Rule("suggest_policy"),
        "/stockade.v1.SecretService/PutSecret": Rule("put_secret"),
        "/stockade.v1.SecretService/ListSecrets": Rule("list_secrets"),
        "/stockade.v1.SecretService/RemoveSecret": Rule("remove_secret"),
        "/stockade.v1.SecretService/RevokeSecret": Rule("revoke_secret"),
        "/stockade.v1.SecretService/ReinstateSecret": Rule("reinstate_secret"),
        "/stockade.v1.SecretService/CheckSources": Rule("check_sources"),
        "/stockade.v1.SecretService/RevertSecret": Rule("revert_secret"),
        "/stockade.v1.SecretService/RotateSecrets": Rule("rotate_secrets"),
        "/stockade.v1.SecretService/RotateVaultRoot": Rule("rotate_vault_root"),
        "/stockade.v1.SecretService/UnlockVault": Rule("unlock_vault"),
        "/stockade.v1.SecretService/GetVaultKey": Rule("get_vault_key"),
        "/stockade.v1.SecretService/AcceptVaultRollback": Rule("accept_vault_rollback"),
        "/stockade.v1.SecretService/BackUpVault": Rule("back_up_vault"),
        "/stockade.v1.SecretService/RestoreVault": Rule("restore_vault"),
        "/stockade.v1.DeviceService/WhoAmI": Rule("who_am_i"),
        "/stockade.v1.DeviceService/ListDevices": Rule("list_devices"),
        "/stockade.v1.DeviceService/InviteDevice": Rule("invite_device"),
        "/stockade.v1.DeviceService/ConfirmPairing": Rule("confirm_pairing"),
        "/stockade.v1.DeviceService/RevokeDevice": Rule("revoke_device"),
        "/stockade.v1.DeviceService/RevokeCertificate": Rule("revoke_certificate"),
        "/stockade.v1.DeviceService/RotateAuthority": Rule("rotate_authority"),
        "/stockade.v1.DeviceService/SetDeviceGroups": Rule("set_device_groups"),
        "/stockade.v1.DeviceService/ResumePrincipal": Rule("resume_principal"),
        "/stockade.v1.DeviceService/RenewCertificate": Rule("renew_certificate"),
        "/stockade.v1.AgentService/EnrollAgent": Rule("enroll_agent"),
        "/stockade.v1.AgentService/ListAgents": Rule("list_agents", Asked.SERVICE),
        "/stockade.v1.AgentService/RevokeAgent": Rule("revoke_agent", Asked.SERVICE),
        "/stockade.v1.LedgerService/ReadLedger": Rule("read_ledger"),
        "/stockade.v1.LedgerService/FollowLedger": Rule("follow_ledger"),
        "/stockade.v1.LedgerService/ExportLedger": Rule("export_ledger"),
        "/stockade.v1.LedgerService/ExportEvidence": Rule("export_evidence"),
        "/stockade.v1.LedgerService/CheckpointLedger": Rule("checkpoint_ledger"),
        "/stockade.v1.LedgerService/CountersignCheckpoint": Rule("countersign_checkpoint"),
        "/stockade.v1.LedgerService/RotateLedgerKeys": Rule("rotate_ledger_keys"),
        "/stockade.v1.LedgerService/GetLedgerKeys": Rule("get_ledger_keys"),
        "/stockade.v1.DaemonService/GetStatus": Rule("get_status"),
        "/stockade.v1.DaemonService/RunAttacks": Rule("run_attacks"),
        "/grpc.health.v1.Health/Check": Rule("health"),
        "/grpc.health.v1.Health/List": Rule("health"),
        "/grpc.health.v1.Health/Watch": Rule("health"),
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Rule("reflection"),
    }
)
