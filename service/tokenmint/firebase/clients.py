"""Firebase's SDK, loaded only where it is used: the import takes a third of a second and 30 MB.

It blocks while Google answers, so :meth:`FirebaseClients.run` calls it in threads of its own.
"""

import json
import ssl
import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar

from tokenmint.base.errors import KeySetUnavailable, PrincipalDisabled
from tokenmint.base.threads import Busy, Threads
from tokenmint.base.tls_files import client_tls
from tokenmint.base.token_errors import TokenRevoked
from tokenmint.model.firebase import FirebaseProject

T = TypeVar("T")
MAX_CLIENTS: Final = 64  # cached clients of the SDK
RETRY: Final = 1.0  # seconds after which a caller may retry if too many calls wait for Google
SCOPES: Final = ["https://www.googleapis.com/auth/cloud-platform", "https://www.googleapis.com/auth/identitytoolkit"]
"""Those of Identity Toolkit's `accounts:lookup`, and of IAM's `signBlob`."""
EMULATOR: Final = "FIREBASE_AUTH_EMULATOR_HOST"
"""The variable that makes the SDK accept unsigned tokens; refused outside the development mode."""


class FirebaseClients:
    """The SDK's clients, one for each project and tenant, made on first use.

    Args:
        signer: signs custom tokens in place of the service account: a ``google.auth.crypt.Signer``.
        most: the largest number of calls that wait for Google.
    """

    def __init__(self, signer: Any = None, most: int = 16) -> None:
        self._signer = signer
        self._threads = Threads("firebase", most)
        self._lock = threading.Lock()
        self._clients: dict[tuple[str, str, str, int], Any] = {}
        self._authorities: ssl.SSLContext | None = None
        self._made = 0

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a blocking function in a thread. Raises ``Busy``, and the errors of ``function``."""
        return await self._threads.run(function, *arguments)

    def client(self, project: FirebaseProject, tenant: str | None = None) -> Any:
        """Return the SDK's authentication client (``firebase_admin.auth.Client``). Raises the SDK's errors."""
        secret = project.credentials.fingerprint() if project.credentials is not None else project.service_account or ""
        # A client keeps its proxy, so the number is unique; a reload's proxy is another one, whose files are followed.
        key = (project.project, secret, tenant or "", id(project.proxy))
        with self._lock:
            if key not in self._clients:
                if len(self._clients) >= MAX_CLIENTS:  # tokens name tenants, so their number is not bounded
                    del self._clients[next(iter(self._clients))]
                self._clients[key] = self._make(project, tenant)
            return self._clients[key]

    def _make(self, project: FirebaseProject, tenant: str | None) -> Any:
        import firebase_admin
        from firebase_admin import auth, credentials

        from tokenmint.firebase.routes import route_client

        if self._authorities is None:
            self._authorities = client_tls("firebase", {}).value
        options: dict[str, Any] = {"projectId": project.project, "httpTimeout": 5}
        if project.service_account is not None and self._signer is None:
            options["serviceAccountId"] = project.service_account  # with it the SDK always asks IAM
        if self._signer is not None:
            credential: Any = _signing_credential(self._signer, project.service_account or "")
        elif project.credentials is not None:
            credential = credentials.Certificate(json.loads(project.credentials.reveal_bytes()))
        else:
            credential = _default_credential(project, self._authorities)
        # A unique name, because the SDK keeps its apps in a global table.
        self._made += 1
        app = firebase_admin.App(f"tokenmint-{id(self)}-{self._made}", credential, options)
        client = auth.Client(app, tenant_id=tenant)
        route_client(client, project.proxy, self._authorities)
        return client


async def ask_about_user(
    clients: FirebaseClients, project: FirebaseProject, uid: str, tenant: str | None, auth_time: float
) -> None:
    """Run :func:`check_user` without blocking. Raises as that does."""
    try:
        await clients.run(check_user, clients, project, uid, tenant, auth_time)
    except Busy as error:
        raise KeySetUnavailable(
            "Firebase can't be asked about the user: retry later", retry_after=RETRY, detail=f"firebase-admin: {error}"
        ) from None


def check_user(
    clients: FirebaseClients, project: FirebaseProject, uid: str, tenant: str | None, auth_time: float
) -> None:
    """Ask Firebase whether a user who signed in at ``auth_time`` still has access. Blocks.

    Raises:
        PrincipalDisabled: the user is disabled or does not exist.
        TokenRevoked: the user's tokens were revoked after ``auth_time``.
        KeySetUnavailable: Firebase does not answer.
    """
    from firebase_admin import auth, exceptions

    try:
        user = clients.client(project, tenant).get_user(uid)
    except auth.UserNotFoundError:
        raise PrincipalDisabled("Firebase has no such user") from None
    except (exceptions.FirebaseError, ValueError, OSError) as error:
        raise KeySetUnavailable(
            "Firebase can't be asked about the user: retry later", detail=f"firebase-admin: {type(error).__name__}"
        ) from None
    if user.disabled:
        raise PrincipalDisabled("the user is disabled at Firebase")
    if user.tokens_valid_after_timestamp > auth_time * 1000:
        raise TokenRevoked("the user was signed out at Firebase: sign in again")


def _default_credential(project: FirebaseProject, authorities: ssl.SSLContext) -> Any:
    """Return application default credentials, which are looked for on first use."""
    from firebase_admin import credentials

    from tokenmint.firebase.routes import default_credentials

    class Credential(credentials.Base):  # type: ignore[misc]  # the library is untyped
        found: Any = None

        def get_credential(self) -> Any:
            if self.found is None:
                self.found = default_credentials(SCOPES, project.proxy, authorities)
            return self.found

    return Credential()


def _signing_credential(signer: Any, email: str) -> Any:
    """Return credentials that can only sign."""
    from firebase_admin import credentials
    from google.auth import credentials as google_credentials

    class Signing(google_credentials.AnonymousCredentials, google_credentials.Signing):
        signer: Any = None
        signer_email = email

        def sign_bytes(self, message: bytes) -> Any:
            return signer.sign(message)

    signing = Signing()  # type: ignore[no-untyped-call]  # the library is untyped
    signing.signer = signer

    class Credential(credentials.Base):  # type: ignore[misc]  # the library is untyped
        def get_credential(self) -> Any:
            return signing

    return Credential()
