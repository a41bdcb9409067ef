"""Transaction tokens: the checks of requests for them, and their content. Pure.

draft-ietf-oauth-transaction-tokens, sections 11 and 13. The rules of its audience compute the content of a first token
from the request. A replacement keeps all of it, and can only have fewer scopes.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from tokenmint.base.errors import ActorDenied, AudienceDenied, FormatDenied, ReexchangeDenied, ScopeDenied
from tokenmint.base.foreign_text import listed
from tokenmint.model.issued import REQUESTERS, IssuedToken
from tokenmint.model.policy import Audience, Client, ExchangeRequest, JsonObject, Transaction
from tokenmint.model.tokens import TXN_TOKEN, JsonValue
from tokenmint.policy.acting import scopes_in
from tokenmint.policy.compile import ClaimSource, Members, TransactionSources

ValueOf = Callable[[ClaimSource], JsonValue]


class Content(NamedTuple):
    """The content of a transaction token beside that of other tokens."""

    transaction: Transaction
    claims: dict[str, JsonValue]
    """The mapped claims."""


def check_transaction(client: Client, audience: Audience, request: ExchangeRequest) -> None:
    """Check the parts of a request that depend on whether the audience has transaction tokens.

    Raises:
        FormatDenied: the audience has none, and the request has their parameters; or it does not name their type; or
            it has parameters that would change a token that is replaced.
        AudienceDenied: the caller has proved no identity (section 11.5), or names the trust domain by a resource.
        ScopeDenied: the request names no scope (section 11.1).
        ActorDenied: somebody else would act in a transaction that goes on.
    """
    told = request.request_context is not None or request.request_details is not None
    if audience.format.transaction is None:
        if told:
            raise FormatDenied("request_context and request_details are for transaction tokens alone")
        return
    if client.public or client.anonymous:
        raise AudienceDenied(detail="transaction tokens are for clients that have authenticated themselves")
    if request.named:
        raise AudienceDenied("a trust domain is named by audience, and by no resource")
    if request.requested_token_type is None:
        raise FormatDenied(f"a transaction token is requested by its type: {TXN_TOKEN}")
    if not request.scopes:
        raise ScopeDenied("a transaction token needs the scopes of its transaction: name them")
    if request.subject_token_type == TXN_TOKEN:
        if told:
            raise FormatDenied(
                "a replacement keeps the context of its transaction: leave request_context and request_details out"
            )
        if request.actor_token is not None:
            raise ActorDenied("a replacement keeps the actors of its transaction: leave actor_token out")


def check_origin(audience: Audience, issued: IssuedToken) -> None:
    """Raise ``ReexchangeDenied`` for a transaction token that would leave its trust domain, or become another kind."""
    if issued.kind == TXN_TOKEN and (audience.format.transaction is None or issued.audience != audience.name):
        raise ReexchangeDenied("a transaction token is exchanged only for a replacement of it, in its trust domain")


def check_scopes(sources: TransactionSources, request: ExchangeRequest, value_of: ValueOf) -> None:
    """Check that the subject token stands for the scopes of a request (section 13.6).

    Raises:
        ScopeDenied: it does not, or its scopes are not known (section 13.14).
    """
    value = value_of(sources.subject_scopes)
    if value is None:
        raise ScopeDenied("the scopes of the subject token are not known, so its transaction can have none")
    if foreign := set(request.scopes) - scopes_in(value):
        raise ScopeDenied(f"the subject token does not stand for the scope: {listed(foreign)}")


def values(members: Members, value_of: ValueOf) -> dict[str, JsonValue]:
    """Return the members whose source has a value."""
    found = ((name, value_of(source)) for name, source in members)
    return {name: value for name, value in found if value is not None}


def content(
    sources: TransactionSources,
    request: ExchangeRequest,
    issued: IssuedToken | None,
    claims: Members,
    value_of: ValueOf,
) -> Content:
    """Return the content of a first token, or that of the token that is replaced.

    Args:
        sources: those of the audience.
        issued: the subject token, if it is an issued one.
        claims: the mapped claims, with their sources.
        value_of: returns the value of a source.

    Raises:
        ScopeDenied: as :func:`check_scopes`.
        FormatDenied: the token would hold the subject or actor token (section 13.4).
    """
    if issued is not None and issued.kind == TXN_TOKEN:
        return _kept(issued, claims)
    check_scopes(sources, request, value_of)
    transaction = Transaction(tctx=values(sources.tctx, value_of), rctx=values(sources.rctx, value_of))
    mapped = values(claims, value_of)
    tokens = [token.reveal() for token in (request.subject_token, request.actor_token) if token is not None]
    for value in (transaction.tctx, transaction.rctx, mapped):
        if any(token in text for text in _texts(value) for token in tokens):
            raise FormatDenied("the transaction token would hold the token that it is exchanged from: leave that out")
    return Content(transaction, mapped)


def _kept(issued: IssuedToken, claims: Members) -> Content:
    earlier = issued.claims.get(REQUESTERS, [])
    texts = [str(one) for one in earlier] if isinstance(earlier, list) else []
    transaction = Transaction(
        txn=str(issued.claims["txn"]),
        tctx=_object(issued.claims.get("tctx")),
        rctx=_object(issued.claims.get("rctx")),
        earlier=(*texts, issued.client_id),
    )
    return Content(transaction, {name: issued.claims[name] for name, _ in claims if name in issued.claims})


def _object(value: JsonValue) -> JsonObject:
    return value if isinstance(value, dict) else {}


def _texts(value: object) -> Iterable[str]:
    """Yield every text in a value: names and values at every level."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield name
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
