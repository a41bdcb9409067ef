"""Tokens of our own that come back: verification, references, revocation."""
