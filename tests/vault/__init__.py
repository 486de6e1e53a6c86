"""The vault: root keys, sealing, references, values and redaction."""
