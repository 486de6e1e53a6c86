"""A small real daemon for tests: mutual TLS, the services' classes, and scripted answers."""

# ruff: noqa: ARG002, N802 - the signatures and names are those of the generated classes

import fcntl
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import any_pb2, timestamp_pb2
from google.rpc import error_details_pb2, status_pb2
from nacl.public import PrivateKey

from stockade.credentials import Credentials, make_key, save_credentials
from stockade.home import Home
from stockade.statement import ExactCall, PolicyLine, Statement
from stockade.v1 import (
    approval_pb2,
    approval_pb2_grpc,
    call_pb2,
    daemon_pb2,
    daemon_pb2_grpc,
    device_pb2,
    device_pb2_grpc,
    policy_pb2,
    policy_pb2_grpc,
    secret_pb2,
    secret_pb2_grpc,
    tool_pb2,
    tool_pb2_grpc,
)
from tests.stockade.authority import Authority, pem_key

VAULT_KEY = PrivateKey.generate()
Context = Any  # the stubs' own context type mixes the sync and the async one
STDOUT = call_pb2.CallEvent.OutputChunk.STREAM_STDOUT
STDERR = call_pb2.CallEvent.OutputChunk.STREAM_STDERR

Script = Callable[[tool_pb2.CallRequest], Iterable[call_pb2.CallEvent]]

SCHEMA = {
    "type": "object",
    "properties": {
        "text": {"type": "string"},
        "count": {"type": "integer"},
        "loud": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "mode": {"enum": [1, 2]},
    },
}


def refuse(
    context: Context, code: grpc.StatusCode, reason: str, message: str, fix: str = ""
) -> None:
    """Ends the RPC as the daemon does."""
    info = error_details_pb2.ErrorInfo(reason=reason, domain="stockade", metadata={"fix": fix})
    detail = any_pb2.Any()
    detail.Pack(info)
    status = status_pb2.Status(code=code.value[0], message=message, details=[detail])
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(code, message)


def finished(
    state: "call_pb2.CallState.ValueType", reason: str = "", message: str = "", **fields: Any
) -> call_pb2.CallEvent:
    end = call_pb2.CallEvent.Finished(state=state, reason=reason, message=message, **fields)
    return call_pb2.CallEvent(finished=end)


def output(
    data: bytes, offset: int = 0, stream: "call_pb2.CallEvent.OutputChunk.Stream.ValueType" = STDOUT
) -> call_pb2.CallEvent:
    return call_pb2.CallEvent(
        output=call_pb2.CallEvent.OutputChunk(stream=stream, data=data, offset=offset)
    )


def statement(number: int = 1, arguments: dict[str, Any] | None = None) -> Statement:
    now = int(time.time() * 1000)
    return Statement(
        approval_id=f"01988a3c-5d1f-7000-8000-{number:012d}",
        call_id=f"01988a3c-5d1f-7000-9000-{number:012d}",
        requester_name="builder",
        call=ExactCall(
            principal="device/dev-aaaaaaaaaaaaaaaa",
            tool="files.write",
            tool_digest="ab" * 32,
            arguments={"path": "a.txt"} if arguments is None else arguments,
            tier="container",
            secrets=("secret://global/token",),
            workspace="/srv/project",
            policy_digest="cd" * 32,
            hosts=(),
        ),
        risk_milli=420,
        asked_because=(PolicyLine("ask-writes", "owners.cedar", 12),),
        created_ms=now,
        expires_ms=now + 600_000,
        nonce="ef" * 16,
        risk={"code_trust": "0.9000", "filesystem_write": True, "network": False},
    )


def approval(
    said: Statement,
    state: "approval_pb2.ApprovalState.ValueType" = approval_pb2.APPROVAL_STATE_PENDING,
) -> approval_pb2.Approval:
    message = approval_pb2.Approval(
        approval_id=said.approval_id,
        call_id=said.call_id,
        state=state,
        statement=said.encode(),
    )
    message.created.FromMilliseconds(said.created_ms)
    message.expires.FromMilliseconds(said.expires_ms)
    return message


@dataclass
class World:
    """What the services answer and what they were asked."""

    authority: Authority = field(default_factory=Authority)
    scripts: dict[str, Script] = field(default_factory=dict)
    watched: Callable[[], Iterable[call_pb2.CallEvent]] | None = None
    requests: list[Any] = field(default_factory=list)
    approvals: dict[str, approval_pb2.Approval] = field(default_factory=dict)
    changes: list[approval_pb2.Approval] = field(default_factory=list)
    cancelled: threading.Event = field(default_factory=threading.Event)
    gone: threading.Event = field(default_factory=threading.Event)
    confirmed: list[device_pb2.ConfirmPairingRequest] = field(default_factory=list)
    renewed_lifetime_hours: int = 24
    invited_for: float = 60.0  # seconds until an invitation that nobody confirms is refused

    def add(self, said: Statement) -> approval_pb2.Approval:
        self.approvals[said.approval_id] = approval(said)
        return self.approvals[said.approval_id]


