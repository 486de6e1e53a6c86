"""One module per revision, named r<revision>_<what>."""
