"""The scopes of a token that one party gets for another: at most those of both, if the audience says so. Pure."""

from collections.abc import Callable

from tokenmint.model.policy import Actor, ActorRules
from tokenmint.model.tokens import JsonValue
from tokenmint.policy.compile import ClaimSource


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
    subject, own = (_scopes(value_of(source)) for source in sources)
    return subject & (own if allowed is None else allowed)


def _scopes(value: JsonValue) -> frozenset[str]:
    """Return the scopes in a list of texts, or in a text with spaces between them (RFC 6749 section 3.3)."""
    names = value.split(" ") if isinstance(value, str) else value
    if not isinstance(names, list):
        return frozenset()
    return frozenset(one for one in names if isinstance(one, str) and one)
