"""Two versions of the service on one store: replicas are replaced by ones of another commit, and back."""
