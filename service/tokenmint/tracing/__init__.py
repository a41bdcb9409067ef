"""Traces: which calls become spans, their queue, and their export by OTLP (an extra)."""
