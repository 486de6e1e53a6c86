"""The client's requests about secrets and their vault: one method per RPC of SecretService.

A value is sealed to the vault's key before it leaves this process, unless the caller has it
otherwise. Raises `StockadeError` and nothing else.
"""

from collections.abc import Iterator
from datetime import datetime

from stockade.connection import Connection, Stream
from stockade.v1 import secret_pb2, secret_pb2_grpc

# Ten thousand secrets are moved to another root key in seconds; a token may take its time.
LONG_SECONDS = 300.0


class SecretRequests:
    """Requests about secrets over a connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._secrets = secret_pb2_grpc.SecretServiceStub(connection.channel)

    def put_secret(
        self,
        reference: str,
        value: bytes,
        *,
        expires: datetime | None = None,
        sealed: bool = False,
        seal: bool = False,
    ) -> secret_pb2.PutSecretResponse:
        """Stores a new version of a secret. No request gives a value out again.

        `seal` has it sealed to the vault's key here; `sealed` says that it is already.
        """
        request = secret_pb2.PutSecretRequest(reference=reference)
        if seal:
            from stockade.sealing import seal_to

            request.sealed = seal_to(self.get_vault_key(), reference, value)
        elif sealed:
            request.sealed = value
        else:
            request.value = value
        if expires is not None:
            request.expires.FromDatetime(expires)
        return self._connection.ask(self._secrets.PutSecret, request)

    def list_secrets(
        self, *, page_size: int = 0, page_token: str = ""
    ) -> secret_pb2.ListSecretsResponse:
        """Names and metadata, a page of them."""
        request = secret_pb2.ListSecretsRequest(page_size=page_size, page_token=page_token)
        return self._connection.ask(self._secrets.ListSecrets, request)

    def pages_of_secrets(self) -> Iterator[secret_pb2.ListSecretsResponse]:
        """All pages; on the last one is also what other sources keep."""
        token = ""
        while True:
            answer = self.list_secrets(page_token=token)
            yield answer
            token = answer.next_page_token
            if not token:
                return

    def remove_secret(self, reference: str) -> secret_pb2.RemoveSecretResponse:
        """Removes all versions."""
        request = secret_pb2.RemoveSecretRequest(reference=reference)
        return self._connection.ask(self._secrets.RemoveSecret, request)

    def revoke_secret(
        self, reference: str, *, cancel_calls: bool
    ) -> secret_pb2.RevokeSecretResponse:
        """Removes all versions, refuses the secret from now on, and sees to calls that have it."""
        request = secret_pb2.RevokeSecretRequest(reference=reference, cancel_calls=cancel_calls)
        return self._connection.ask(self._secrets.RevokeSecret, request)

    def reinstate_secret(self, reference: str) -> secret_pb2.ReinstateSecretResponse:
        """Lets a revoked secret that another source keeps be had again."""
        request = secret_pb2.ReinstateSecretRequest(reference=reference)
        return self._connection.ask(self._secrets.ReinstateSecret, request)

    def check_sources(self, name: str = "") -> secret_pb2.CheckSourcesResponse:
        """Asks all other sources, one, or one about one secret, whether they would give it."""
        request = secret_pb2.CheckSourcesRequest(name=name)
        return self._connection.ask(self._secrets.CheckSources, request, seconds=LONG_SECONDS)

    def revert_secret(self, reference: str, version: int) -> secret_pb2.RevertSecretResponse:
        """Puts the value of an earlier version again."""
        request = secret_pb2.RevertSecretRequest(reference=reference, version=version)
        return self._connection.ask(self._secrets.RevertSecret, request)

    def rotate_secrets(self, reference: str = "") -> secret_pb2.RotateSecretsResponse:
        """New data keys for a secret, or for all."""
        request = secret_pb2.RotateSecretsRequest(reference=reference)
        return self._connection.ask(self._secrets.RotateSecrets, request, seconds=LONG_SECONDS)

    def rotate_vault_root(
        self, root: str = "", *, passphrase: bytes = b"", credential: str = ""
    ) -> secret_pb2.RotateVaultRootResponse:
        """Moves all secrets to a new root key."""
        request = secret_pb2.RotateVaultRootRequest(
            root=root, passphrase=passphrase, credential=credential
        )
        return self._connection.ask(self._secrets.RotateVaultRoot, request, seconds=LONG_SECONDS)

    def unlock_vault(
        self, passphrase: bytes = b"", *, create: bool = False
    ) -> secret_pb2.UnlockVaultResponse:
        """Has the daemon try to get the root key again; whether it could is in the answer."""
        request = secret_pb2.UnlockVaultRequest(passphrase=passphrase, create=create)
        return self._connection.ask(self._secrets.UnlockVault, request, seconds=LONG_SECONDS)

    def get_vault_key(self) -> bytes:
        """The public key that values can be sealed to."""
        request = secret_pb2.GetVaultKeyRequest()
        return self._connection.ask(self._secrets.GetVaultKey, request).public_key

    def accept_vault_rollback(self) -> secret_pb2.AcceptVaultRollbackResponse:
        """Takes the database as it is for the vault's state."""
        request = secret_pb2.AcceptVaultRollbackRequest()
        return self._connection.ask(self._secrets.AcceptVaultRollback, request)

    def back_up_vault(self, passphrase: bytes) -> Stream[secret_pb2.BackUpVaultResponse]:
        """The parts of a backup, in order."""
        request = secret_pb2.BackUpVaultRequest(passphrase=passphrase)
        return self._connection.follow(self._secrets.BackUpVault, request)

    def restore_vault(
        self, passphrase: bytes, data: bytes, *, overwrite: bool = False
    ) -> secret_pb2.RestoreVaultResponse:
        """Puts the secrets of a backup's header and some of its records."""
        request = secret_pb2.RestoreVaultRequest(
            passphrase=passphrase, data=data, overwrite=overwrite
        )
        return self._connection.ask(self._secrets.RestoreVault, request, seconds=LONG_SECONDS)
