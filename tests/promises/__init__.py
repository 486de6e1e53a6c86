"""The ten promises, each held against a running daemon."""
