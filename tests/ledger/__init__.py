"""Tests of the ledger, by rule and by attack."""
