"""The party that gets a token for another: its scopes, at most those of both, and its grants. Pure."""

from collections.abc import Callable

from tokenmint.base.errors import FormatDenied, GrantScopesDenied, TokenDenied
from tokenmint.base.foreign_text import listed, quoted
from tokenmint.model.drafts import IDENTITY_ASSERTION, needed
from tokenmint.model.policy import Actor, ActorRules, Audience, Client, ExchangeRequest
from tokenmint.model.tokens import GRANTS, ID_JAG, REFRESH_TOKEN, JsonValue, VerifiedToken
from tokenmint.policy.compile import ClaimSource
from tokenmint.policy.targets import grantable


def allowed_scopes(
    rules: ActorRules | None,
    actor: Actor | None,
    sources: tuple[ClaimSource, ClaimSource] | None,
    value_of: Callable[[ClaimSource], JsonValue],
) -> frozenset[str] | None:
    """Return the scopes beyond which an actor gets nothing for its subject; None: neither of them limits the scopes.

    Args:
        rules: those of the audience.
        actor: the party that acts; None: nobody does.
        sources: the sources of the scopes of subject and actor, if their intersection counts.
        value_of: returns the value of a source. A source without a value stands for no scopes.
    """
    if rules is None or actor is None:
        return None
    allowed = None
    if rules.scopes_by_actor is not None:
        allowed = rules.scopes_by_actor.get(actor.principal, frozenset()) if actor.principal else frozenset()
    if sources is None:
        return allowed
    subject, own = (scopes_in(value_of(source)) for source in sources)
    return subject & (own if allowed is None else allowed)


def check_grant(audience: Audience, request: ExchangeRequest) -> None:
    """Raise ``FormatDenied`` if the subject token is of a kind that this audience never takes.

    A grant is for access tokens (section 4.4 of the draft of ID-JAGs): a user's identity that was asserted to us is not
    asserted to others, and begins no transaction. A refresh token is for ID-JAGs (section 4.3).
    """
    if request.subject_token_type in GRANTS and not audience.format.gives_access:
        named = "an ID-JAG" if request.subject_token_type == ID_JAG else "an assertion"
        raise FormatDenied(f"{named} is a grant for access tokens, and this audience has {audience.format.title}")
    if request.subject_token_type == REFRESH_TOKEN and ID_JAG not in audience.format.token_types:
        raise FormatDenied(
            f"a refresh token is exchanged for ID-JAGs, which {needed(IDENTITY_ASSERTION)}, and this audience has "
            f"{audience.format.title}"
        )


def check_holder(verified: VerifiedToken, client: Client) -> None:
    """Raise ``TokenDenied`` unless ``client`` has proved more than its name, and the grant names no other client.

    An ID-JAG has to name it. Another grant may leave it open: RFC 7523 has no such claim.
    """
    named = verified.claims.get("client_id", None if verified.token_type == ID_JAG else client.client_id)
    if client.public or client.anonymous or named != client.client_id:
        raise TokenDenied(detail=f"client {client.client_id!r}, grant for {quoted(named)}")


def scopes_of_grant(
    audience: Audience, client: Client, verified: VerifiedToken, allowed: frozenset[str] | None
) -> frozenset[str] | None:
    """Return ``allowed``, reduced to the scopes of a grant. An ID-JAG without `scope` has none, and another grant
    without it does not limit them.

    If none of a grant's scopes is left, the grant is refused: to services that take a token without scopes for one that
    may do everything, its token would be worth more than the grant. An audience that drops foreign scopes, and has none
    for the client, says that its tokens never have scopes.

    Raises:
        GrantScopesDenied: the grant has scopes, and none of them can be granted.
    """
    if verified.token_type != ID_JAG and (verified.token_type not in GRANTS or "scope" not in verified.claims):
        return allowed
    named, ours = scopes_in(verified.claims.get("scope", "")), grantable(client, audience)
    left = named & (ours if allowed is None else ours & allowed)
    if named and not left and (ours or not audience.drops_foreign_scopes):
        raise GrantScopesDenied(f"the grant has no scope that can be granted for this audience: {listed(named)}")
    return left


def scopes_in(value: JsonValue) -> frozenset[str]:
    """Return the scopes in a list of texts, or in a text with spaces between them (RFC 6749 section 3.3)."""
    names = value.split(" ") if isinstance(value, str) else value
    if not isinstance(names, list):
        return frozenset()
    return frozenset(one for one in names if isinstance(one, str) and one)
