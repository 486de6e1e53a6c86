"""SecretService: values go in, names come out. What is refused leaves a receipt too."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, TypeVar

from daemon.calls.engine import Calls
from daemon.calls.live import timestamp
from daemon.calls.tell import receipt
from daemon.clock import Clock
from daemon.errors import BadRequest, Fault
from daemon.principal import current_principal
from daemon.rpc.convert import parse_time_ms
from daemon.rpc.faults import Context
from daemon.rpc.source_messages import source_to_proto
from daemon.store.secrets import SecretFacts
from daemon.vault.composition import Vault
from stockade.v1 import secret_pb2, secret_pb2_grpc
from vault.secret import Secret

T = TypeVar("T")

MAX_PAGE: Final = 500
REVOKED: Final = "SECRET_REVOKED"


class SecretService(secret_pb2_grpc.SecretServiceServicer):
    """See proto/stockade/v1/secret.proto."""

    def __init__(self, vault: Vault, calls: Calls, clock: Clock) -> None:
        self._vault = vault
        self._calls = calls
        self._clock = clock

    async def PutSecret(
        self, request: secret_pb2.PutSecretRequest, context: Context
    ) -> secret_pb2.PutSecretResponse:
        async def put() -> secret_pb2.PutSecretResponse:
            expires = parse_time_ms(request.expires) if request.HasField("expires") else None
            value = self._vault.submitted(request.reference, request.value, request.sealed)
            version, entry = await self._vault.changes.put(
                request.reference, value, expires, _who()
            )
            return secret_pb2.PutSecretResponse(version=version, receipt=receipt(entry))

        return await self._recorded("put", request.reference, put)

    async def ListSecrets(
        self, request: secret_pb2.ListSecretsRequest, context: Context
    ) -> secret_pb2.ListSecretsResponse:
        size = request.page_size or MAX_PAGE
        if not 1 <= size <= MAX_PAGE:
            raise BadRequest(
                f"a page has 1 to {MAX_PAGE} secrets", code="BAD_PAGE_SIZE", fix="ask for fewer"
            )
        scope, _, name = request.page_token.rpartition("/")
        found = await self._vault.changes.listing((scope, name), size)
        token = f"{found[-1].scope}/{found[-1].name}" if len(found) == size else ""
        return secret_pb2.ListSecretsResponse(
            secrets=[self._info(one) for one in found],
            next_page_token=token,
            kept_elsewhere=() if token else self._vault.keeper.sources.names(),
            revoked_elsewhere=() if token else await self._vault.keeper.revoked_elsewhere(),
        )

    async def RemoveSecret(
        self, request: secret_pb2.RemoveSecretRequest, context: Context
    ) -> secret_pb2.RemoveSecretResponse:
        entry = await self._recorded(
            "remove",
            request.reference,
            lambda: self._vault.changes.remove(request.reference, _who()),
        )
        return secret_pb2.RemoveSecretResponse(receipt=receipt(entry))

    async def RevokeSecret(
        self, request: secret_pb2.RevokeSecretRequest, context: Context
    ) -> secret_pb2.RevokeSecretResponse:
        entry = await self._recorded(
            "revoke",
            request.reference,
            lambda: self._vault.changes.revoke(request.reference, request.cancel_calls, _who()),
        )
        # After it is durable: whoever looked the secret up before has said so by now.
        holders = self._vault.keeper.holders(request.reference)
        if request.cancel_calls:
            self._calls.cancel_these(holders, REVOKED)
        return secret_pb2.RevokeSecretResponse(receipt=receipt(entry), calls=sorted(holders))

    async def ReinstateSecret(
        self, request: secret_pb2.ReinstateSecretRequest, context: Context
    ) -> secret_pb2.ReinstateSecretResponse:
        entry = await self._recorded(
            "reinstate",
            request.reference,
            lambda: self._vault.changes.reinstate(request.reference, _who()),
        )
        return secret_pb2.ReinstateSecretResponse(receipt=receipt(entry))

    async def CheckSources(
        self, request: secret_pb2.CheckSourcesRequest, context: Context
    ) -> secret_pb2.CheckSourcesResponse:
        report = await self._vault.keeper.look(request.name)
        entry = await self._vault.changes.checked(report, _who())
        return secret_pb2.CheckSourcesResponse(
            sources=[source_to_proto(one) for one in report], receipt=receipt(entry)
        )

    async def RevertSecret(
        self, request: secret_pb2.RevertSecretRequest, context: Context
    ) -> secret_pb2.RevertSecretResponse:
        version, entry = await self._recorded(
            "revert",
            request.reference,
            lambda: self._vault.changes.revert(request.reference, request.version, _who()),
        )
        return secret_pb2.RevertSecretResponse(version=version, receipt=receipt(entry))

    async def RotateSecrets(
        self, request: secret_pb2.RotateSecretsRequest, context: Context
    ) -> secret_pb2.RotateSecretsResponse:
        count, entry = await self._recorded(
            "rotate",
            request.reference,
            lambda: self._vault.changes.seal_anew(request.reference, _who()),
        )
        return secret_pb2.RotateSecretsResponse(versions=count, receipt=receipt(entry))

    async def RotateVaultRoot(
        self, request: secret_pb2.RotateVaultRootRequest, context: Context
    ) -> secret_pb2.RotateVaultRootResponse:
        passphrase = Secret(request.passphrase) if request.passphrase else None
        done = await self._recorded(
            "rotate_root",
            "",
            lambda: self._vault.roots.rotate(request.root, request.credential, passphrase, _who()),
        )
        return secret_pb2.RotateVaultRootResponse(
            root=done.root, versions=done.secrets, receipt=receipt(done.entry), left=done.left
        )

    async def UnlockVault(
        self, request: secret_pb2.UnlockVaultRequest, context: Context
    ) -> secret_pb2.UnlockVaultResponse:
        passphrase = Secret(request.passphrase) if request.passphrase else None
        state = await self._vault.unlock(passphrase, request.create, _who())
        return secret_pb2.UnlockVaultResponse(
            available=state.available,
            code=state.code,
            reason=state.reason,
            fix=state.fix,
            root=state.root,
        )

    async def GetVaultKey(
        self, request: secret_pb2.GetVaultKeyRequest, context: Context
    ) -> secret_pb2.GetVaultKeyResponse:
        return secret_pb2.GetVaultKeyResponse(public_key=self._vault.public_key())

    async def AcceptVaultRollback(
        self, request: secret_pb2.AcceptVaultRollbackRequest, context: Context
    ) -> secret_pb2.AcceptVaultRollbackResponse:
        entry = await self._vault.roots.accept_rollback(_who())
        return secret_pb2.AcceptVaultRollbackResponse(receipt=receipt(entry))

    async def BackUpVault(
        self, request: secret_pb2.BackUpVaultRequest, context: Context
    ) -> AsyncIterator[secret_pb2.BackUpVaultResponse]:
        passphrase = Secret(request.passphrase)
        async for part in self._vault.backup.back_up(passphrase, _who()):
            response = secret_pb2.BackUpVaultResponse(data=part.data, secrets=part.count)
            if part.entry is not None:
                response.receipt.CopyFrom(receipt(part.entry))
            yield response

    async def RestoreVault(
        self, request: secret_pb2.RestoreVaultRequest, context: Context
    ) -> secret_pb2.RestoreVaultResponse:
        passphrase = Secret(request.passphrase)
        done = await self._recorded(
            "restore",
            "",
            lambda: self._vault.backup.restore(passphrase, request.data, request.overwrite, _who()),
        )
        return secret_pb2.RestoreVaultResponse(
            restored=done.restored,
            kept=done.kept,
            complete=done.complete,
            receipt=receipt(done.entry),
        )

    def _info(self, facts: SecretFacts) -> secret_pb2.ListSecretsResponse.SecretInfo:
        info = secret_pb2.ListSecretsResponse.SecretInfo(
            reference=f"secret://{facts.scope}/{facts.name}",
            version=facts.version,
            created=timestamp(facts.created_ms),
            older_versions=facts.older,
        )
        if facts.expires_ms is not None:
            info.expires.CopyFrom(timestamp(facts.expires_ms))
            soon = self._clock.now_ms() + self._vault.changes.kept.warning_ms
            info.expiring = facts.expires_ms <= soon
        return info

    async def _recorded(self, act: str, reference: str, work: Callable[[], Awaitable[T]]) -> T:
        try:
            return await work()
        except Fault as fault:
            await self._vault.changes.refused(act, reference, _who(), fault.code)
            raise


def _who() -> str:
    return str(current_principal())
