"""A Firebase project, as configured."""

from dataclasses import dataclass

from tokenmint.model.secret import Secret


@dataclass(frozen=True, slots=True)
class FirebaseProject:
    """A Firebase project and how the service is known there."""

    project: str
    """The project id."""
    credentials: Secret | None = None
    """A service account with its key, as Google's console writes it (JSON). None: application default credentials."""
    service_account: str | None = None
    """The e-mail address of the service account whose key stays with Google: IAM signs (`signBlob`)."""
