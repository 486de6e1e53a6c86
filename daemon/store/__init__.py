"""The daemon's one database: what it knows, and the ledger's receipts, in one transaction.

engine      opening the database, and the only place with a dialect's own SQL
faults      what may leave this package
driver_errors  what the driver's errors mean
tables      the tables, once
schema      bringing a database to the schema of this version
commit      one transaction of many operations, with their receipts
writer      the one thread that writes; returns when it is durable
reader      reads, beside the writer and off the event loop
receipts, calls, approvals, devices, certificates, secrets, policies, tools, meta
            functions over a connection, one module per thing stored

State changes are compare-and-swap in the database: what a caller believes about a row is part of
the WHERE of its UPDATE, so that a second daemon on the same database cannot be contradicted.
"""
