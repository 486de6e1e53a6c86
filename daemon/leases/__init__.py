"""Leases: a person's yes that stands for a time, bounded, counted and revocable."""
