"""New secrets and their files. Commands make them too, so this imports nothing that serves."""

import base64
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tokenmint.model.secret import Secret

SECRET_PREFIX: Final = "tms_"  # noqa: S105  # secret scanners find leaked ones by it


def new_secret(entropy: Callable[[int], bytes]) -> Secret:
    """Return a new client or operator secret: a prefix for secret scanners, and 256 random bits."""
    return Secret(SECRET_PREFIX + base64.urlsafe_b64encode(entropy(32)).rstrip(b"=").decode())


def new_encryption_key(entropy: Callable[[int], bytes]) -> str:
    """Return a new key-encryption key in the form of its file."""
    return base64.urlsafe_b64encode(entropy(32)).decode()


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read. Raises ``FileExistsError`` if it exists."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
