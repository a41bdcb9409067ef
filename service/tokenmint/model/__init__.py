"""Frozen values that the rooms exchange: tokens, claims, policy, profile, secrets. Imports base."""
