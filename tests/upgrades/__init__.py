"""What earlier versions wrote is still read: their configuration, policies and homes."""
