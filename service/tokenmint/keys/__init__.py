"""The life of the signing keys: the ring, its schedule, signers, and the published set."""