class Tools(tool_pb2_grpc.ToolServiceServicer):
    def __init__(self, world: World) -> None:
        self._world = world

    def ListTools(self, request: Any, context: Context) -> tool_pb2.ListToolsResponse:
        return tool_pb2.ListToolsResponse(
            tools=[tool_pb2.Tool(name="echo", version="1.0.0", summary="Says \x1b[31mit\x1b[0m")],
            refused=[
                tool_pb2.RefusedTool(
                    folder="bad", file="manifest.toml", key="name", reason="NAME_MALFORMED",
                    message="no name", fix="write one",
                )
            ],
        )  # fmt: skip

    def GetTool(self, request: Any, context: Context) -> tool_pb2.GetToolResponse:
        if request.name not in self._world.scripts:
            refuse(context, grpc.StatusCode.NOT_FOUND, "UNKNOWN_TOOL", "no such tool")
        tool = tool_pb2.Tool(name=request.name, input_schema=json.dumps(SCHEMA).encode())
        return tool_pb2.GetToolResponse(tool=tool)

    def AddTool(self, request: Any, context: Context) -> tool_pb2.AddToolResponse:
        self._world.requests.append(request)
        return tool_pb2.AddToolResponse(tool=tool_pb2.Tool(name="mine", version="1"))

    def RemoveTool(self, request: Any, context: Context) -> tool_pb2.RemoveToolResponse:
        self._world.requests.append(request)
        return tool_pb2.RemoveToolResponse()

    def Call(self, request: Any, context: Context) -> Iterator[call_pb2.CallEvent]:
        self._world.requests.append(request)
        context.add_callback(self._world.gone.set)
        script = self._world.scripts.get(request.tool)
        if script is None:
            yield finished(call_pb2.CALL_STATE_DENIED, "UNKNOWN_TOOL", "there is no such tool")
            return
        for event in script(request):
            event.call_id = request.call_id
            event.time.GetCurrentTime()
            yield event

    def WatchCall(self, request: Any, context: Context) -> Iterator[call_pb2.CallEvent]:
        if self._world.watched is not None:
            yield from self._world.watched()
        elif self._world.cancelled.is_set():
            yield finished(call_pb2.CALL_STATE_CANCELLED, "CANCELLED", "the caller withdrew it")
        else:
            refuse(context, grpc.StatusCode.NOT_FOUND, "UNKNOWN_CALL", "no such call")

    def CancelCall(self, request: Any, context: Context) -> tool_pb2.CancelCallResponse:
        self._world.requests.append(request)
        self._world.cancelled.set()
        return tool_pb2.CancelCallResponse(state=call_pb2.CALL_STATE_CANCELLED)

    def ListCalls(self, request: Any, context: Context) -> tool_pb2.ListCallsResponse:
        self._world.requests.append(request)
        calls = [
            call_pb2.CallSummary(
                call_id=f"01988a3c-5d1f-7000-8000-00000000000{n}",
                tool="echo",
                principal="device/dev-aaaaaaaaaaaaaaaa",
                state=call_pb2.CALL_STATE_RUNNING,
            )
            for n in (1, 2)
        ]
        return tool_pb2.ListCallsResponse(calls=calls)


class Approvals(approval_pb2_grpc.ApprovalServiceServicer):
    def __init__(self, world: World) -> None:
        self._world = world

    def ListApprovals(self, request: Any, context: Context) -> approval_pb2.ListApprovalsResponse:
        return approval_pb2.ListApprovalsResponse(approvals=list(self._world.approvals.values()))

    def GetApproval(self, request: Any, context: Context) -> approval_pb2.GetApprovalResponse:
        found = self._world.approvals.get(request.approval_id)
        if found is None:
            refuse(context, grpc.StatusCode.NOT_FOUND, "UNKNOWN_APPROVAL", "no such approval")
        return approval_pb2.GetApprovalResponse(approval=found)

    def WatchApprovals(
        self, request: Any, context: Context
    ) -> Iterator[approval_pb2.ApprovalEvent]:
        for one in list(self._world.approvals.values()):
            yield approval_pb2.ApprovalEvent(approval=one)
        sent = 0
        while context.is_active():
            while sent < len(self._world.changes):
                yield approval_pb2.ApprovalEvent(approval=self._world.changes[sent])
                sent += 1
            time.sleep(0.02)

    def AnswerApproval(self, request: Any, context: Context) -> approval_pb2.AnswerApprovalResponse:
        self._world.requests.append(request)
        answered = approval_pb2.Approval()
        answered.CopyFrom(self._world.approvals[request.approval_id])
        answered.state = (
            approval_pb2.APPROVAL_STATE_APPROVED
            if request.approve
            else approval_pb2.APPROVAL_STATE_REJECTED
        )
        self._world.changes.append(answered)
        return approval_pb2.AnswerApprovalResponse(approval=answered)


