"""Tests of the policy decision point."""
