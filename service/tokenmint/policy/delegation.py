"""Who acts for whom, and which key a token is bound to. Pure, and deny by default.

RFC 8693 sections 1.1, 4.1 and 4.4; RFC 7800, RFC 8705 section 3, RFC 9449 section 6.
"""

from collections.abc import Mapping
from typing import Final

from tokenmint.base.errors import ActorDenied, ConfirmationDenied
from tokenmint.base.token_errors import PossessionNotProved
from tokenmint.model.issued import IssuedToken
from tokenmint.model.policy import Actor, Audience, Binding, ExchangeRequest
from tokenmint.model.tokens import JsonValue, VerifiedToken

MAX_ACTORS: Final = 4
"""How many actors in a row a token names."""


def check_possession(shown: Binding, bound: Binding) -> None:
    """Raise ``PossessionNotProved`` unless the caller has shown the key that a token is ``bound`` to."""
    if shown.covers(bound):
        return
    how = "a DPoP proof (RFC 9449)" if bound.jkt is not None else "the client certificate of the connection (RFC 8705)"
    raise PossessionNotProved(f"the token is bound to a key that the caller has not proved to hold: {how} is due")


def bound_to(verified: VerifiedToken) -> Binding:
    """Return the key that a provider bound its token to (RFC 7800 section 3.1).

    Raises ``PossessionNotProved`` for a binding that nobody can show to hold here.
    """
    cnf = verified.claims.get("cnf")
    if cnf is None:
        return Binding()
    keys = cnf if isinstance(cnf, dict) else {}
    known = {name: value for name in ("jkt", "x5t#S256") if isinstance(value := keys.get(name), str) and value}
    if not known or known != keys:
        raise PossessionNotProved(
            "the provider bound the token to a key in a way that can't be proved here: its cnf is not a jkt (RFC 9449) "
            "or an x5t#S256 (RFC 8705) alone"
        )
    return Binding(known.get("jkt"), known.get("x5t#S256"))


def check_actor(audience: Audience, subject: VerifiedToken, actor: VerifiedToken, actor_audience: str | None) -> None:
    """Say whether ``actor`` may act for ``subject``. ``actor_audience`` is that of an actor token of ours.

    Raises:
        ActorDenied: the audience does not take this actor's token, or the subject has named others (`may_act`).
    """
    rules = audience.actors
    if rules is None:
        raise ActorDenied("nobody acts for a subject at this audience: leave the actor token out")
    if actor_audience is None:
        if actor.provider not in rules.providers:
            raise ActorDenied("tokens of this provider do not prove an actor for this audience")
    elif actor_audience not in rules.audiences:
        raise ActorDenied("tokens for this audience of ours do not prove an actor for the other")
    if "act" in actor.claims:
        raise ActorDenied("the actor token is itself delegated (act): who acts has to come with a token of its own")
    if "may_act" in subject.claims:
        if not _named(subject.claims["may_act"], subject, actor):
            raise ActorDenied("the subject token says who may act (may_act), and it is not this actor")
    elif not rules.without_may_act:
        raise ActorDenied("the subject token does not say that this actor may act (may_act)")


def _named(may_act: JsonValue, subject: VerifiedToken, actor: VerifiedToken) -> bool:
    """Tell whether `may_act` names the actor: everything that it says of it has to be so (RFC 8693 section 4.4).

    A name without an issuer is one of the subject's issuer: the same `sub` elsewhere is somebody else.
    """
    if not isinstance(may_act, dict) or not isinstance(may_act.get("sub"), str):
        return False
    said = {"iss": subject.issuer} | may_act
    known = dict(actor.claims) | {"iss": actor.issuer}
    return all(name in known and known[name] == value for name, value in said.items())


def act(
    audience: Audience, subject: VerifiedToken, issued: IssuedToken | None, actor: Actor | None
) -> Mapping[str, JsonValue] | None:
    """Return the `act` of the new token: the actor, and within it those that the subject token names already.

    Who already acts stays named: leaving it out would turn delegation into impersonation.

    Raises:
        ActorDenied: there are more than the most, or the format has no place for them.
    """
    prior = subject.claims.get("act")
    chain = _chain(prior)
    if prior is not None and issued is None:
        if audience.actors is None:
            raise ActorDenied("the subject token is delegated (act), and nobody acts for a subject at this audience")
        chain = [{"iss": subject.issuer, **one} for one in chain]  # names of that issuer, not of ours
    if actor is not None and audience.actors is not None and not audience.actors.impersonation:
        chain.insert(0, {"sub": actor.principal})
    if not chain:
        return None
    if len(chain) > MAX_ACTORS:
        raise ActorDenied(f"at most {MAX_ACTORS} actors in a row")
    if not audience.format.carries_actor:
        raise ActorDenied("tokens of this kind do not say who acts: it would look like the subject")
    nested: dict[str, JsonValue] = {}
    for one in reversed(chain):
        nested = {**one, "act": nested} if nested else dict(one)
    return nested


def _chain(prior: JsonValue) -> list[dict[str, JsonValue]]:
    """Return the actors of an `act`, the current one first: their `sub` and `iss`, and nothing else that it may say."""
    chain: list[dict[str, JsonValue]] = []
    while prior is not None:
        if not isinstance(prior, dict) or not isinstance(prior.get("sub"), str) or len(chain) > MAX_ACTORS:
            raise ActorDenied("the subject token's act is none that can be kept (RFC 8693 section 4.1)")
        if not isinstance(prior.get("iss", ""), str):
            raise ActorDenied("the subject token's act has an iss that is no text")
        chain.append({name: prior[name] for name in ("iss", "sub") if name in prior})
        prior = prior.get("act")
    return chain


def binding(audience: Audience, request: ExchangeRequest, parent: Binding) -> Binding:
    """Return what the new token is bound to: the ``parent``'s key; else what is asked for, or the audience's rule.

    Raises ``ConfirmationDenied``.
    """
    asked, bound = request.binding, Binding()
    if asked.jkt is not None and asked.x5t_s256 is not None:
        raise ConfirmationDenied("a token is bound to one key: a DPoP key or a certificate")
    if not request.possession.covers(Binding(x5t_s256=asked.x5t_s256)):
        raise ConfirmationDenied("a token is bound to the certificate of the connection, not to another")
    if parent:
        bound = parent
        if not bound.covers(asked):
            raise ConfirmationDenied("the subject token is bound to another key, which is kept")
    elif asked:
        bound = asked
    elif audience.bound in ("mtls", "any"):
        bound = Binding(x5t_s256=request.possession.x5t_s256)
    if audience.bound == "dpop" and bound.jkt is None:
        raise ConfirmationDenied("tokens for this audience are bound to a DPoP key: send its thumbprint (dpop_jkt)")
    if audience.bound == "mtls" and bound.x5t_s256 is None:
        raise ConfirmationDenied("tokens for this audience are bound to the caller's certificate: connect with one")
    if audience.bound == "any" and not bound:
        raise ConfirmationDenied("tokens for this audience are bound: send dpop_jkt, or connect with a certificate")
    if bound and not audience.format.carries_binding:
        raise ConfirmationDenied("tokens of this kind can't be bound to a key, and the binding is not dropped")
    return bound
