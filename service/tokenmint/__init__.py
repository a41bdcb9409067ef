"""tokenmint: exchanges identity providers' tokens for short-lived tokens signed with keys of its own."""
