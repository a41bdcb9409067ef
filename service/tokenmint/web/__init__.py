"""HTTP: key set, discovery, OAuth 2.0 endpoints, health, metrics, and the listener before them."""
