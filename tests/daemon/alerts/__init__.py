"""Alerts: what is worth one, and that it arrives."""
