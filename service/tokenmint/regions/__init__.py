"""The other regions of one issuer: their keys, their revocations, and those that were given up.

Imports verification, keys and revocation.
"""
