"""Verifiers of four languages that follow revocations, while the lane revokes, and cuts their streams."""
