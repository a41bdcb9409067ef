"""The decision: from caller, provider, audience and profile to a grant. Pure, and denies by default."""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from types import MappingProxyType

from tokenmint.base.errors import (
    ActorDenied,
    AudienceDenied,
    ConditionDenied,
    FormatDenied,
    LifetimeDenied,
    ProviderDenied,
    ReexchangeDenied,
    ScopeDenied,
)
from tokenmint.base.foreign_text import LONG, listed, quoted
from tokenmint.model.drafts import OF_TYPE, needed
from tokenmint.model.issued import MAX_DEPTH, IssuedToken
from tokenmint.model.policy import (
    Actor,
    Audience,
    Client,
    ExchangeRequest,
    OnMissingProfile,
    TokenGrant,
    Transaction,
)
from tokenmint.model.profile import Profile
from tokenmint.model.secret import Secret
from tokenmint.model.tokens import GRANTS, REFRESH_TOKEN, SELF_ISSUED, JsonValue, VerifiedToken
from tokenmint.policy import conditions, delegation, mapping, transactions
from tokenmint.policy.acting import allowed_scopes, check_grant, check_holder, scopes_of_grant
from tokenmint.policy.compile import ClaimSource, compile_rules
from tokenmint.policy.targets import Targets, check_target, grantable, may_name