class Devices(device_pb2_grpc.DeviceServiceServicer):
    def __init__(self, world: World) -> None:
        self._world = world

    def WhoAmI(self, request: Any, context: Context) -> device_pb2.WhoAmIResponse:
        return device_pb2.WhoAmIResponse(
            principal="device/dev-aaaaaaaaaaaaaaaa",
            device=device_pb2.Device(device_id="dev-aaaaaaaaaaaaaaaa", name="laptop"),
        )

    def ListDevices(self, request: Any, context: Context) -> device_pb2.ListDevicesResponse:
        return device_pb2.ListDevicesResponse(
            devices=[
                device_pb2.Device(device_id="dev-aaaa", name="phone", status="active"),
                device_pb2.Device(device_id="dev-aabb", name="tablet", status="active"),
            ]
        )

    def InviteDevice(
        self, request: Any, context: Context
    ) -> Iterator[device_pb2.InviteDeviceEvent]:
        self._world.requests.append(request)
        event = device_pb2.InviteDeviceEvent
        yield event(opened=event.Opened(invitation_id="inv1", pairing_code="stockade-pair-1:abc"))
        yield event(waiting=event.Waiting(name="phone", words="oak-sky", source="10.0.0.7"))
        deadline = time.monotonic() + self._world.invited_for
        while not self._world.confirmed and context.is_active() and time.monotonic() < deadline:
            time.sleep(0.02)
        accepted = bool(self._world.confirmed) and self._world.confirmed[-1].accept
        reason = "PAIRED" if accepted else "REFUSED"
        yield event(closed=event.Closed(reason=reason, device=device_pb2.Device(name="phone")))

    def ConfirmPairing(self, request: Any, context: Context) -> device_pb2.ConfirmPairingResponse:
        self._world.confirmed.append(request)
        return device_pb2.ConfirmPairingResponse()

    def RevokeDevice(self, request: Any, context: Context) -> device_pb2.RevokeDeviceResponse:
        self._world.requests.append(request)
        return device_pb2.RevokeDeviceResponse()

    def SetDeviceGroups(self, request: Any, context: Context) -> device_pb2.SetDeviceGroupsResponse:
        self._world.requests.append(request)
        device = device_pb2.Device(device_id=request.device_id, groups=request.groups)
        return device_pb2.SetDeviceGroupsResponse(device=device)

    def RevokeCertificate(
        self, request: device_pb2.RevokeCertificateRequest, context: Context
    ) -> device_pb2.RevokeCertificateResponse:
        raise NotImplementedError

    def ResumePrincipal(
        self, request: device_pb2.ResumePrincipalRequest, context: Context
    ) -> device_pb2.ResumePrincipalResponse:
        raise NotImplementedError

    def RotateAuthority(
        self, request: device_pb2.RotateAuthorityRequest, context: Context
    ) -> device_pb2.RotateAuthorityResponse:
        raise NotImplementedError

    def RenewCertificate(
        self, request: Any, context: Context
    ) -> device_pb2.RenewCertificateResponse:
        self._world.requests.append(request)
        return device_pb2.RenewCertificateResponse(
            certificate=self._world.authority.sign_request(request.certificate_request),
            authority=self._world.authority.pem,
        )


