"""The command line. `main` wires it; each group of commands is one module."""
