"""Processes: wiring, worker, supervisor, and the secrets of a first start."""
