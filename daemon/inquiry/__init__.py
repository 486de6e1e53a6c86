"""Questions to policy without consequence: what was decided and why, and what would be."""
