"""Issued tokens that come back: verification, references, revocation."""
