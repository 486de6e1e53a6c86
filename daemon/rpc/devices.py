"""DeviceService: who is paired, and who comes and goes."""

from collections.abc import AsyncIterator
from datetime import timedelta

from daemon.calls.live import timestamp
from daemon.calls.tell import receipt
from daemon.errors import BadRequest, Unauthenticated
from daemon.identity.authorities import Authorities
from daemon.identity.devices import Devices
from daemon.identity.enrolment import Enrolment
from daemon.identity.pairing import Invitation, Pairing
from daemon.identity.registrar import Registrar, check_device_name, check_groups
from daemon.identity.rotation import Rotation
from daemon.identity.suspending import Suspending
from daemon.permission import Permission
from daemon.principal import current_principal
from daemon.rpc.convert import agent_to_proto, device_to_proto
from daemon.rpc.faults import Context
from stockade.v1 import device_pb2, device_pb2_grpc

DEFAULT_LIFETIME = 600
MIN_LIFETIME, MAX_LIFETIME = 30, 3600


class DeviceService(device_pb2_grpc.DeviceServiceServicer):
    """See proto/stockade/v1/device.proto."""

    def __init__(
        self,
        devices: Devices,
        registrar: Registrar,
        pairing: Pairing,
        authorities: Authorities,
        rotation: Rotation,
        enrolment: Enrolment,
        suspending: Suspending,
        permission: Permission,
    ) -> None:
        self._devices = devices
        self._registrar = registrar
        self._pairing = pairing
        self._authorities = authorities
        self._rotation = rotation
        self._enrolment = enrolment
        self._suspending = suspending
        self._permission = permission

    async def WhoAmI(
        self, request: device_pb2.WhoAmIRequest, context: Context
    ) -> device_pb2.WhoAmIResponse:
        principal = current_principal()
        known = self._devices.get(principal.device_id)
        if known is None:
            raise Unauthenticated(
                "this device is not known", code="CERT_UNKNOWN", fix="pair it again"
            )
        agent = self._devices.agents.get(principal.agent.agent_id) if principal.agent else None
        return device_pb2.WhoAmIResponse(
            device=device_to_proto(known),
            principal=str(principal),
            agent=agent_to_proto(agent, principal.device_name) if agent else None,
        )

    async def ListDevices(
        self, request: device_pb2.ListDevicesRequest, context: Context
    ) -> device_pb2.ListDevicesResponse:
        return device_pb2.ListDevicesResponse(
            devices=[
                device_to_proto(device, suspended=f"device/{own}" in self._devices.suspended)
                for device in self._devices.all
                for own in [device.row.device_id]
            ]
        )

    async def InviteDevice(
        self, request: device_pb2.InviteDeviceRequest, context: Context
    ) -> AsyncIterator[device_pb2.InviteDeviceEvent]:
        name, groups = check_device_name(request.name), check_groups(request.groups)
        seconds = request.lifetime_seconds or DEFAULT_LIFETIME
        if not MIN_LIFETIME <= seconds <= MAX_LIFETIME:
            raise BadRequest(
                f"an invitation lives {MIN_LIFETIME} to {MAX_LIFETIME} seconds",
                code="BAD_LIFETIME",
                fix=f"0 takes the default, {DEFAULT_LIFETIME} seconds",
            )
        inviter, lifetime = current_principal(), timedelta(seconds=seconds)

        def may_invite() -> None:
            self._permission.require(inviter, "invite_device")

        async with self._pairing.invite(
            name, groups, lifetime, str(inviter), may_invite
        ) as invitation:
            yield device_pb2.InviteDeviceEvent(
                opened=device_pb2.InviteDeviceEvent.Opened(
                    invitation_id=invitation.code.invitation_id,
                    pairing_code=invitation.code.text(),
                    expires=timestamp(invitation.expires_ms),
                )
            )
            await invitation.waiting.wait()
            if invitation.candidate is not None and not invitation.over:
                yield device_pb2.InviteDeviceEvent(
                    waiting=device_pb2.InviteDeviceEvent.Waiting(
                        name=invitation.name,
                        words=invitation.candidate.words,
                        source=invitation.candidate.source,
                    )
                )
            await invitation.closed.wait()
            yield _closed(invitation)

    async def ConfirmPairing(
        self, request: device_pb2.ConfirmPairingRequest, context: Context
    ) -> device_pb2.ConfirmPairingResponse:
        self._pairing.decide(request.invitation_id, request.accept, request.words)
        return device_pb2.ConfirmPairingResponse()

    async def RevokeDevice(
        self, request: device_pb2.RevokeDeviceRequest, context: Context
    ) -> device_pb2.RevokeDeviceResponse:
        entry = await self._registrar.revoke(request.device_id, str(current_principal()))
        return device_pb2.RevokeDeviceResponse(receipt=receipt(entry))

    async def RevokeCertificate(
        self, request: device_pb2.RevokeCertificateRequest, context: Context
    ) -> device_pb2.RevokeCertificateResponse:
        entry = await self._registrar.revoke_certificate(request.serial, str(current_principal()))
        return device_pb2.RevokeCertificateResponse(receipt=receipt(entry))

    async def RotateAuthority(
        self, request: device_pb2.RotateAuthorityRequest, context: Context
    ) -> device_pb2.RotateAuthorityResponse:
        state, entry = await self._rotation.rotate(str(current_principal()))
        return device_pb2.RotateAuthorityResponse(
            old=state.current.spki_sha256,
            new=state.issuing.spki_sha256,
            until=timestamp(state.until_ms),
            receipt=receipt(entry),
        )

    async def SetDeviceGroups(
        self, request: device_pb2.SetDeviceGroupsRequest, context: Context
    ) -> device_pb2.SetDeviceGroupsResponse:
        known, entry = await self._registrar.set_groups(
            request.device_id, request.groups, str(current_principal())
        )
        return device_pb2.SetDeviceGroupsResponse(
            device=device_to_proto(known), receipt=receipt(entry)
        )

    async def ResumePrincipal(
        self, request: device_pb2.ResumePrincipalRequest, context: Context
    ) -> device_pb2.ResumePrincipalResponse:
        entry = await self._suspending.resume(request.principal, str(current_principal()))
        return device_pb2.ResumePrincipalResponse(receipt=receipt(entry))

    async def RenewCertificate(
        self, request: device_pb2.RenewCertificateRequest, context: Context
    ) -> device_pb2.RenewCertificateResponse:
        principal = current_principal()
        asked, who = request.certificate_request, str(principal)
        if principal.agent is not None:
            issued = await self._enrolment.renew(asked, principal.agent.agent_id, who)
        else:
            issued = await self._registrar.renew(asked, principal.device_id, who)
        return device_pb2.RenewCertificateResponse(
            certificate=issued.pem, authority=self._authorities.bundle
        )


def _closed(invitation: Invitation) -> device_pb2.InviteDeviceEvent:
    closed = device_pb2.InviteDeviceEvent.Closed(reason=invitation.over)
    if invitation.device is not None and invitation.entry is not None:
        closed.device.CopyFrom(device_to_proto(invitation.device))
        closed.receipt.CopyFrom(receipt(invitation.entry))
    return device_pb2.InviteDeviceEvent(closed=closed)
