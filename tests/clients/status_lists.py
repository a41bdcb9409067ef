"""The part of the world's configuration that has status lists."""

from typing import Final

LISTED: Final = """
[status_lists]
ttl = "4s"

[audiences."https://listed.example"]
clients = ["web"]
providers = ["idp"]
status_list = true
"""
"""A `ttl` so short that a scenario sees the next list."""
