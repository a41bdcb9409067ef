"""Claim mapping: the sources of minted claims.

    'text'                              a fixed text
    client.id                           the caller
    provider.name                       the configured provider of the subject token
    assertion.email                     a claim of the subject token, by its path
    assertion['https://example/roles']  the same, for a name with other characters
    profile.principal  profile.roles    parts of the profile
    profile.claims.tenant               a claim of the profile, by its path
    actor.principal  actor.client       the party that acts for the subject; the client that its own token was issued to
    actor.provider                      the configured provider of the actor token
    actor.claims.team                   a claim of the actor token, by its path
    actor.profile.roles                 the roles in the actor's profile
    actor.profile.claims.team           a claim of the actor's profile, by its path
    request.context.req_ip              a member of request_context (transaction tokens), by its path
    request.details.action              a member of request_details, by its path

A source without a value leaves the claim out.
"""

import re
from dataclasses import dataclass
from typing import Final

from tokenmint.model.policy import Actor, Client, ExchangeRequest
from tokenmint.model.profile import Profile
from tokenmint.model.tokens import JsonValue, VerifiedToken, at_path

FORMS: Final = (
    "expected 'text', client.id, provider.name, assertion.NAME, profile.principal, profile.roles, profile.claims.NAME, "
    "actor.principal, actor.client, actor.provider, actor.claims.NAME, actor.profile.roles, "
    "actor.profile.claims.NAME, request.context.NAME or request.details.NAME (names with other characters than "
    "A-Z a-z 0-9 _ as ['NAME'])"
)
_PART: Final = re.compile(r"\.([A-Za-z0-9_]+)|\['([^']+)'\]")
_FIXED: Final = frozenset(
    {
        ("client", "id"), ("provider", "name"), ("profile", "principal"), ("profile", "roles"),
        ("actor", "principal"), ("actor", "client"), ("actor", "provider"), ("actor", "profile", "roles"),
    }
)  # fmt: skip
_OF_ACTOR: Final = ["actor", "profile", "claims"]
_OF_REQUEST: Final = (["request", "context"], ["request", "details"])
_LITERAL: Final = re.compile(r"'([^']*)'\Z")
_ROOT: Final = re.compile(r"(client|provider|assertion|profile|actor|request)(?=[.\[])")


@dataclass(frozen=True, slots=True)
class Source:
    """A parsed expression: a fixed text, or a path that starts at one of the roots."""

    path: tuple[str, ...] = ()
    literal: str | None = None


def parse(expression: str) -> Source:
    """Parse an expression. Raises ``ValueError`` with the accepted forms."""
    literal = _LITERAL.match(expression)
    if literal is not None:
        return Source(literal=literal[1])
    root = _ROOT.match(expression)
    if root is None:
        raise ValueError(FORMS)
    path = [root[1]]
    position = root.end()
    while position < len(expression):
        part = _PART.match(expression, position)
        if part is None:
            raise ValueError(FORMS)
        path.append(part[1] or part[2])
        position = part.end()
    if tuple(path) in _FIXED or (path[0] == "assertion" and len(path) > 1):
        return Source(tuple(path))
    if path[:2] == ["profile", "claims"] and len(path) > 2:
        return Source(tuple(path))
    if path[:2] in _OF_REQUEST and len(path) > 2:
        return Source(tuple(path))
    if (path[:2] == ["actor", "claims"] and len(path) > 2) or (path[:3] == _OF_ACTOR and len(path) > 3):
        return Source(tuple(path))
    raise ValueError(FORMS)


def evaluate(
    source: Source,
    verified: VerifiedToken,
    profile: Profile,
    client: Client,
    actor: Actor | None = None,
    request: ExchangeRequest | None = None,
) -> JsonValue:
    """Return the value of ``source``, or None."""
    if source.literal is not None:
        return source.literal
    root, part, *rest = source.path
    if root == "assertion":
        return at_path(verified.claims, source.path[1:])
    if root == "client":
        return client.client_id
    if root == "provider":
        return verified.provider
    if root == "actor":
        return _of_actor(actor, source.path[1:]) if actor is not None else None
    if root == "request":
        return _of_request(request, part, tuple(rest)) if request is not None else None
    if part == "principal":
        return profile.principal
    if part == "roles":
        return list(profile.roles) or None
    return at_path(profile.claims, tuple(rest))


def _of_request(request: ExchangeRequest, part: str, path: tuple[str, ...]) -> JsonValue:
    """Return a member of the caller's account of its transaction, or None."""
    account = request.request_context if part == "context" else request.request_details
    return at_path(account, path) if account is not None else None


def _of_actor(actor: Actor, path: tuple[str, ...]) -> JsonValue:
    """Return a part of the actor, or None."""
    if path == ("principal",):
        return actor.principal or None
    if path == ("client",):
        return actor.client_id or None
    if path == ("provider",):
        return actor.verified.provider if actor.verified is not None else None
    if path[0] == "claims":
        return at_path(actor.verified.claims, path[1:]) if actor.verified is not None else None
    if actor.profile is None:
        return None
    return list(actor.profile.roles) or None if path[1] == "roles" else at_path(actor.profile.claims, path[2:])
