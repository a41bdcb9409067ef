"""Service accounts of Google with their keys, from files that are followed."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tokenmint.base.errors import ConfigurationError
from tokenmint.base.renewed_files import RenewedFiles
from tokenmint.model.secret import Secret


def account_file(setting: str, path: Path, project: str | None = None) -> RenewedFiles[Secret]:
    """Return a service account with its key, which follows its file.

    Args:
        setting: the name of the file in messages.
        project: the project that it has to belong to; None: any.

    Raises:
        ConfigurationError: begins with ``setting``, and quotes no text of the file.
    """

    def made(contents: Sequence[bytes]) -> Secret:
        try:
            account: Any = json.loads(contents[0])
            if account["type"] != "service_account" or not all(
                isinstance(account[key], str) for key in ("project_id", "client_email", "private_key", "token_uri")
            ):
                raise TypeError
            key = load_pem_private_key(account["private_key"].encode(), None)
        except (ValueError, KeyError, TypeError, RecursionError):
            raise ConfigurationError(
                f"{setting}: {path} is not a service account with its key (JSON), in the form of Google's console"
            ) from None
        if not isinstance(key, rsa.RSAPrivateKey):
            raise ConfigurationError(f"{setting}: {path}: the key is not an RSA key")
        if project is not None and account["project_id"] != project:
            raise ConfigurationError(f"{setting}: {path} belongs to another project than {project!r}")
        return Secret(contents[0])

    return RenewedFiles([(setting, path)], made)
