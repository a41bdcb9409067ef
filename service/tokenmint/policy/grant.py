"""The decision: from caller, provider, audience and profile to what is to be minted. Pure, and deny by default."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from tokenmint.assertion.types import ACCESS_TOKEN, JWT, JsonValue, VerifiedAssertion
from tokenmint.configtypes import key_path
from tokenmint.errors import (
    AudienceDenied,
    ConditionDenied,
    ConfigurationError,
    FormatDenied,
    LifetimeDenied,
    ProviderDenied,
    ScopeDenied,
)
from tokenmint.policy import conditions, mapping
from tokenmint.policy.types import Audience, Client, ExchangeRequest, TokenGrant
from tokenmint.profile.types import Profile
from tokenmint.reserved import is_reserved
from tokenmint.secret import Secret

_TOKEN_TYPES: Final = MappingProxyType({"at+jwt": (ACCESS_TOKEN, JWT), "JWT": (JWT,)})
"""What may be asked for, by the header's `typ`; the first is the default."""


class Policy:
    """Decides by the configured audiences.

    Args:
        audiences: by name.
        issuer: what tokens are signed as; it can't be an audience.
        provider_conditions: CEL conditions on tokens, by the provider's name.
        provider_claims: claims that are computed from those of a provider's tokens, by the provider's name.

    Raises:
        ConfigurationError: a claim mapping or a condition is not one, or sets a reserved name; lists every problem.
    """

    def __init__(
        self,
        audiences: Mapping[str, Audience],
        issuer: str,
        provider_conditions: Mapping[str, str] = MappingProxyType({}),
        provider_claims: Mapping[str, Sequence[tuple[str, str]]] = MappingProxyType({}),
    ) -> None:
        self._audiences = MappingProxyType(dict(audiences))
        self._sources: dict[str, tuple[tuple[str, mapping.Source | conditions.Expression], ...]] = {}
        self._conditions: dict[str, conditions.Expression] = {}
        self._provider_conditions: dict[str, conditions.Expression] = {}
        self._derived: dict[str, tuple[tuple[str, conditions.Expression], ...]] = {}
        problems: list[str] = []
        for name, claims in provider_claims.items():
            derived = []
            for claim, text in claims:
                try:
                    derived.append((claim, conditions.compile_claim(text.removeprefix("="))))
                except ValueError as error:
                    problems.append(f"{key_path('providers', name, 'claims', claim)}: {error}")
            self._derived[name] = tuple(derived)
        for name, text in provider_conditions.items():
            try:
                self._provider_conditions[name] = conditions.compile_condition(text)
            except ValueError as error:
                problems.append(f"{key_path('providers', name, 'condition')}: {error}")
        for name, audience in audiences.items():
            if name == issuer:
                problems.append(f"{key_path('audiences', name)}: is the issuer itself")
            if audience.condition is not None:
                try:
                    self._conditions[name] = conditions.compile_condition(audience.condition)
                except ValueError as error:
                    problems.append(f"{key_path('audiences', name, 'condition')}: {error}")
            sources: list[tuple[str, mapping.Source | conditions.Expression]] = []
            for claim, expression in audience.claims:
                path = key_path("audiences", name, "claims", claim)
                if is_reserved(claim):
                    problems.append(f"{path}: is a reserved claim name: choose another")
                try:
                    if expression.startswith("="):
                        sources.append((claim, conditions.compile_claim(expression[1:])))
                    else:
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
        if client.public and not audience.public_clients:
            raise AudienceDenied(detail=f"client {client.client_id!r} is public, audience {request.audience!r}")
        if request.requested_token_type not in (None, *_TOKEN_TYPES[audience.header_type]):
            raise FormatDenied(f"the audience is served with {_TOKEN_TYPES[audience.header_type][0]}")
        refused = set(request.scopes) - _grantable(client, audience)
        if refused:
            raise ScopeDenied(f"the caller may not have for this audience: {' '.join(sorted(refused))}")
        if request.lifetime is not None and request.lifetime > audience.max_lifetime:
            raise LifetimeDenied(f"tokens for this audience live at most {audience.max_lifetime} s")
        return audience

    def admit_assertion(
        self, audience: Audience, assertion: VerifiedAssertion, client: Client, request: ExchangeRequest
    ) -> None:
        """Say whether this token of this provider is exchanged for ``audience``.

        Raises:
            ProviderDenied, ConditionDenied
        """
        if assertion.provider not in audience.providers:
            raise ProviderDenied(detail=f"provider {assertion.provider!r}, audience {audience.name!r}")
        condition = self._provider_conditions.get(assertion.provider)
        if condition is not None and not conditions.holds(condition, conditions.facts(assertion, client, request)):
            raise ConditionDenied(detail=f"providers.{assertion.provider}.condition: {condition.source}")

    def admits_workload(self, assertion: VerifiedAssertion, client: Client) -> bool:
        """Tell whether the condition of the token's provider holds where the token proves ``client`` itself."""
        condition = self._provider_conditions.get(assertion.provider)
        if condition is None:
            return True
        nothing = ExchangeRequest(Secret(""), "")
        assertion = self.derive(assertion, client, nothing)
        return conditions.holds(condition, conditions.facts(assertion, client, nothing))

    def derive(self, assertion: VerifiedAssertion, client: Client, request: ExchangeRequest) -> VerifiedAssertion:
        """Return the assertion with its provider's computed claims, none of which replaces a proved one."""
        derived = self._derived.get(assertion.provider)
        if not derived:
            return assertion
        known = conditions.facts(assertion, client, request)
        computed = {name: conditions.compute(expression, known) for name, expression in derived}
        claims = {name: value for name, value in computed.items() if value is not None} | dict(assertion.claims)
        return replace(assertion, claims=MappingProxyType(claims))

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
        """Return what is to be minted for a request that was admitted. Raises ``ConditionDenied``."""
        known = conditions.facts(assertion, client, request, profile)
        condition = self._conditions.get(audience.name)
        if condition is not None and not conditions.holds(condition, known):
            raise ConditionDenied(detail=f"the condition of {audience.name}: {condition.source}")
        issued_at = int(now)
        return TokenGrant(
            principal=profile.principal,
            audience=audience.name,
            client_id=client.client_id,
            scopes=tuple(sorted(request.scopes or _grantable(client, audience))),
            token_type=request.requested_token_type or _TOKEN_TYPES[audience.header_type][0],
            algorithm=audience.algorithm,
            header_type=audience.header_type,
            claims=MappingProxyType(self._claims(audience, assertion, profile, client, known)),
            issued_at=issued_at,
            expires_at=issued_at + (request.lifetime or audience.lifetime),
            max_token_bytes=audience.max_token_bytes,
        )

    def _claims(
        self,
        audience: Audience,
        assertion: VerifiedAssertion,
        profile: Profile,
        client: Client,
        known: conditions.Facts,
    ) -> dict[str, JsonValue]:
        claims: dict[str, JsonValue] = {}
        for name, source in self._sources[audience.name]:
            if isinstance(source, conditions.Expression):
                value = conditions.compute(source, known)
            else:
                value = mapping.evaluate(source, assertion, profile, client)
            if value is not None:
                claims[name] = value
        return claims


def _grantable(client: Client, audience: Audience) -> frozenset[str]:
    if client.scopes is None:
        return audience.scopes
    return audience.scopes & client.scopes.get(audience.name, frozenset())
