"""The fast way of an exchange: it recognises plain acceptances in one pass, and leaves all others to the full way.

It imports the rooms whose decisions it stands for, and nothing of a transport (docs/adr/0026-fast-way.md).
"""
