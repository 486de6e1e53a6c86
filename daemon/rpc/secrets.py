"""SecretService: values go in, names come out."""

from daemon.calls.live import timestamp
from daemon.calls.tell import receipt
from daemon.principal import current_principal
from daemon.rpc.faults import Context
from daemon.vault_keeper import VaultKeeper
from stockade.v1 import secret_pb2, secret_pb2_grpc


class SecretService(secret_pb2_grpc.SecretServiceServicer):
    """See proto/stockade/v1/secret.proto."""

    def __init__(self, vault: VaultKeeper) -> None:
        self._vault = vault

    async def PutSecret(
        self, request: secret_pb2.PutSecretRequest, context: Context
    ) -> secret_pb2.PutSecretResponse:
        version, entry = await self._vault.put(
            request.reference, request.value, str(current_principal())
        )
        return secret_pb2.PutSecretResponse(version=version, receipt=receipt(entry))

    async def ListSecrets(
        self, request: secret_pb2.ListSecretsRequest, context: Context
    ) -> secret_pb2.ListSecretsResponse:
        return secret_pb2.ListSecretsResponse(
            secrets=[
                secret_pb2.ListSecretsResponse.SecretInfo(
                    reference=f"secret://{row.scope}/{row.name}",
                    version=row.version,
                    created=timestamp(row.created_ms),
                )
                for row in await self._vault.listing()
            ]
        )

    async def RemoveSecret(
        self, request: secret_pb2.RemoveSecretRequest, context: Context
    ) -> secret_pb2.RemoveSecretResponse:
        entry = await self._vault.remove(request.reference, str(current_principal()))
        return secret_pb2.RemoveSecretResponse(receipt=receipt(entry))
