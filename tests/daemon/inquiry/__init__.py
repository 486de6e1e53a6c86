"""Questions without consequence, without a daemon."""
