"""LeaseService: the leases that stand, and ending them."""

from daemon.calls.live import timestamp
from daemon.calls.tell import receipt
from daemon.identity.devices import Devices
from daemon.leases.handing import Handing
from daemon.leases.keeping import LeaseKeeper
from daemon.leases.meaning import permits_of
from daemon.leases.signers import signers_of
from daemon.permission import Permission
from daemon.principal import current_principal
from daemon.rpc.convert import page_size
from daemon.rpc.faults import Context
from daemon.store import leases
from daemon.store.ids import DeviceId
from daemon.store.leases import LeaseRow, LeaseState
from daemon.store.reader import Reader
from daemon.worlds import Worlds
from policy.lease import LeaseRefusedError
from stockade.lease import LeaseError, parse_lease
from stockade.v1 import lease_pb2, lease_pb2_grpc

DEFAULT_PAGE = 100


class LeaseService(lease_pb2_grpc.LeaseServiceServicer):
    """See proto/stockade/v1/lease.proto."""

    def __init__(
        self,
        keeper: LeaseKeeper,
        handing: Handing,
        permission: Permission,
        devices: Devices,
        worlds: Worlds,
        reader: Reader,
    ) -> None:
        self._keeper = keeper
        self._handing = handing
        self._permission = permission
        self._devices = devices
        self._worlds = worlds
        self._reader = reader

    async def ListLeases(
        self, request: lease_pb2.ListLeasesRequest, context: Context
    ) -> lease_pb2.ListLeasesResponse:
        limit, principal = page_size(request.page_size, DEFAULT_PAGE), current_principal()
        device_id = None
        if not self._permission.ask(principal, "list_leases").allowed:
            device_id = DeviceId(principal.device_id)
        rows = await self._reader.read(
            lambda c: leases.latest(c, limit=limit, ended=request.all, device_id=device_id)
        )
        if principal.agent is not None:
            rows = tuple(row for row in rows if row.principal == str(principal))
        return lease_pb2.ListLeasesResponse(leases=[self._proto(row) for row in rows])

    async def RevokeLease(
        self, request: lease_pb2.RevokeLeaseRequest, context: Context
    ) -> lease_pb2.RevokeLeaseResponse:
        entry = await self._keeper.revoke(
            request.lease_id, str(current_principal()), running=request.running
        )
        row = await self._keeper.get(request.lease_id)
        return lease_pb2.RevokeLeaseResponse(lease=self._proto(row), receipt=receipt(entry))

    async def HandLease(
        self, request: lease_pb2.HandLeaseRequest, context: Context
    ) -> lease_pb2.HandLeaseResponse:
        row = await self._handing.hand(
            current_principal(), request.lease_terms, request.lease_signature
        )
        return lease_pb2.HandLeaseResponse(lease=self._proto(row))

    def _proto(self, row: LeaseRow) -> lease_pb2.Lease:
        signer = self._devices.get(str(row.signer))
        return lease_pb2.Lease(
            lease_id=row.lease_id,
            state=row.state.value,
            reason=row.reason,
            terms=row.terms,
            uses=row.uses,
            created=timestamp(row.created_ms),
            ended=None if row.ended_ms is None else timestamp(row.ended_ms),
            signer=row.signer,
            signer_name=signer.row.name if signer else "",
            holder_name=self._devices.shown(row.principal, str(row.device_id)),
            policies=self._policies(row) if row.state is LeaseState.ACTIVE else (),
            parent_id=row.parent_id or "",
            cosigners=self._cosigners(row),
        )

    def _cosigners(self, row: LeaseRow) -> list[lease_pb2.Lease.Signer]:
        try:
            others = signers_of(row)[1:]
        except LeaseError:
            return []
        return [
            lease_pb2.Lease.Signer(
                device_id=one.device_id, device_name=self._devices.name(one.device_id)
            )
            for one in others
        ]

    def _policies(self, row: LeaseRow) -> tuple[str, ...]:
        world = self._worlds.current
        principal = self._devices.of_call(row.principal, str(row.device_id), "")
        tool = world.registry.get(row.tool)
        try:
            terms = parse_lease(row.terms)
            if principal is None or tool is None or tool.digest != terms.tool_digest:
                return ()
            subjects, translation = world.subjects(principal), world.translations[tool.name]
            parent = self._keeper.book.get(str(row.parent_id)) if row.parent_id else None
            permits = permits_of(
                subjects,
                terms,
                translation,
                world.bundle.schema,
                None if parent is None else parent.terms,
            )
        except (LeaseError, LeaseRefusedError):
            return ()
        return tuple(permit.text for permit in permits)
