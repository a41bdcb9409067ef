"""Errors, clock, log, telemetry, background tasks, bounded caches: nothing here knows of tokens. Imports no room."""
