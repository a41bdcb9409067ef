"""Principals' profiles in the store: reading, changing, limits, and how an identity finds its profile."""
