"""Alerts: what of the receipts somebody should hear of now, and how they are told."""
