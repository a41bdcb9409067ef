"""Processes: wiring, worker, supervisor, and what is made at the first start."""
