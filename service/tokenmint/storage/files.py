"""The files for connections to the store, certificates and passwords, which are read again after a renewal."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from redis.credentials import CredentialProvider

from tokenmint.base.errors import ConfigurationError
from tokenmint.base.files import without_mark
from tokenmint.base.renewed_files import RenewedFiles
from tokenmint.base.tls_files import CA_FILE, CERT_FILE, KEY_FILE, client_tls
from tokenmint.model.secret import Secret
from tokenmint.storage.options import StoreOptions
from tokenmint.storage.urls import StoreUrl


class StoreFiles:
    """The credentials for the store and its sentinels, and the contexts that verify both.

    Raises:
        ConfigurationError: a file can't be read, or holds something else.
    """

    def __init__(self, url: StoreUrl, options: StoreOptions) -> None:
        named = {CA_FILE: options.ca_file, CERT_FILE: options.cert_file, KEY_FILE: options.key_file}
        files = {key: path for key, path in named.items() if path is not None}
        self.tls = client_tls("redis", files) if url.tls else None
        username = options.username or url.username
        password = options.password or (Secret(url.password) if url.password else None)
        self.store = credentials("password_file", username, options.password_file, password)
        self.sentinels = credentials(
            "sentinel_password_file", options.sentinel_username, options.sentinel_password_file, None
        )

    def every(self) -> list[RenewedFiles[Any]]:
        """Return all files, which the background watches for changes."""
        found: list[RenewedFiles[Any]] = [self.tls] if self.tls is not None else []
        return found + [one.file for one in (self.store, self.sentinels) if one is not None and one.file is not None]


class Credentials(CredentialProvider):
    """The credentials of a connection: the password at the time of the connection."""

    def __init__(self, username: str | None, password: Secret, file: RenewedFiles[Secret] | None) -> None:
        self.file = file
        self._username = username
        self._password = password

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """Return user and password, or the password alone for the default user."""
        password = (self._password if self.file is None else self.file.value).reveal()
        return (self._username, password) if self._username else (password,)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        """Return the same."""
        return self.get_credentials()


def credentials(key: str, username: str | None, path: Path | None, password: Secret | None) -> Credentials | None:
    """Return the credentials of connections; None if they do not authenticate. Raises ``ConfigurationError``.

    Args:
        key: the key of `[redis]` that names the file.
        username: of the ACL; None: the default user.
        path: the file with the password, which comes before ``password``.
        password: the password itself.
    """
    if path is not None:
        return Credentials(username, Secret(""), RenewedFiles([(f"redis.{key}", path)], _password))
    if username is None and password is None:
        return None
    return Credentials(username, password or Secret(""), None)


def _password(contents: Sequence[bytes]) -> Secret:
    try:
        text = without_mark(contents[0]).decode().strip()
    except UnicodeDecodeError:
        raise ConfigurationError("redis: a password file is not a text file") from None
    if not text:
        raise ConfigurationError("redis: a password file is empty: write the password into it")
    return Secret(text)
