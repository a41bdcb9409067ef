"""The use cases after minting: what is a token of ours worth now (RFC 7662), and let it be worth nothing (RFC 7009).

No transport, no store, no wall clock: what it needs is handed to it.
"""

from collections.abc import Callable, Mapping

from tokenmint.base.clock import Clock
from tokenmint.base.errors import PrincipalDisabled, TokenDenied
from tokenmint.base.token_errors import TokenRejected
from tokenmint.issued.verifier import IssuedTokenVerifier
from tokenmint.model.issued import IssuedToken
from tokenmint.model.policy import Client
from tokenmint.model.secret import Secret
from tokenmint.model.tokens import JsonValue
from tokenmint.policy.grant import knows
from tokenmint.profiles.resolve import Profiles


class Tokens:
    """Answers questions about tokens that were minted here, and revokes them.

    Args:
        own: proves them.
        profiles: where principals are looked up.
        clock: the time.
        serving: raises where neither clock nor store can be believed now.
    """

    def __init__(
        self,
        *,
        issued_tokens: IssuedTokenVerifier,
        profiles: Profiles,
        clock: Clock,
        serving: Callable[[], None] = lambda: None,
    ) -> None:
        self._issued_tokens = issued_tokens
        self._profiles = profiles
        self._clock = clock
        self._serving = serving

    async def introspect(
        self,
        token: Secret,
        client: Client,
        hint: str | None = None,  # noqa: ARG002  # there is one kind of token to ask about, and hints may be wrong
    ) -> Mapping[str, JsonValue] | None:
        """Return the claims of a token that is in force, or None: it is not, or ``client`` may not know.

        The claims are those of RFC 7662 section 2.2 without `active`, with `act` and `cnf` where it has them.
        ``hint`` is the `token_type_hint` and may be wrong (section 2.1). A client without a credential is told nothing:
        the section asks that who introspects is authorised.

        Raises:
            DependencyUnavailable: keys or store are out of reach, or the clock is wrong.
            StoreWentBack: the store lost changes: a token that was revoked may look as if it were in force.
        """
        self._serving()
        now = self._clock.now()
        try:
            issued = await self._issued_tokens.verify(token, now=now)
            if client.public or not knows(client, issued):
                return None
            for principal in (issued.principal, issued.actor):
                if principal is not None:
                    await self._profiles.find_principal(principal, issued.issued_at)
        except (TokenRejected, PrincipalDisabled):
            return None
        return _answer(await self._issued_tokens.issued.used(issued, now=now))

    async def revoke(
        self,
        token: Secret,
        client: Client,
        hint: str | None = None,  # noqa: ARG002  # as above
    ) -> None:
        """Revoke a token that was issued to ``client``, and with it every token that was exchanged for it.

        A token that is none of ours, or no longer in force, is no error (RFC 7009 section 2.2).

        Raises:
            TokenDenied: it was issued to another client.
            DependencyUnavailable: keys or store are out of reach.
            OutcomeUnknown: the revocation was not confirmed as durable; a retry is safe.
        """
        now = self._clock.now()
        try:
            # Also one that was revoked: whoever repeats a revocation that was not confirmed wants to have it confirmed.
            issued = await self._issued_tokens.identify(token, now=now)
        except TokenRejected:
            return
        if issued.client_id != client.client_id:
            raise TokenDenied()
        await self._issued_tokens.issued.revoke(issued, now=now)


def _answer(issued: IssuedToken) -> Mapping[str, JsonValue]:
    kind = "DPoP" if issued.binding.jkt is not None else "Bearer"
    return dict(issued.claims) | {"exp": issued.expires_at, "token_type": kind}
