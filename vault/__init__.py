"""Secrets: the root key, sealing under it, references by name, values in hand, and redaction.

A leaf package: it imports no other package of this project and no grpc. What is sealed is stored
by the daemon; the only I/O here is the root key's, in `vault.keychain` and `vault.rootfile`.
Every refusal is a `vault.errors.VaultError` with a code.
"""
