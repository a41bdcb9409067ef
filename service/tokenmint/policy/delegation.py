"""Delegation, and the binding of tokens to keys. Pure, and deny by default.

RFC 8693 sections 1.1, 4.1 and 4.4; RFC 7800, RFC 8705 section 3, RFC 9449 section 6.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from tokenmint.base.errors import ActorDenied, ConfirmationDenied
from tokenmint.base.token_errors import PossessionNotProved
from tokenmint.model.issued import MAX_ACTORS, IssuedToken
from tokenmint.model.policy import Actor, Audience, Binding, ExchangeRequest
from tokenmint.model.tokens import JsonValue, VerifiedToken

MAX_NAME: Final = 2048
"""The longest `sub` or `iss` of an actor, in characters."""


def check_possession(possession: Binding, bound: Binding) -> None:
    """Raise ``PossessionNotProved`` unless ``possession`` includes the key that a token is ``bound`` to."""
    if possession.covers(bound):
        return
    proof = "a DPoP proof (RFC 9449)" if bound.jkt is not None else "the connection's client certificate (RFC 8705)"
    raise PossessionNotProved(
        f"the token is bound to a key, and the caller has not proved that it holds the key: {proof} is required"
    )


def bound_to(verified: VerifiedToken) -> Binding:
    """Return the key that a provider bound its token to (RFC 7800 section 3.1).

    Raises ``PossessionNotProved`` for a binding whose possession can't be proved here.
    """
    cnf = verified.claims.get("cnf")
    if cnf is None:
        return Binding()
    keys = cnf if isinstance(cnf, dict) else {}
    supported = {name: value for name in ("jkt", "x5t#S256") if isinstance(value := keys.get(name), str) and value}
    if not supported or supported != keys:
        raise PossessionNotProved(
            "the provider bound the token to a key in a form that can't be proved here: its cnf is not only a jkt "
            "(RFC 9449) or an x5t#S256 (RFC 8705)"
        )
    return Binding(supported.get("jkt"), supported.get("x5t#S256"))


def check_actor(audience: Audience, subject: VerifiedToken, actor: VerifiedToken, actor_audience: str | None) -> None:
    """Check that ``actor`` may act for ``subject``. ``actor_audience`` is the audience of an issued actor token.

    Raises:
        ActorDenied: the audience does not accept this actor's token, or the subject token's `may_act` names another.
    """
    rules = audience.actors
    if rules is None:
        raise ActorDenied("this audience does not accept actor_token")
    if actor_audience is None:
        if actor.provider not in rules.providers:
            raise ActorDenied("tokens of this provider are not accepted as actor tokens at this audience")
    elif actor_audience not in rules.audiences:
        raise ActorDenied("this audience does not accept tokens of the actor token's audience as actor tokens")
    if "act" in actor.claims:
        raise ActorDenied("the actor token is itself delegated (act): the actor has to use its own token")
    if "may_act" in subject.claims:
        if not _named(subject.claims["may_act"], subject, actor):
            raise ActorDenied("the subject token's may_act names another actor")
    elif not rules.without_may_act:
        raise ActorDenied("the subject token has no may_act, which this audience requires")


def _named(may_act: JsonValue, subject: VerifiedToken, actor: VerifiedToken) -> bool:
    """Return whether `may_act` names the actor: every member of it has to match (RFC 8693 section 4.4).

    Without `iss` it means the subject's issuer: the same `sub` at another issuer is another party.
    """
    if not isinstance(may_act, dict) or not isinstance(may_act.get("sub"), str):
        return False
    required = {"iss": subject.issuer} | may_act
    claims = dict(actor.claims) | {"iss": actor.issuer}
    return all(name in claims and claims[name] == value for name, value in required.items())


def chain(
    audience: Audience, subject: VerifiedToken, issued: IssuedToken | None, actor: Actor | None, issuer: str
) -> list[dict[str, JsonValue]]:
    """Return all parties that act for the subject, the current one first: the actor, then those of the subject token.

    ``issuer``: our own. Earlier actors stay named: without them, delegation would become impersonation.

    Raises:
        ActorDenied: the subject token's `act` is not valid, is not accepted here, or names an actor of ours.
    """
    prior = subject.claims.get("act")
    found = _chain(prior)
    if prior is not None and audience.actors is None:  # no rule would hold for the current actor
        raise ActorDenied("the subject token is delegated (act), and this audience does not accept actors")
    if prior is not None and issued is None:
        found = [{"iss": subject.issuer, **one} for one in found]  # names at that issuer
        if not all(one["iss"] for one in found):  # SPIFFE's tokens need no issuer
            raise ActorDenied("the subject token's act names an actor without an issuer")
        if any(one["iss"] == issuer for one in found):
            raise ActorDenied("the subject token's act names an actor of ours, which only our own tokens can do")
    if actor is not None and actor.verified is not None and audience.actors is not None:
        found.insert(0, {"sub": actor.principal})
    return found


def act(
    audience: Audience, actor: Actor | None, found: Sequence[Mapping[str, JsonValue]]
) -> Mapping[str, JsonValue] | None:
    """Return the `act` of the new token: the parties ``found``, each with the earlier ones nested in it.

    Raises:
        ActorDenied: there are too many actors, or the format can't hold them.
    """
    hidden = actor is not None and actor.verified is not None
    if hidden and audience.actors is not None and audience.actors.impersonation:
        found = found[1:]
    if not found:
        return None
    if len(found) > MAX_ACTORS:
        raise ActorDenied(f"at most {MAX_ACTORS} actors in a chain")
    if not audience.format.carries_actor:
        raise ActorDenied("tokens of this format have no act: the actor would appear as the subject")
    nested: dict[str, JsonValue] = {}
    for one in reversed(found):
        nested = {**one, "act": nested} if nested else dict(one)
    return nested


def _chain(prior: JsonValue) -> list[dict[str, JsonValue]]:
    """Return the actors of an `act`, the current one first, with only their `sub` and `iss`."""
    found: list[dict[str, JsonValue]] = []
    while prior is not None:
        if not isinstance(prior, dict) or not isinstance(prior.get("sub"), str) or len(found) > MAX_ACTORS:
            raise ActorDenied("the subject token's act is not valid (RFC 8693 section 4.1)")
        if not isinstance(prior.get("iss", ""), str):
            raise ActorDenied("the subject token's act has an iss that is not a text")
        names: dict[str, JsonValue] = {name: prior[name] for name in ("iss", "sub") if name in prior}
        if any(not 0 < len(str(one)) <= MAX_NAME for one in names.values()):
            raise ActorDenied(f"the subject token's act has a name that is empty or longer than {MAX_NAME} characters")
        found.append(names)
        prior = prior.get("act")
    return found


def binding(audience: Audience, request: ExchangeRequest, parent: Binding) -> Binding:
    """Return the binding of the new token: the ``parent``'s; otherwise the requested one, or the audience's rule.

    Raises ``ConfirmationDenied``.
    """
    requested, bound = request.binding, Binding()
    if requested.jkt is not None and requested.x5t_s256 is not None:
        raise ConfirmationDenied("a token is bound to one key: a DPoP key or a certificate")
    if not request.possession.covers(Binding(x5t_s256=requested.x5t_s256)):
        raise ConfirmationDenied("a token is bound to the certificate of the connection, not to another")
    if parent:
        bound = parent
        if not bound.covers(requested):
            raise ConfirmationDenied("the subject token is bound to another key, which the new token keeps")
    elif requested:
        bound = requested
    elif audience.bound in ("mtls", "any"):
        bound = Binding(x5t_s256=request.possession.x5t_s256)
    if audience.bound == "dpop" and bound.jkt is None:
        raise ConfirmationDenied("tokens for this audience are bound to a DPoP key: send its thumbprint (dpop_jkt)")
    if audience.bound == "mtls" and bound.x5t_s256 is None:
        raise ConfirmationDenied("tokens for this audience are bound to the caller's certificate: connect with one")
    if audience.bound == "any" and not bound:
        raise ConfirmationDenied("tokens for this audience are bound: send dpop_jkt, or connect with a certificate")
    if bound and not audience.format.carries_binding:
        raise ConfirmationDenied("tokens of this format can't be bound to a key, and a binding is never dropped")
    return bound
