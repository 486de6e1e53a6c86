"""Approvals and leases, against the running daemon."""
