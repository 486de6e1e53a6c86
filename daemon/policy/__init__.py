"""Policies and entities in the daemon: checked, recorded, and in force for everybody at once."""
