"""The rules of `[envoy]` and `[gateway]`: from their tables to the types that answer gateways."""

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from tokenmint.admission.named_credentials import NAMES
from tokenmint.admission.validation import Violations
from tokenmint.base.errors import InvalidRequest
from tokenmint.base.http_url import BadUrl, host_of
from tokenmint.base.key_path import key_path
from tokenmint.config.gateway_tables import EnvoyTable, GatewayTable
from tokenmint.config.suggestions import no_such_table
from tokenmint.config.tables import File
from tokenmint.gateway.decision import Route
from tokenmint.gateway.request import Gateway
from tokenmint.model.policy import Audience
from tokenmint.model.tokens import ACCESS_TOKEN, ID_TOKEN, JWT

MAX_HEADERS: Final = 8
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]{1,64}")
_NO_TOKENS: Final = frozenset(
    {
        "authorization", "cookie", "host", "content-length", "transfer-encoding", "connection", "x-forwarded-host",
        "x-original-url", *NAMES,
    }
)  # fmt: skip
_TRANSACTIONS: Final = "has transaction tokens, which no Authorization header may carry"
_GRANTS: Final = (
    "has grants for another server, which a client presents there: the service behind the gateway gets none"
)
_TYPES: Final = {None: "", "id_token": ID_TOKEN, "access_token": ACCESS_TOKEN, "jwt": JWT}


def gateway_of(table: EnvoyTable) -> Gateway:
    """Return the rules for reading requests at gateways."""
    return Gateway(table.audience, table.hosts, table.cookie, table.headers)


def routes_of(table: GatewayTable) -> Mapping[str, Route]:
    """Return the routes of gateways over HTTP, by name."""
    return MappingProxyType(
        {
            name: Route(route.audience, route.scopes, _TYPES[route.subject_token_type])
            for name, route in table.routes.items()
        }
    )


def problems_of_gateways(file: File, audiences: Mapping[str, Audience]) -> list[str]:
    """Return the problems of both tables."""
    return [
        *_problems("envoy", file.envoy, audiences),
        *_problems("gateway", file.gateway, audiences),
        *_problems_of_routes(file.gateway, audiences),
    ]


def _problems(name: str, table: EnvoyTable, audiences: Mapping[str, Audience]) -> Iterator[str]:
    named = {"audience": table.audience} | {key_path("hosts", host): one for host, one in table.hosts.items()}
    for key, audience in named.items():
        if audience is not None and audience not in audiences:
            yield f"{name}.{key}: {no_such_table('audiences', audience, audiences)}"
        elif audience is not None and (reason := _never_a_bearer(audiences[audience])):
            yield f"{name}.{key}: {audience} {reason}"
    for host in table.hosts:
        if not _is_host(host):
            path = key_path("hosts", host)
            yield f"{name}.{path}: expected a host in lower case, without port (IPv6 without brackets)"
    for header in table.headers:
        if not _HEADER.fullmatch(header):
            yield f"{name}.headers: expected names of headers in lower case, e.g. x-goog-iap-jwt-assertion"
        elif header in _NO_TOKENS:
            yield f"{name}.headers: {header} is read already, or never holds a token: leave it out"
    if len(set(table.headers)) != len(table.headers) or len(table.headers) > MAX_HEADERS:
        yield f"{name}.headers: expected {MAX_HEADERS} names at most, each once"


def _problems_of_routes(table: GatewayTable, audiences: Mapping[str, Audience]) -> Iterator[str]:
    for name, route in table.routes.items():
        path = key_path("gateway", "routes", name)
        if route.audience not in audiences:
            yield f"{path}.audience: {no_such_table('audiences', route.audience, audiences)}"
            continue
        if reason := _never_a_bearer(audiences[route.audience]):
            yield f"{path}.audience: {route.audience} {reason}"
        violations = Violations()
        violations.scopes("scopes", route.scopes)
        try:
            violations.raise_any()
        except InvalidRequest as error:
            yield f"{path}.{error.message}"
            continue
        unknown = [scope for scope in route.scopes if scope not in audiences[route.audience].scopes]
        if unknown and not audiences[route.audience].drops_foreign_scopes:
            yield f"{path}.scopes: the audience does not have {', '.join(unknown)}"


def _never_a_bearer(audience: Audience) -> str:
    """Return why no gateway may put an audience's tokens into the header Authorization; "" for other audiences."""
    if audience.format.transaction is not None:
        return _TRANSACTIONS
    return _GRANTS if audience.format.grants_elsewhere else ""


def _is_host(text: str) -> bool:
    try:
        return host_of(f"[{text}]" if ":" in text else text) == text
    except BadUrl:
        return False
