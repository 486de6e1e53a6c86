"""Benchmarks of Stockade: `python -m bench`, or `make bench`. See docs/benchmarks.md.

They measure and never judge: there is no timed assertion in here. What they start is the real
daemon, through its console script and the client library.
"""
