"""The sandbox tiers: every control by its effect, every limit by being hit."""
