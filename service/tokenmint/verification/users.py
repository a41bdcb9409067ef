"""Asks a provider whether a user still has access, if its configuration says so."""

from collections.abc import Mapping

from tokenmint.firebase.clients import FirebaseClients, ask_about_user
from tokenmint.model.tokens import JsonValue, at_path
from tokenmint.verification.provider import Provider


class UserCheck:
    """Asks Firebase about the user of a token.

    Args:
        firebase: the clients of its SDK.
    """

    def __init__(self, firebase: FirebaseClients) -> None:
        self._firebase = firebase

    async def __call__(self, provider: Provider, claims: Mapping[str, JsonValue]) -> None:
        """Ask about the user of ``claims``, in a thread, because the SDK blocks.

        Raises:
            PrincipalDisabled, TokenRevoked: the user has lost access.
            KeySetUnavailable: the provider does not answer.
        """
        tenant, auth_time = at_path(claims, ("firebase", "tenant")), claims.get("auth_time")
        if provider.users is None or not isinstance(auth_time, int | float):
            return
        named = tenant if isinstance(tenant, str) else None
        await ask_about_user(self._firebase, provider.users, str(claims.get("sub")), named, float(auth_time))
