"""The client: one method per RPC, the daemon's own messages as answers.

Who is asking is the certificate of this device and nothing that is sent. A call that policy denies,
a human rejects or a limit ends is no error: its stream ends with a `finished` event that says so.
Raises `StockadeError` and nothing else. Thread-safe, as gRPC channels are.
"""

import json
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import uuid_utils.compat

from stockade.approving import sign_answer, sign_lease, verified
from stockade.call_events import CallEvents
from stockade.connection import Connection, Stream
from stockade.credentials import (
    Credentials,
    certificate_request,
    load_credentials,
    now,
    save_certificate,
)
from stockade.endpoint import load_endpoint, read_endpoint
from stockade.errors import BadRequest, CredentialsError, DaemonUnreachable, StockadeError
from stockade.home import Home
from stockade.lease import LeaseTerms
from stockade.policy_requests import PolicyRequests
from stockade.renewal import keep_renewed
from stockade.secret_requests import SecretRequests
from stockade.v1 import (
    agent_pb2,
    agent_pb2_grpc,
    approval_pb2,
    approval_pb2_grpc,
    call_pb2,
    daemon_pb2,
    daemon_pb2_grpc,
    device_pb2,
    device_pb2_grpc,
    lease_pb2,
    lease_pb2_grpc,
    ledger_pb2,
    ledger_pb2_grpc,
    tool_pb2,
    tool_pb2_grpc,
)

CANCEL_SECONDS = 60.0
RENEW_SECONDS = 10.0

_log = logging.getLogger("stockade")


def new_call_id() -> str:
    """A UUIDv7: sending a call again under the same id never runs the tool twice."""
    return str(uuid_utils.compat.uuid7())


