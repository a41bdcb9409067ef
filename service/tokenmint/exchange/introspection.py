"""Use cases for issued tokens: introspection (RFC 7662) and revocation (RFC 7009).

Transport, store and clock are passed in.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tokenmint.base.clock import Clock
from tokenmint.base.errors import PrincipalDisabled, TokenDenied
from tokenmint.base.token_errors import TokenRejected
from tokenmint.exchange.actors import ProvidersOf, check_actors
from tokenmint.issued.verifier import IssuedTokenVerifier
from tokenmint.model.issued import IssuedToken
from tokenmint.model.policy import Client
from tokenmint.model.secret import Secret
from tokenmint.model.tokens import TXN_TOKEN, JsonValue
from tokenmint.policy.grant import knows
from tokenmint.profiles.resolve import Profiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """Introspects and revokes issued tokens."""

    issued_tokens: IssuedTokenVerifier
    profiles: Profiles
    clock: Clock
    serving: Callable[[], None] = lambda: None
    """Raises if the clock or the store may be wrong now."""
    providers_of: ProvidersOf = lambda _: ()
    """Returns the providers whose `sub` may name the actors of an issuer."""

    async def introspect(
        self,
        token: Secret,
        client: Client,
        hint: str | None = None,  # noqa: ARG002  # only one kind of token can be introspected, and hints may be wrong
    ) -> Mapping[str, JsonValue] | None:
        """Return the claims of an active token; None if it is inactive or ``client`` may not introspect it.

        The claims are those of RFC 7662 section 2.2 without `active`, with `act` and `cnf` if present. ``hint`` is the
        `token_type_hint` and may be wrong (section 2.1). A client without a credential always gets None, because the
        section requires an authorized caller.

        Raises:
            DependencyUnavailable: keys or store are out of reach, or the clock is wrong.
            StoreWentBack: the store lost changes, so a revoked token may look active.
        """
        self.serving()
        now = self.clock.now()
        try:
            issued = await self.issued_tokens.verify(token, now=now)
            if client.public or not knows(client, issued):
                return None
            await self.profiles.find_principal(issued.principal, issued.issued_at)
            await check_actors(self.profiles, issued.actors, issued.issued_at, self.providers_of)
        except (TokenRejected, PrincipalDisabled):
            return None
        return _answer(await self.issued_tokens.issued.used(issued, now=now))

    async def revoke(
        self,
        token: Secret,
        client: Client,
        hint: str | None = None,  # noqa: ARG002  # as in introspect
    ) -> None:
        """Revoke a token that was issued to ``client``, and every token derived from it.

        A token that was not issued here, or is no longer active, is no error (RFC 7009 section 2.2).

        Raises:
            TokenDenied: the token was issued to another client.
            DependencyUnavailable: keys or store are out of reach.
            OutcomeUnknown: the revocation was not confirmed as durable; a retry is safe.
        """
        now = self.clock.now()
        try:
            # This includes a revoked token: if a revocation was not confirmed, the caller repeats it until it is.
            issued = await self.issued_tokens.identify(token, now=now)
        except TokenRejected:
            return
        if issued.client_id != client.client_id:
            raise TokenDenied()
        await self.issued_tokens.issued.revoke(issued, now=now)


def _answer(issued: IssuedToken) -> Mapping[str, JsonValue]:
    kind = "DPoP" if issued.binding.jkt is not None else "Bearer"
    if issued.kind == TXN_TOKEN:
        kind = "N_A"  # RFC 8693 section 2.2.1: no access token
    return dict(issued.claims) | {"exp": issued.expires_at, "token_type": kind}
