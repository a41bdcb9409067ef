"""A store that confirms no write. Only the confirmation has little time: all else is patient with a busy machine."""

from dataclasses import replace

from tokenmint.storage.redis import Store


def confirm_nothing(store: Store) -> None:
    """Let the store ask for a replica, of which there is none."""
    store._writes._options = replace(store.options, min_replicas=1, write_timeout=0.2)
