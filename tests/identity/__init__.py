"""Identity: names, certificates, fingerprints and private files."""
