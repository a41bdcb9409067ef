"""HTTP: the key set, discovery, OAuth 2.0 endpoints, health and metrics, with their listener."""
