"""The operators' console: one page and its read-only routes, on a listener of its own."""
