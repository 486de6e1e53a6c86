"""The vault in the daemon: its root keys, its secrets, and how each changes while calls go on."""
