"""Attacks on the running daemon, one test each."""
