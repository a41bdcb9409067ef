"""Principals' profiles in the store: reads, changes, limits, and the lookup by identity."""