class Policy:
    """Decides by the configured audiences.

    Args:
        audiences: by name.
        issuer: the issuer of minted tokens; it can't be an audience.
        provider_conditions: CEL conditions on tokens, by the provider's name.
        provider_claims: claims that are computed from a provider's tokens, by the provider's name.

    Raises:
        ConfigurationError: a claim mapping or a condition is not valid, or sets a reserved name; lists every problem.
    """

    def __init__(
        self,
        audiences: Mapping[str, Audience],
        issuer: str,
        provider_conditions: Mapping[str, str] = MappingProxyType({}),
        provider_claims: Mapping[str, Sequence[tuple[str, str]]] = MappingProxyType({}),
    ) -> None:
        self._issuer = issuer
        self._audiences = MappingProxyType(dict(audiences))
        self._targets = Targets(self._audiences)
        rules = compile_rules(audiences, issuer, provider_conditions, provider_claims)
        self._sources = rules.claims
        self._uids = rules.uids
        self._paths = rules.paths
        self._conditions = rules.conditions
        self._computing = rules.computing
        self._scopes = rules.scopes
        self._transactions = rules.transactions
        self._provider_conditions = rules.provider_conditions
        self._derived = rules.provider_claims

    @property
    def audiences(self) -> Mapping[str, Audience]:
        """The configured audiences, by name."""
        return self._audiences

    def plain_sources(self, audience: str) -> tuple[tuple[str, mapping.Source], ...] | None:
        """Return the sources of an audience's claims, in order; None if CEL decides or computes anything."""
        if any(audience in rules for rules in (self._conditions, self._computing, self._uids, self._paths)):
            return None
        return tuple((name, item) for name, item in self._sources[audience] if isinstance(item, mapping.Source))

    def computes(self, audience: str) -> bool:
        """Return whether CEL decides on an audience's tokens, or computes their claims, and nothing else does."""
        only = not any(audience in rules for rules in (self._uids, self._paths, self._transactions))
        return only and (audience in self._conditions or audience in self._computing)

    def without_expressions(self) -> "Policy":
        """Return the same policy without the conditions and claims of audiences that CEL computes."""
        other = copy(self)
        other._conditions, other._computing = {}, set()  # noqa: SLF001  # of this class
        other._sources = {  # noqa: SLF001
            name: tuple((claim, one) for claim, one in sources if isinstance(one, mapping.Source))
            for name, sources in self._sources.items()
        }
        return other

    def is_plain(self, provider: str) -> bool:
        """Tell whether a provider's tokens have neither a condition nor computed claims."""
        return provider not in self._provider_conditions and not self._derived.get(provider)

    def serves_unregistered(self, provider: str) -> bool:
        """Return whether an audience serves identities of a provider, also as actors, that have no profile."""
        serving = [one for one in self._audiences.values() if one.on_missing_profile is not OnMissingProfile.DENY]
        acting = (one.actors.providers for one in serving if one.actors is not None)
        return any(provider in providers for providers in (*(one.providers for one in serving), *acting))

    def completed(self, client: Client, request: ExchangeRequest) -> ExchangeRequest:
        """Return the request with its one audience and its client's defaults (``policy/targets.py``).

        Raises:
            InvalidRequest: a required part is missing.
            WrongAudience: the resources of an ID-JAG lead elsewhere.
        """
        return self._targets.completed(client, request)

    def admit(self, client: Client, request: ExchangeRequest) -> Audience:
        """Check whether ``client`` may make this completed request, before any token is parsed. Return the audience.

        Raises:
            AudienceDenied, FormatDenied, ScopeDenied, LifetimeDenied, ActorDenied
        """
        check_target(request)
        audience = self._audiences.get(request.audience)
        if audience is None or not may_name(client, audience):
            kind = "public client" if client.public else "client"
            raise AudienceDenied(detail=f"{kind} {client.client_id!r}, audience {quoted(request.audience, LONG)}")
        check_grant(audience, request)
        kinds = audience.format.token_types
        if request.requested_token_type not in (None, *kinds):
            raise FormatDenied(f"the audience is served with {kinds[0]}{_of_a_draft(request.requested_token_type)}")
        transactions.check_transaction(client, audience, request)
        refused = set(request.scopes) - grantable(client, audience)
        if refused:
            raise ScopeDenied(f"the caller may not request for this audience: {listed(refused)}")
        if request.lifetime is not None and request.lifetime > audience.max_lifetime:
            raise LifetimeDenied(f"tokens for this audience live at most {audience.max_lifetime} s")
        fixed = audience.format.fixed_lifetime
        if fixed is not None and request.lifetime not in (None, fixed):
            raise LifetimeDenied(f"{audience.format.title} live {fixed} s, exactly")
        if request.actor_token is not None and audience.actors is None:
            raise ActorDenied("this audience does not accept actor_token")
        return audience

    def admit_issued(self, client: Client, request: ExchangeRequest, issued: IssuedToken) -> None:
        """Check whether ``client`` may use an issued token as subject or actor token, and holds the key that it is
        bound to.

        Raises:
            ReexchangeDenied: it was issued to another client, for an audience that ``client`` does not serve; or to
            another client, and is sent as a refresh token.
            PossessionNotProved: it is bound to a key that the caller has not proved.
        """
        own = request.subject_token_type != REFRESH_TOKEN or client.client_id == issued.client_id
        if not own or not knows(client, issued):
            raise ReexchangeDenied(
                "the token was issued to another client, for an audience that the caller does not serve",
                detail=f"client {client.client_id!r}, token of {quoted(issued.client_id)} "
                f"for {quoted(issued.audience, LONG)}",
            )
        delegation.check_possession(request.possession, issued.binding)

    def admit_actor(
        self,
        audience: Audience,
        subject: VerifiedToken,
        actor: VerifiedToken,
        client: Client,
        request: ExchangeRequest,
        issued: IssuedToken | None,
    ) -> None:
        """Check whether ``actor`` may act for ``subject``. ``issued`` is the actor's token, if tokenmint issued it.

        Raises:
            ActorDenied: it may not.
            ConditionDenied: the condition of the actor's provider does not hold for its token.
        """
        delegation.check_actor(audience, subject, actor, issued.audience if issued is not None else None)
        self._check_provider(self.derive(actor, client, request), client, request)

    def admit_subject(
        self,
        audience: Audience,
        verified: VerifiedToken,
        client: Client,
        request: ExchangeRequest,
        issued: IssuedToken | None = None,
    ) -> None:
        """Check whether a token of this provider, or an issued token (``issued``), may be exchanged for ``audience``.

        Raises:
            ProviderDenied, ConditionDenied, ReexchangeDenied
        """
        if (issued is None) == (verified.provider == SELF_ISSUED):
            raise ValueError("an issued token, and no other, comes with its record")
        if issued is not None:
            transactions.check_origin(audience, issued)
            if issued.audience not in audience.reexchange_from:
                raise ReexchangeDenied(detail=f"from {quoted(issued.audience, LONG)} for {audience.name!r}")
            if len(issued.ancestors) >= MAX_DEPTH:
                raise ReexchangeDenied(f"the token comes from {MAX_DEPTH} exchanges in a row, which is the maximum")
            return
        if verified.token_type in GRANTS:
            check_holder(verified, client)
        if verified.provider not in audience.providers:
            raise ProviderDenied(detail=f"provider {verified.provider!r}, audience {audience.name!r}")
        self._check_provider(verified, client, request)

    def _check_provider(self, verified: VerifiedToken, client: Client, request: ExchangeRequest) -> None:
        condition = self._provider_conditions.get(verified.provider)
        if condition is not None and not conditions.holds(condition, conditions.facts(verified, client, request)):
            raise ConditionDenied(detail=f"providers.{verified.provider}.condition: {condition.source}")

    def admits_workload(self, verified: VerifiedToken, client: Client) -> bool:
        """Return whether the provider's condition holds for a token that authenticates ``client`` itself."""
        condition = self._provider_conditions.get(verified.provider)
        if condition is None:
            return True
        nothing = ExchangeRequest(Secret(""), "")
        try:
            verified = self.derive(verified, client, nothing)
            return conditions.holds(condition, conditions.facts(verified, client, nothing))
        except ConditionDenied:
            return False

    def derive(self, verified: VerifiedToken, client: Client, request: ExchangeRequest) -> VerifiedToken:
        """Return the token with its provider's computed claims; a computed claim never replaces a verified one.

        Raises ``ConditionDenied`` as :func:`~tokenmint.policy.conditions.facts`.
        """
        derived = self._derived.get(verified.provider)
        if not derived:
            return verified
        known = conditions.facts(verified, client, request)
        computed = {name: conditions.compute(expression, known) for name, expression in derived}
        claims = {name: value for name, value in computed.items() if value is not None} | dict(verified.claims)
        return replace(verified, claims=MappingProxyType(claims))

    def decide(
        self,
        request: ExchangeRequest,
        client: Client,
        audience: Audience,
        verified: VerifiedToken,
        profile: Profile,
        *,
        now: float,
        issued: IssuedToken | None = None,
        actor: Actor | None = None,
    ) -> TokenGrant:
        """Return the grant for an admitted request.

        Raises:
            ConditionDenied, ScopeDenied, GrantScopesDenied, LifetimeDenied, ActorDenied, ConfirmationDenied
        """
        condition = self._conditions.get(audience.name)
        parent = issued.binding if issued is not None else delegation.bound_to(verified)
        chain = delegation.chain(audience, verified, issued, actor, self._issuer)
        known: conditions.Facts = {}
        if condition is not None or audience.name in self._computing:
            known = conditions.facts(verified, client, request, profile, actor, chain)
        if condition is not None and not conditions.holds(condition, known):
            raise ConditionDenied(detail=f"the condition of {audience.name}: {condition.source}")
        issued_at = int(now)

        def value_of(source: ClaimSource) -> JsonValue:
            if isinstance(source, conditions.Expression):
                return conditions.compute(source, known)
            return mapping.evaluate(source, verified, profile, client, actor, request)

        allowed = allowed_scopes(audience.actors, actor, self._scopes.get(audience.name), value_of)
        allowed = scopes_of_grant(audience, client, verified, allowed)
        scopes, expires_at = _within(request, client, audience, issued, issued_at, allowed)
        transaction, claims = self._content(audience, request, issued, value_of)
        return TokenGrant(
            principal=profile.principal,
            audience=audience.name,
            client_id=client.client_id,
            scopes=scopes,
            token_type=request.requested_token_type or audience.format.token_types[0],
            algorithm=audience.algorithm,
            format=audience.format,
            claims=MappingProxyType(claims),
            issued_at=issued_at,
            expires_at=expires_at,
            max_token_bytes=audience.max_token_bytes,
            uid=self._uid(audience, value_of),
            binding=delegation.binding(audience, request, parent),
            act=delegation.act(audience, actor, chain),
            actor=actor.principal if actor is not None else "",
            ancestors=(*issued.ancestors, issued.token_id) if issued is not None else (),
            profile_etag=profile.etag,
            reuse_window=audience.reuse_window,
            status_list=audience.max_lifetime if audience.status_list else 0,
            resources=request.named,
            transaction=transaction,
        )

    def _content(
        self,
        audience: Audience,
        request: ExchangeRequest,
        issued: IssuedToken | None,
        value_of: Callable[[ClaimSource], JsonValue],
    ) -> tuple[Transaction | None, dict[str, JsonValue]]:
        """Return the transaction, if it is about one, and the mapped claims."""
        sources = self._transactions.get(audience.name)
        if sources is None:
            return None, self._claims(audience, value_of)
        return transactions.content(sources, request, issued, self._sources[audience.name], value_of)

    def _claims(self, audience: Audience, value_of: Callable[[ClaimSource], JsonValue]) -> dict[str, JsonValue]:
        return transactions.values(self._sources[audience.name], value_of)

    def _uid(self, audience: Audience, value_of: Callable[[ClaimSource], JsonValue]) -> str:
        """Return the receiver's user id; empty if it has none, and if a segment is missing or has a slash."""
        if segments := self._paths.get(audience.name):
            values = [value for value in map(value_of, segments) if isinstance(value, str) and "/" not in value]
            return "/".join(values) if len(values) == len(segments) else ""
        source = self._uids.get(audience.name)
        value = value_of(source) if source is not None else ""
        return value if isinstance(value, str) else ""