class Policies(policy_pb2_grpc.PolicyServiceServicer):
    def __init__(self, world: World) -> None:
        self._world = world

    def GetPolicy(self, request: Any, context: Context) -> policy_pb2.GetPolicyResponse:
        file = policy_pb2.PolicyFile(name="a.cedar", text="permit(principal, action, resource);")
        return policy_pb2.GetPolicyResponse(digest="d" * 64, files=[file])

    def ListPolicyVersions(
        self, request: Any, context: Context
    ) -> policy_pb2.ListPolicyVersionsResponse:
        version = policy_pb2.ListPolicyVersionsResponse.PolicyVersion(digest="d" * 64)
        return policy_pb2.ListPolicyVersionsResponse(versions=[version])

    def CheckPolicy(self, request: Any, context: Context) -> policy_pb2.CheckPolicyResponse:
        problem = policy_pb2.PolicyProblem(
            file="a.cedar", line=3, code="PARSE", message="unexpected token", fix="mend it"
        )
        bad = any("broken" in file.text for file in request.files)
        return policy_pb2.CheckPolicyResponse(problems=[problem] if bad else [], digest="d" * 64)

    def ApplyPolicy(self, request: Any, context: Context) -> policy_pb2.ApplyPolicyResponse:
        self._world.requests.append(request)
        if any("broken" in file.text for file in request.files):
            refuse(context, grpc.StatusCode.INVALID_ARGUMENT, "POLICY_INVALID", "1 problem")
        return policy_pb2.ApplyPolicyResponse(digest="d" * 64)

    def _unserved(self, request: Any, context: Context) -> Any:
        """What tests/operating asks of a real daemon."""
        refuse(context, grpc.StatusCode.UNIMPLEMENTED, "UNIMPLEMENTED", "not here")

    RollbackPolicy = GetEntities = ChangeEntities = SetMaintenance = _unserved
    ExplainPolicy = TestPolicy = ReplayPolicy = DiffPolicy = SuggestPolicy = _unserved


class Secrets(secret_pb2_grpc.SecretServiceServicer):
    def __init__(self, world: World) -> None:
        self._world = world

    def PutSecret(self, request: Any, context: Context) -> secret_pb2.PutSecretResponse:
        self._world.requests.append(request)
        return secret_pb2.PutSecretResponse(version=1)

    def ListSecrets(self, request: Any, context: Context) -> secret_pb2.ListSecretsResponse:
        info = secret_pb2.ListSecretsResponse.SecretInfo(reference="secret://global/a", version=2)
        return secret_pb2.ListSecretsResponse(secrets=[info])

    def RemoveSecret(self, request: Any, context: Context) -> secret_pb2.RemoveSecretResponse:
        self._world.requests.append(request)
        return secret_pb2.RemoveSecretResponse()

    def RevokeSecret(self, request: Any, context: Context) -> secret_pb2.RevokeSecretResponse:
        self._world.requests.append(request)
        return secret_pb2.RevokeSecretResponse(calls=["01970000-0000-7000-8000-00000000000c"])

    def ReinstateSecret(self, request: Any, context: Context) -> secret_pb2.ReinstateSecretResponse:
        self._world.requests.append(request)
        return secret_pb2.ReinstateSecretResponse()

    def CheckSources(self, request: Any, context: Context) -> secret_pb2.CheckSourcesResponse:
        self._world.requests.append(request)
        return secret_pb2.CheckSourcesResponse()

    def RevertSecret(self, request: Any, context: Context) -> secret_pb2.RevertSecretResponse:
        self._world.requests.append(request)
        return secret_pb2.RevertSecretResponse(version=3)

    def RotateSecrets(self, request: Any, context: Context) -> secret_pb2.RotateSecretsResponse:
        self._world.requests.append(request)
        return secret_pb2.RotateSecretsResponse(versions=5)

    def RotateVaultRoot(self, request: Any, context: Context) -> secret_pb2.RotateVaultRootResponse:
        self._world.requests.append(request)
        return secret_pb2.RotateVaultRootResponse(root="file here", versions=5)

    def UnlockVault(self, request: Any, context: Context) -> secret_pb2.UnlockVaultResponse:
        self._world.requests.append(request)
        return secret_pb2.UnlockVaultResponse(available=True, root="file here")

    def GetVaultKey(self, request: Any, context: Context) -> secret_pb2.GetVaultKeyResponse:
        return secret_pb2.GetVaultKeyResponse(public_key=bytes(VAULT_KEY.public_key))

    def AcceptVaultRollback(
        self, request: Any, context: Context
    ) -> secret_pb2.AcceptVaultRollbackResponse:
        self._world.requests.append(request)
        return secret_pb2.AcceptVaultRollbackResponse()

    def BackUpVault(
        self, request: Any, context: Context
    ) -> Iterator[secret_pb2.BackUpVaultResponse]:
        self._world.requests.append(request)
        yield secret_pb2.BackUpVaultResponse(data=b"backup")

    def RestoreVault(self, request: Any, context: Context) -> secret_pb2.RestoreVaultResponse:
        self._world.requests.append(request)
        return secret_pb2.RestoreVaultResponse(complete=True)


