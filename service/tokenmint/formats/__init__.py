"""Output formats: the encoding of each kind of minted token."""
