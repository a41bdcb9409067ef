"""A Firebase project, as configured."""

from dataclasses import dataclass

from tokenmint.model.secret import Secret


@dataclass(frozen=True, slots=True)
class FirebaseProject:
    """A Firebase project and the credentials for it."""

    project: str
    """The project id."""
    credentials: Secret | None = None
    """A service account with its key, in the JSON form of Google's console. None: application default credentials."""
    service_account: str | None = None
    """The e-mail address of a service account whose key stays with Google; IAM signs for it (`signBlob`)."""
