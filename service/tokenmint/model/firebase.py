"""A Firebase project, as configured."""

from dataclasses import dataclass, field
from pathlib import Path

from tokenmint.base.renewed_files import RenewedFiles
from tokenmint.model.proxies import Proxy
from tokenmint.model.secret import Secret


@dataclass(frozen=True, slots=True)
class FirebaseProject:
    """A Firebase project and its credentials. Two that name the same file are equal, even after it was replaced."""

    project: str
    """The project id."""
    account: RenewedFiles[Secret] | None = field(default=None, compare=False, repr=False)
    """A service account with its key, in the JSON form of Google's console. None: application default credentials."""
    account_path: Path | None = None
    """The file of that service account."""
    service_account: str | None = None
    """The e-mail address of a service account whose key stays with Google; IAM signs for it (`signBlob`)."""
    proxy: Proxy | None = None
    """The proxy to Google; None: without a proxy."""

    @property
    def credentials(self) -> Secret | None:
        """The content of that file, as it is now."""
        return None if self.account is None else self.account.value
