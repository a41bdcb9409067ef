"""Tokens of providers: parsing, keys, signature, claims. The one room with an HTTP client."""
