"""Decides the content of a grant, only from configuration, token and profile: pure functions."""