class Status(daemon_pb2_grpc.DaemonServiceServicer):
    def GetStatus(self, request: Any, context: Context) -> daemon_pb2.GetStatusResponse:
        return daemon_pb2.GetStatusResponse(
            version="0.1.0",
            ledger_state="ok",
            tiers=[
                daemon_pb2.GetStatusResponse.Tier(
                    name="gvisor",
                    missing=[
                        daemon_pb2.GetStatusResponse.Missing(
                            primitive="runsc", reason="not installed", fix="apt install runsc"
                        )
                    ],
                ),
                daemon_pb2.GetStatusResponse.Tier(
                    name="process",
                    works=True,
                    engines=["bubblewrap"],
                    controls=[daemon_pb2.GetStatusResponse.Control(name="swap", requested="none")],
                ),
                daemon_pb2.GetStatusResponse.Tier(name="container", works=True, engines=["runc"]),
            ],
            engines=[
                daemon_pb2.GetStatusResponse.Engine(
                    name="bubblewrap",
                    version="0.4.0",
                    known_escapes=[
                        daemon_pb2.GetStatusResponse.KnownEscape(
                            id=f"CVE-{number}", summary="one way out", fixed_in="0.4.1"
                        )
                        for number in (1, 2)
                    ],
                ),
                daemon_pb2.GetStatusResponse.Engine(name="runc", version="1.4.0"),
            ],
            vault=daemon_pb2.GetStatusResponse.Vault(root="file", available=True),
        )

    def RunAttacks(self, request: Any, context: Context) -> Iterator[daemon_pb2.RunAttacksResponse]:
        rows = [
            ("read.path", "read a file outside", daemon_pb2.RunAttacksResponse.VERDICT_HELD),
            ("abi.x32", "make an x32 call", daemon_pb2.RunAttacksResponse.VERDICT_UNPROVEN),
            ("bomb.fork", "have processes", daemon_pb2.RunAttacksResponse.VERDICT_NOT_HELD),
        ]
        for name, aim, verdict in rows:
            if not request.names or name.startswith(tuple(request.names)):
                yield daemon_pb2.RunAttacksResponse(
                    tier="process", name=name, aim=aim, verdict=verdict, attack="\x1b[31mseen",
                    grant="a grant", control="an effect " * 12,
                )  # fmt: skip


class Daemon:
    """Serves a world on a port of its own and holds its home as the real one does."""

    def __init__(self, world: World, home: Home) -> None:
        self.world = world
        self.home = home
        self._server = grpc.server(ThreadPoolExecutor(8))
        tool_pb2_grpc.add_ToolServiceServicer_to_server(Tools(world), self._server)
        approval_pb2_grpc.add_ApprovalServiceServicer_to_server(Approvals(world), self._server)
        device_pb2_grpc.add_DeviceServiceServicer_to_server(Devices(world), self._server)
        policy_pb2_grpc.add_PolicyServiceServicer_to_server(Policies(world), self._server)
        secret_pb2_grpc.add_SecretServiceServicer_to_server(Secrets(world), self._server)
        daemon_pb2_grpc.add_DaemonServiceServicer_to_server(Status(), self._server)
        key = make_key()
        certificate = world.authority.issue(key.public_key(), "daemon.stockade")
        port = self._server.add_secure_port(
            "127.0.0.1:0",
            grpc.ssl_server_credentials(
                [(pem_key(key), certificate)], world.authority.pem, require_client_auth=True
            ),
        )
        self.address = f"127.0.0.1:{port}"

    def start(self) -> None:
        self.home.data.mkdir(parents=True, exist_ok=True)
        self.home.config_file.touch()
        self._lock = os.open(self.home.lock, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._server.start()
        fields = {"pid": os.getpid(), "address": self.address, "started_ms": 1}
        self.home.endpoint.write_text(json.dumps(fields))

    def stop(self) -> None:
        self._server.stop(None).wait()
        os.close(self._lock)


def pair_home(world: World, home: Home, address: str | None = None) -> Credentials:
    """A paired device's folder."""
    key = make_key()
    credentials = Credentials(
        device_id="dev-aaaaaaaaaaaaaaaa",
        name="laptop",
        address=address,
        key=key,
        certificate=world.authority.issue(key.public_key(), "device"),
        authority=world.authority.pem,
    )
    save_credentials(home.client, credentials)
    return credentials


def stamp(milliseconds: int) -> timestamp_pb2.Timestamp:
    message = timestamp_pb2.Timestamp()
    message.FromMilliseconds(milliseconds)
    return message


def home_under(folder: Path) -> Home:
    return Home.under(folder / "home")