class Client(PolicyRequests, SecretRequests):
    """A connection to one daemon as this device."""

    def __init__(self, connection: Connection, credentials: Credentials) -> None:
        PolicyRequests.__init__(self, connection)
        SecretRequests.__init__(self, connection)
        self.credentials = credentials
        self._closed = threading.Event()
        channel = connection.channel
        self._agents = agent_pb2_grpc.AgentServiceStub(channel)
        self._approvals = approval_pb2_grpc.ApprovalServiceStub(channel)
        self._daemon = daemon_pb2_grpc.DaemonServiceStub(channel)
        self._devices = device_pb2_grpc.DeviceServiceStub(channel)
        self._leases = lease_pb2_grpc.LeaseServiceStub(channel)
        self._ledger = ledger_pb2_grpc.LedgerServiceStub(channel)
        self._tools = tool_pb2_grpc.ToolServiceStub(channel)

    @classmethod
    def open(cls, home: Home | None = None) -> Self:
        """Connects as the device of `home`.

        Its certificate is renewed when half its life is over: now, or while the client is open.
        """
        home = home or Home.locate()
        credentials = load_credentials(home.client)
        moment = now()
        if credentials.expired(moment):
            raise _expired(credentials)
        client = cls(Connection(_address(home, credentials), credentials), credentials)
        if credentials.renewal_due(moment):
            client._renew_quietly(home, moment)
        keep_renewed(client, home, client._closed)
        return client

    @property
    def address(self) -> str:
        """Where the daemon listens, "host:port"."""
        return self._connection.target

    def close(self) -> None:
        """Ends the connection; a call under way that is not detached is cancelled."""
        self._closed.set()
        self._connection.close()

    def use(self, credentials: Credentials) -> None:
        """Other credentials of this device, for requests from now on. Streams go on."""
        self._connection.use(credentials)
        self.credentials = credentials

    def tidy(self) -> None:
        """Closes connections that were left behind by renewals and have no more streams."""
        self._connection.tidy()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # Tools and calls

    def list_tools(self) -> tool_pb2.ListToolsResponse:
        """The tools, and the tool folders that were refused."""
        return self._connection.ask(self._tools.ListTools, tool_pb2.ListToolsRequest())

    def get_tool(self, name: str) -> tool_pb2.Tool:
        """One tool with its whole contract."""
        return self._connection.ask(self._tools.GetTool, tool_pb2.GetToolRequest(name=name)).tool

    def add_tool(self, files: Sequence[tool_pb2.AddToolRequest.File]) -> tool_pb2.AddToolResponse:
        """Adds or replaces a tool of the operator's own."""
        return self._connection.ask(self._tools.AddTool, tool_pb2.AddToolRequest(files=files))

    def remove_tool(self, name: str) -> tool_pb2.RemoveToolResponse:
        """Takes a tool of the operator's own away."""
        return self._connection.ask(self._tools.RemoveTool, tool_pb2.RemoveToolRequest(name=name))

    def call(
        self,
        tool: str,
        arguments: Mapping[str, Any] | bytes,
        *,
        call_id: str | None = None,
        detach: bool = False,
    ) -> Stream[call_pb2.CallEvent]:
        """Calls a tool and gives the call's life as it happens; bytes are sent as they are."""
        request = tool_pb2.CallRequest(
            call_id=call_id or new_call_id(),
            tool=tool,
            arguments=arguments if isinstance(arguments, bytes) else _encode(arguments),
            detach=detach,
            together=True,
        )
        return self._connection.follow(self._tools.Call, request, CallEvents)

    def watch_call(self, call_id: str) -> Stream[call_pb2.CallEvent]:
        """Joins a call by id. Leaving the watch cancels nothing."""
        request = tool_pb2.WatchCallRequest(call_id=call_id, together=True)
        return self._connection.follow(self._tools.WatchCall, request, CallEvents)

    def cancel_call(
        self, call_id: str, *, seconds: float = CANCEL_SECONDS
    ) -> tool_pb2.CancelCallResponse:
        """Ends a call; returns once it has ended."""
        request = tool_pb2.CancelCallRequest(call_id=call_id)
        return self._connection.ask(self._tools.CancelCall, request, seconds=seconds)

    def list_calls(
        self,
        *,
        page_size: int = 0,
        page_token: str = "",
        states: Sequence[call_pb2.CallState.ValueType] = (),
    ) -> tool_pb2.ListCallsResponse:
        """Calls, newest first."""
        request = tool_pb2.ListCallsRequest(
            page_size=page_size, page_token=page_token, states=states
        )
        return self._connection.ask(self._tools.ListCalls, request)

    # Approvals

    def list_approvals(
        self, *, settled: bool = False, page_size: int = 0
    ) -> list[approval_pb2.Approval]:
        """The first page of the pending approvals, or with `settled` of all of them."""
        return list(self.page_of_approvals(settled=settled, page_size=page_size).approvals)

    def page_of_approvals(
        self, *, settled: bool = False, page_size: int = 0, page_token: str = ""
    ) -> approval_pb2.ListApprovalsResponse:
        """A page of approvals: the pending ones, oldest first, or all of them, newest first."""
        request = approval_pb2.ListApprovalsRequest(
            all=settled, page_size=page_size, page_token=page_token
        )
        return self._connection.ask(self._approvals.ListApprovals, request)

    def all_approvals(self) -> Iterator[approval_pb2.Approval]:
        """Every pending approval, oldest first, page by page."""
        token = ""
        while True:
            page = self.page_of_approvals(page_size=500, page_token=token)
            yield from page.approvals
            token = page.next_page_token
            if not token:
                return

    def get_approval(self, approval_id: str) -> approval_pb2.Approval:
        """One approval. Show people `approving.verified(approval)`."""
        request = approval_pb2.GetApprovalRequest(approval_id=approval_id)
        return self._connection.ask(self._approvals.GetApproval, request).approval

    def watch_approvals(self) -> Stream[approval_pb2.ApprovalEvent]:
        """The pending approvals, then every change."""
        return self._connection.follow(
            self._approvals.WatchApprovals, approval_pb2.WatchApprovalsRequest()
        )

    def answer_approval(
        self,
        approval: approval_pb2.Approval,
        *,
        approve: bool,
        reason: str = "",
        lease: LeaseTerms | None = None,
    ) -> approval_pb2.AnswerApprovalResponse:
        """Signs an answer to exactly the statement in `approval`, as it was shown, and sends it.

        With a yes, `lease` is signed too: calls like this one then run without being asked about.
        """
        statement = verified(approval)
        terms = b"" if lease is None else lease.encode()
        request = approval_pb2.AnswerApprovalRequest(
            approval_id=statement.approval_id,
            approve=approve,
            reason=reason,
            signature=sign_answer(self.credentials.key, approval.statement, approve, reason),
            lease_terms=terms,
            lease_signature=sign_lease(self.credentials.key, terms) if terms else b"",
        )
        return self._connection.ask(self._approvals.AnswerApproval, request)

    def list_leases(self, *, ended: bool = False, page_size: int = 0) -> list[lease_pb2.Lease]:
        """The leases that stand, or with `ended` all of them, newest first."""
        request = lease_pb2.ListLeasesRequest(all=ended, page_size=page_size)
        return list(self._connection.ask(self._leases.ListLeases, request).leases)

    def revoke_lease(
        self, lease_id: str, *, running: bool = False
    ) -> lease_pb2.RevokeLeaseResponse:
        """Ends a lease; with `running`, also the calls that run by it."""
        request = lease_pb2.RevokeLeaseRequest(lease_id=lease_id, running=running)
        return self._connection.ask(self._leases.RevokeLease, request)

    # Devices

    def who_am_i(self) -> device_pb2.WhoAmIResponse:
        """The principal of this connection, as the daemon sees it."""
        return self._connection.ask(self._devices.WhoAmI, device_pb2.WhoAmIRequest())

    def list_devices(self) -> list[device_pb2.Device]:
        """The paired devices, revoked ones too."""
        request = device_pb2.ListDevicesRequest()
        return list(self._connection.ask(self._devices.ListDevices, request).devices)

    def invite_device(
        self, name: str, groups: Sequence[str], *, lifetime_seconds: int = 0
    ) -> Stream[device_pb2.InviteDeviceEvent]:
        """Opens an invitation; it is closed when the stream is left."""
        request = device_pb2.InviteDeviceRequest(
            name=name, groups=groups, lifetime_seconds=lifetime_seconds
        )
        return self._connection.follow(self._devices.InviteDevice, request)

    def confirm_pairing(self, invitation_id: str, words: str, *, accept: bool) -> None:
        """A person's word on the device that waits."""
        request = device_pb2.ConfirmPairingRequest(
            invitation_id=invitation_id, accept=accept, words=words
        )
        self._connection.ask(self._devices.ConfirmPairing, request)

    def revoke_device(self, device_id: str) -> device_pb2.RevokeDeviceResponse:
        """Ends a device for good."""
        request = device_pb2.RevokeDeviceRequest(device_id=device_id)
        return self._connection.ask(self._devices.RevokeDevice, request)

    def revoke_certificate(self, serial: str) -> device_pb2.RevokeCertificateResponse:
        """Ends one certificate of a device; its others stay good."""
        request = device_pb2.RevokeCertificateRequest(serial=serial)
        return self._connection.ask(self._devices.RevokeCertificate, request)

    def rotate_authority(self) -> device_pb2.RotateAuthorityResponse:
        """Replaces the authority that issues certificates, with a period in which both are good."""
        request = device_pb2.RotateAuthorityRequest()
        return self._connection.ask(self._devices.RotateAuthority, request)

    def set_device_groups(
        self, device_id: str, groups: Sequence[str]
    ) -> device_pb2.SetDeviceGroupsResponse:
        """Puts a device in exactly these groups."""
        request = device_pb2.SetDeviceGroupsRequest(device_id=device_id, groups=groups)
        return self._connection.ask(self._devices.SetDeviceGroups, request)

    def renew_certificate(self, home: Home) -> Credentials:
        """A new certificate for this device's key, stored in `home` and used from now on."""
        request = device_pb2.RenewCertificateRequest(
            certificate_request=certificate_request(self.credentials.key)
        )
        answer = self._connection.ask(
            self._devices.RenewCertificate, request, seconds=RENEW_SECONDS
        )
        renewed = self.credentials.renewed(answer.certificate, answer.authority)
        save_certificate(home.client, renewed)
        self.use(renewed)
        return renewed

    # Agents

    def enroll_agent(
        self, name: str, manifest: bytes, request: bytes
    ) -> agent_pb2.EnrollAgentResponse:
        """Makes an agent of this device; `stockade.agents.enroll` makes and stores its key, too."""
        message = agent_pb2.EnrollAgentRequest(
            name=name, manifest=manifest, certificate_request=request
        )
        return self._connection.ask(self._agents.EnrollAgent, message)

    def list_agents(self) -> list[agent_pb2.Agent]:
        """The agents of this device, or all that this principal may see; revoked ones too."""
        request = agent_pb2.ListAgentsRequest()
        return list(self._connection.ask(self._agents.ListAgents, request).agents)

    def revoke_agent(self, agent_id: str) -> agent_pb2.RevokeAgentResponse:
        """Ends an agent for good."""
        request = agent_pb2.RevokeAgentRequest(agent_id=agent_id)
        return self._connection.ask(self._agents.RevokeAgent, request)

    # What concerns policy and secrets is in `policy_requests` and `secret_requests`.

    # The ledger and the daemon. None of the ledger's answers needs to be believed: verify them.

    def read_ledger(
        self, *, call_id: str = "", page_size: int = 0, page_token: str = ""
    ) -> ledger_pb2.ReadLedgerResponse:
        """Receipts, newest first, or one call's, oldest first."""
        request = ledger_pb2.ReadLedgerRequest(
            call_id=call_id, page_size=page_size, page_token=page_token
        )
        return self._connection.ask(self._ledger.ReadLedger, request)

    def follow_ledger(self, after_sequence: int = 0) -> Stream[call_pb2.Receipt]:
        """New receipts as they become durable."""
        request = ledger_pb2.FollowLedgerRequest(after_sequence=after_sequence)
        return self._connection.follow(self._ledger.FollowLedger, request)

    def export_ledger(self) -> Stream[ledger_pb2.ExportLedgerResponse]:
        """The whole chain as the export's lines."""
        return self._connection.follow(self._ledger.ExportLedger, ledger_pb2.ExportLedgerRequest())

    def checkpoint_ledger(self) -> bytes:
        """A checkpoint of the chain as it is now: a C2SP signed note."""
        request = ledger_pb2.CheckpointLedgerRequest()
        return self._connection.ask(self._ledger.CheckpointLedger, request).checkpoint

    def ledger_keys(self) -> bytes:
        """The ledger's public keys. Compare them with a copy obtained otherwise."""
        request = ledger_pb2.GetLedgerKeysRequest()
        return self._connection.ask(self._ledger.GetLedgerKeys, request).keys

    def status(self) -> daemon_pb2.GetStatusResponse:
        """What runs, what works, what does not and how to mend it."""
        return self._connection.ask(self._daemon.GetStatus, daemon_pb2.GetStatusRequest())

    def run_attacks(
        self, tiers: Sequence[str] = (), names: Sequence[str] = ()
    ) -> Stream[daemon_pb2.RunAttacksResponse]:
        """Attacks the daemon's sandboxes; each row says what one attack came to in one tier."""
        request = daemon_pb2.RunAttacksRequest(tiers=tiers, names=names)
        return self._connection.follow(self._daemon.RunAttacks, request)

    def _renew_quietly(self, home: Home, moment: datetime) -> None:
        """The old certificate is still good: that renewing failed must not stop what was asked."""
        try:
            self.renew_certificate(home)
        except StockadeError as error:
            end = self.credentials.lifetime()[1]
            days = (end - moment).days
            _log.warning("the certificate was not renewed (%s); %d days left", error.reason, days)


