"""An operator at work: policies and what they are told, changed on a running daemon."""
