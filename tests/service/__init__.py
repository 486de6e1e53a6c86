"""The daemon as a service: real systemd, booted in a container."""
