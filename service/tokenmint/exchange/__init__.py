"""Exchange, dry run, introspection and revocation: one function for each, in the order of the steps."""
