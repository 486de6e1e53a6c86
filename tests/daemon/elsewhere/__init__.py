"""Sources of secrets beside the vault, against the real ones."""
