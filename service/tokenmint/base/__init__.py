"""Errors, clock, log, telemetry, background tasks, bounded caches; independent of tokens. Imports no room."""
