"""The ledger in the daemon: read out, witnessed, checkpointed, pruned, and put into evidence."""
