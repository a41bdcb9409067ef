"""Admits callers: authentication, rate limits, limits of requests, and the audit trail."""
