"""Revocations that verifiers learn of: their log in the store, and each process's copy of it. Imports storage."""
