"""The fast way of an exchange: it answers plain requests in one pass, and leaves all others to the full way.

It imports the rooms whose decisions it repeats, and no transport (docs/adr/0026-fast-way.md).
"""
