"""Configuration: reads, checks and turns it into settings. Nothing that serves a call imports it."""
