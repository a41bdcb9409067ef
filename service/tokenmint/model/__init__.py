"""Frozen values that the rooms hand to one another: tokens, claims, policy, profile, secrets. Imports base."""
