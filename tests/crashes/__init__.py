"""The daemon killed again and again under load: what was told is true, and nothing is left."""
