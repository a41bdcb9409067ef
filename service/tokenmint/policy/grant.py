"""The decision: from caller, provider, audience and profile to what is to be minted. Pure, and deny by default."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from tokenmint.assertion.types import ACCESS_TOKEN, JWT, JsonValue, VerifiedAssertion
from tokenmint.configtypes import key_path
from tokenmint.errors import (
    AudienceDenied,
    ConfigurationError,
    FormatDenied,
    LifetimeDenied,
    ProviderDenied,
    ScopeDenied,
)
from tokenmint.policy import mapping
from tokenmint.policy.types import Audience, Client, ExchangeRequest, TokenGrant
from tokenmint.profile.types import Profile
from tokenmint.reserved import is_reserved

_TOKEN_TYPES: Final = MappingProxyType({"at+jwt": (ACCESS_TOKEN, JWT), "JWT": (JWT,)})
"""What may be asked for, by the header's `typ`; the first is the default."""


class Policy:
    """Decides by the configured audiences.

    Args:
        audiences: by name.
        issuer: what tokens are signed as; it can't be an audience.

    Raises:
        ConfigurationError: a claim mapping is not one, or sets a reserved name; lists every problem.
    """

    def __init__(self, audiences: Mapping[str, Audience], issuer: str) -> None:
        self._audiences = MappingProxyType(dict(audiences))
        self._sources: dict[str, tuple[tuple[str, mapping.Source], ...]] = {}
        problems: list[str] = []
        for name, audience in audiences.items():
            if name == issuer:
                problems.append(f"{key_path('audiences', name)}: is the issuer itself")
            sources = []
            for claim, expression in audience.claims:
                path = key_path("audiences", name, "claims", claim)
                if is_reserved(claim):
                    problems.append(f"{path}: is a reserved claim name: choose another")
                try:
                    sources.append((claim, mapping.parse(expression)))
                except ValueError as error:
                    problems.append(f"{path}: {error}")
            self._sources[name] = tuple(sources)
        if problems:
            raise ConfigurationError(problems)

    def admit(self, client: Client, request: ExchangeRequest) -> Audience:
        """Say whether ``client`` may ask for this at all, before any token is looked at; return the audience.

        Raises:
            AudienceDenied, FormatDenied, ScopeDenied, LifetimeDenied
        """
        audience = self._audiences.get(request.audience)
        if audience is None or not (client.anonymous or client.client_id in audience.clients):
            raise AudienceDenied(detail=f"client {client.client_id!r}, audience {request.audience!r}")
        if request.requested_token_type not in (None, *_TOKEN_TYPES[audience.header_type]):
            raise FormatDenied(f"the audience is served with {_TOKEN_TYPES[audience.header_type][0]}")
        refused = set(request.scopes) - _grantable(client, audience)
        if refused:
            raise ScopeDenied(f"the caller may not have for this audience: {' '.join(sorted(refused))}")
        if request.lifetime is not None and request.lifetime > audience.max_lifetime:
            raise LifetimeDenied(f"tokens for this audience live at most {audience.max_lifetime} s")
        return audience

    def admit_assertion(self, audience: Audience, assertion: VerifiedAssertion) -> None:
        """Say whether tokens of this provider are exchanged for ``audience``. Raises ``ProviderDenied``."""
        if assertion.provider not in audience.providers:
            raise ProviderDenied(detail=f"provider {assertion.provider!r}, audience {audience.name!r}")

    def decide(
        self,
        request: ExchangeRequest,
        client: Client,
        audience: Audience,
        assertion: VerifiedAssertion,
        profile: Profile,
        *,
        now: float,
    ) -> TokenGrant:
        """Return what is to be minted for a request that was admitted."""
        issued_at = int(now)
        return TokenGrant(
            principal=profile.principal,
            audience=audience.name,
            client_id=client.client_id,
            scopes=tuple(sorted(request.scopes or _grantable(client, audience))),
            token_type=request.requested_token_type or _TOKEN_TYPES[audience.header_type][0],
            algorithm=audience.algorithm,
            header_type=audience.header_type,
            claims=MappingProxyType(self._claims(audience, assertion, profile, client)),
            issued_at=issued_at,
            expires_at=issued_at + (request.lifetime or audience.lifetime),
            max_token_bytes=audience.max_token_bytes,
        )

    def _claims(
        self, audience: Audience, assertion: VerifiedAssertion, profile: Profile, client: Client
    ) -> dict[str, JsonValue]:
        claims: dict[str, JsonValue] = {}
        for name, source in self._sources[audience.name]:
            value = mapping.evaluate(source, assertion, profile, client)
            if value is not None:
                claims[name] = value
        return claims


def _grantable(client: Client, audience: Audience) -> frozenset[str]:
    if client.scopes is None:
        return audience.scopes
    return audience.scopes & client.scopes.get(audience.name, frozenset())