def _of_a_draft(token_type: str | None) -> str:
    """Return the hint that a type of token belongs to a draft, "" for other types."""
    draft = OF_TYPE.get(token_type or "")
    return f": tokens of the other type need a table of their own, which {needed(draft)}" if draft else ""


def knows(client: Client, issued: IssuedToken) -> bool:
    """Return whether ``client`` may see a token: it was issued to the client, or for an audience that the client
    serves.

    A public client proves only its name, so it can't claim to be an audience.
    """
    return client.client_id == issued.client_id or (not client.public and issued.audience in client.serves)


def _within(
    request: ExchangeRequest,
    client: Client,
    audience: Audience,
    issued: IssuedToken | None,
    issued_at: int,
    allowed: frozenset[str] | None,
) -> tuple[tuple[str, ...], int]:
    """Return scopes and end of the new token, within the limits of audience, client, actor (``allowed``) and parent
    token.

    A request beyond these limits is refused; a default is reduced to the parent's limits.
    """
    granted = request.scopes or tuple(grantable(client, audience))
    if allowed is not None:
        foreign = set(request.scopes) - allowed
        if foreign:
            raise ScopeDenied(f"the subject token, or its actor, does not stand for the scope: {listed(foreign)}")
        granted = tuple(set(granted) & allowed)
    expires_at = issued_at + (request.lifetime or audience.lifetime)
    if issued is None:
        return tuple(sorted(granted)), expires_at
    wider = set(request.scopes) - set(issued.scopes)
    if wider:
        raise ScopeDenied(f"the subject token has no such scope: {listed(wider)}")
    if expires_at > issued.expires_at:
        fixed = audience.format.fixed_lifetime is not None and not audience.format.ends_with_parent
        if request.lifetime is not None or fixed:
            raise LifetimeDenied("the subject token expires earlier, and the new token can't outlive it")
        expires_at = issued.expires_at
    return tuple(sorted(set(granted) & set(issued.scopes))), expires_at
