"""Secrets that others keep, behind one interface."""
