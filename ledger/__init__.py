"""The ledger: signed, chained receipts that anyone can verify without trusting the daemon.

receipt     the format of one receipt, frozen
canonical   RFC 8785 bytes, the only bytes that are hashed and signed
chain       appending in memory: one entry after the other, each naming the one before
keys        the signing keys of a chain and their public half, as text
rotation    the receipt that changes the keys, signed by the old ones and the new
lineage     the first keys of a ledger and those that followed
export      one line of NDJSON per entry
merkle      RFC 6962 tree hash, inclusion and consistency proofs
tiles       the same tree from a few stored nodes, where there are too many leaves to read
note        C2SP signed notes
checkpoint  the signed head: how long the ledger was, and the root over all of it
cosign      a witness's word about a checkpoint
authentic   one entry by itself, and the step to the next
segment     a stretch of an export, verified beside others
verify      the offline verifier: names the first bad entry
documents   what receipts name by digest
evidence    some receipts with their proofs, and what they name, in one file
account     the same as people read it: text, or one page of HTML
siem        receipts as security tools read them: CEF and OCSF
errors      what may leave this package

This package imports nothing of ours and does no I/O: the folder can be lifted out and read, or
run, on a machine that has never seen the daemon.
"""
