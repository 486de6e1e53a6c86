"""The part of the client that concerns devices and their agents.

Raises `StockadeError` and nothing else.
"""

from collections.abc import Sequence

from stockade.connection import Connection, Stream
from stockade.v1 import agent_pb2, agent_pb2_grpc, device_pb2, device_pb2_grpc


class DeviceRequests:
    """Requests about devices and agents over a connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._devices = device_pb2_grpc.DeviceServiceStub(connection.channel)
        self._agents = agent_pb2_grpc.AgentServiceStub(connection.channel)

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

    def resume_principal(self, principal: str) -> device_pb2.ResumePrincipalResponse:
        """Lets a device or agent in again that an alert suspended: "device/ID", "agent/ID"."""
        request = device_pb2.ResumePrincipalRequest(principal=principal)
        return self._connection.ask(self._devices.ResumePrincipal, request)

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