def _address(home: Home, credentials: Credentials) -> str:
    if credentials.endpoint is not None:
        # A daemon of this machine may listen elsewhere since; what it wrote down is newer.
        found = read_endpoint(credentials.endpoint)
        if found is not None:
            return found.address
    if credentials.address is not None:
        return credentials.address
    endpoint = load_endpoint(home)
    if endpoint is None:
        raise DaemonUnreachable(
            f"no daemon serves {home.data}", fix="start it with `stockade up --detach`"
        )
    return endpoint.address


def _encode(arguments: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(arguments, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise BadRequest(
            f"the arguments are not JSON: {error}",
            reason="ARGUMENTS_INVALID",
            fix="pass a mapping of strings, numbers, booleans, None, lists and mappings",
        ) from None


def _expired(credentials: Credentials) -> CredentialsError:
    if credentials.agent_id is not None:
        return CredentialsError(
            "this agent's certificate has run out",
            reason="CERTIFICATE_EXPIRED",
            fix="enroll it again from its device: `stockade agents enroll`",
        )
    here = credentials.address is None
    return CredentialsError(
        "this device's certificate has run out",
        reason="CERTIFICATE_EXPIRED",
        fix="`stockade up` issues it again; if the daemon runs, `stockade down` first"
        if here
        else "ask for a new invitation and run `stockade pair CODE`",
    )
