"""Who is calling: the certificate authority, its certificates, and reading a peer's certificate.

A leaf package: it imports no other package of this project and no grpc. Its only I/O is in
`identity.keyfile`, `identity.credential` and `identity.token`. Every refusal is an
`identity.errors.IdentityError` with a code.
"""
