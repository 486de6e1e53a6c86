"""The part of the client that concerns the ledger. None of its answers needs to be believed.

Raises `StockadeError` and nothing else.
"""

from collections.abc import Iterable

from stockade.connection import Connection, Stream
from stockade.v1 import call_pb2, ledger_pb2, ledger_pb2_grpc


class LedgerRequests:
    """Requests about receipts over a connection: verify what comes."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._ledger = ledger_pb2_grpc.LedgerServiceStub(connection.channel)

    def read_ledger(
        self,
        *,
        call_id: str = "",
        page_size: int = 0,
        page_token: str = "",
        only: ledger_pb2.ReceiptFilter | None = None,
    ) -> ledger_pb2.ReadLedgerResponse:
        """Receipts, newest first, or one call's, oldest first."""
        request = ledger_pb2.ReadLedgerRequest(
            call_id=call_id, page_size=page_size, page_token=page_token, filter=only
        )
        return self._connection.ask(self._ledger.ReadLedger, request)

    def follow_ledger(
        self, after_sequence: int = 0, only: ledger_pb2.ReceiptFilter | None = None
    ) -> Stream[call_pb2.Receipt]:
        """New receipts as they become durable."""
        request = ledger_pb2.FollowLedgerRequest(after_sequence=after_sequence, filter=only)
        return self._connection.follow(self._ledger.FollowLedger, request)

    def export_ledger(
        self, after_sequence: int = 0, only: ledger_pb2.ReceiptFilter | None = None
    ) -> Stream[ledger_pb2.ExportLedgerResponse]:
        """The whole chain as the export's lines, or a part of it."""
        request = ledger_pb2.ExportLedgerRequest(after_sequence=after_sequence, filter=only)
        return self._connection.follow(self._ledger.ExportLedger, request)

    def export_evidence(
        self, *, call_id: str = "", lease_id: str = "", begin: str = "", end: str = ""
    ) -> Stream[ledger_pb2.ExportEvidenceResponse]:
        """Evidence of one call, one lease, or a period: pieces of a file, in order."""
        request = ledger_pb2.ExportEvidenceRequest()
        if call_id:
            request.call_id = call_id
        elif lease_id:
            request.lease_id = lease_id
        else:
            request.period.begin, request.period.end = begin, end
        return self._connection.follow(self._ledger.ExportEvidence, request)

    def checkpoint_ledger(self) -> bytes:
        """A checkpoint of the chain as it is now: a C2SP signed note."""
        return self.checkpoint_since(0).checkpoint

    def checkpoint_since(self, size: int) -> ledger_pb2.CheckpointLedgerResponse:
        """The same, and the proof that it only adds to a checkpoint of so many receipts."""
        request = ledger_pb2.CheckpointLedgerRequest(since_size=size)
        return self._connection.ask(self._ledger.CheckpointLedger, request)

    def countersign_checkpoint(
        self,
        chain: str,
        checkpoint: bytes = b"",
        since: int = 0,
        proof: Iterable[bytes] = (),
        keys: bytes = b"",
    ) -> ledger_pb2.CountersignCheckpointResponse:
        """Another ledger's checkpoint, countersigned by this daemon; or what it has seen of it."""
        request = ledger_pb2.CountersignCheckpointRequest(
            chain=chain, checkpoint=checkpoint, since_size=since, consistency=proof, keys=keys
        )
        return self._connection.ask(self._ledger.CountersignCheckpoint, request)

    def rotate_ledger_keys(self) -> ledger_pb2.RotateLedgerKeysResponse:
        """New keys for the ledger, by a receipt that the old ones sign and the new."""
        request = ledger_pb2.RotateLedgerKeysRequest()
        return self._connection.ask(self._ledger.RotateLedgerKeys, request)

    def ledger_keys(self) -> bytes:
        """The ledger's public keys. Compare them with a copy obtained otherwise."""
        request = ledger_pb2.GetLedgerKeysRequest()
        return self._connection.ask(self._ledger.GetLedgerKeys, request).keys
