"""Output formats: the bytes of each kind of token that is minted."""
