"""The target of a request: its one audience, from `audience` and `resource` (RFC 8693 section 2.1, RFC 8707).

A request may name its target several times, in several ways. All names have to lead to one configured audience. A
request whose names lead elsewhere stays as it is, and :func:`check_target` refuses it: no name is ever ignored.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from tokenmint.base.errors import AudienceDenied, FieldViolation, InvalidRequest
from tokenmint.base.foreign_text import LONG, quoted
from tokenmint.base.token_errors import MalformedToken, WrongAudience
from tokenmint.base.uri import BadUri, normal_uri
from tokenmint.model.policy import Audience, Client, ExchangeRequest
from tokenmint.model.secret import Secret
from tokenmint.model.tokens import GRANTS
from tokenmint.verification.jws import MOST_TOKEN, parse_compact

MAX_RESOURCES: Final = 16
"""The largest number of resources that a grant may name."""
ONE_TARGET: Final = "audience and resource name different targets, and a token has one: exchange once for each"
"""The refusal of a request whose names do not lead to one audience. It is the same whether they exist or not."""


class Targets:
    """Finds the audience of requests.

    Args:
        audiences: by name. A resource belongs to one of them (``config/audiences.py``).
    """

    def __init__(self, audiences: Mapping[str, Audience]) -> None:
        self._audiences = audiences
        by_uri: dict[str, set[str]] = {}
        for name, audience in audiences.items():
            for uri in (_normal(name), *audience.resources):
                by_uri.setdefault(uri, set()).add(name)
        by_uri.pop("", None)
        self._by_uri = {uri: names.pop() for uri, names in by_uri.items() if len(names) == 1}
        """The audience of each resource, by the normal form of its URI. One that two audiences share names neither."""

    def completed(self, client: Client, request: ExchangeRequest) -> ExchangeRequest:
        """Return the request with its audience, the defaults of its client, and the scopes that count.

        Raises:
            InvalidRequest: a required part is missing, and the client has no default for it.
            WrongAudience: the resources of a grant do not lead to one audience that the client may name. Nothing was
            verified yet, so all of these refusals are the same.
        """
        kind = request.subject_token_type or client.subject_token_type
        resources = request.resources
        if kind in GRANTS:
            granted = _resources_in(request.subject_token)
            if granted and not self._is_one(client, granted):
                raise WrongAudience(detail=f"resource {quoted(list(granted), LONG)}, no single audience of the client")
            resources = tuple(dict.fromkeys((*resources, *granted)))
        named = request.audience or ("" if resources else client.audience)
        missing = []
        if not kind:
            missing.append(FieldViolation("subject_token_type", "is required: this client has no default"))
        if not named and not resources:
            text = "is required, or resource: this client has no default audience"
            missing.append(FieldViolation("audience", text))
        if missing:
            raise InvalidRequest(missing)
        request = replace(request, subject_token_type=kind)
        names = {named} if named else set()
        names |= {self._of_resource(uri) for uri in resources}
        if len(names) > 1 or "" in names:
            return replace(request, resources=resources)
        [audience] = names
        scopes = self._kept(client, audience, request.scopes)
        return replace(request, audience=audience, resources=(), named=resources, scopes=scopes)

    def _is_one(self, client: Client, resources: tuple[str, ...]) -> bool:
        found = {self._of_resource(uri) for uri in resources}
        audience = self._audiences.get(found.pop()) if len(found) == 1 else None
        return audience is not None and may_name(client, audience)

    def _of_resource(self, uri: str) -> str:
        """Return the audience of a resource, or ""."""
        return uri if uri in self._audiences else self._by_uri.get(_normal(uri), "")

    def _kept(self, client: Client, name: str, scopes: tuple[str, ...]) -> tuple[str, ...]:
        """Return the scopes that count: without foreign ones, if the audience drops these.

        If none remains, they stay and are refused: a request without scopes would get all of the audience's.
        """
        audience = self._audiences.get(name)
        if audience is None or not audience.drops_foreign_scopes:
            return scopes
        kept = tuple(scope for scope in scopes if scope in audience.scopes)
        return kept if kept or not grantable(client, audience) else scopes


def check_target(request: ExchangeRequest) -> None:
    """Raise ``AudienceDenied`` if the names of a completed request do not lead to one audience."""
    if request.resources:
        named = (*filter(None, (request.audience,)), *request.resources)
        raise AudienceDenied(ONE_TARGET if len(named) > 1 else None, detail=f"named {quoted(list(named), LONG)}")


def may_name(client: Client, audience: Audience) -> bool:
    """Return whether a client may name an audience at all."""
    named = client.anonymous or client.client_id in audience.clients
    return named and (audience.public_clients or not client.public)


def grantable(client: Client, audience: Audience) -> frozenset[str]:
    """Return the scopes of an audience that a client may have."""
    if client.scopes is None:
        return audience.scopes
    return audience.scopes & client.scopes.get(audience.name, frozenset())


def _resources_in(token: Secret) -> tuple[str, ...]:
    """Return the resources that a grant names. They count before the same bytes are verified, and nothing does after
    that fails.
    """
    try:
        found = parse_compact(token, MOST_TOKEN).claims.get("resource", [])
    except MalformedToken:
        return ()
    texts = found if isinstance(found, list) else [found]
    if len(texts) > MAX_RESOURCES:
        return ("",)  # leads nowhere: no name is ever ignored
    return tuple(one if isinstance(one, str) else "" for one in texts)


def _normal(text: str) -> str:
    try:
        return normal_uri(text)
    except BadUri:
        return ""
