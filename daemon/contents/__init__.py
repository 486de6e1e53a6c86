"""What is kept of a call's contents: all of it, a redacted copy, or nothing."""
