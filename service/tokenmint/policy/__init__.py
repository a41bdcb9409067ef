"""Decides what a grant contains, from configuration, token and profile alone: pure functions."""
