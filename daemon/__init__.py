"""The daemon: composition root, services and the enforcement point."""
