"""Faults of the fleet and its store: a module for each part that is broken."""
