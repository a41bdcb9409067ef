"""Token status lists (draft-ietf-oauth-status-list-20): indices of minted tokens, and the lists.

Imports keys, revocation, storage.
"""
