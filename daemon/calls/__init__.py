"""Calls: judged, asked about, run and told, from arrival to end."""
