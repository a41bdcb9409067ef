"""Every place that takes a JWT, with the kinds that it accepts, and the table of both."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from tests.jwts import offline, places
from tests.jwts.kinds import TRANSACTION
from tests.jwts.places import BEARER, SPIFFE, Accepts, Tokens, one_by_one
from tests.jwts.world import AS, CHAINED, DOMAIN, SVIDS, World

from tokenmint.model.tokens import ACCESS_TOKEN, ID_JAG, ID_TOKEN, JWT, JWT_GRANT, TXN_TOKEN

TABLE_FILE: Final = "TOKENMINT_JWT_MATRIX"
"""The environment variable with the name of the file for the table."""
V1: Final = "/tokenmint.v1.TokenExchangeService/"
TOKEN, INTROSPECT, REVOKE = (f"/oauth2/{name}" for name in ("token", "introspect", "revoke"))


@dataclass(frozen=True)
class Place:
    """A place that takes a JWT."""

    accepted: Callable[[World, Tokens], Awaitable[set[str]]]
    """Returns the kinds of tokens that it accepts."""
    expected: frozenset[str]
    method: str = ""
    """Its row of an access table; "": it is in none."""


def _at(method: str, accepts: Accepts, *expected: str) -> Place:
    return Place(one_by_one(accepts), frozenset(expected), method)


USER, ACCESS, ISSUED, PLAIN = (
    "a user's ID token",
    "a user's access token",
    "an issued access token",
    "an issued one with typ JWT",
)
TRANSACTIONS, WORKLOAD, SVID = "an issued transaction token", "a workload's token", "a JWT-SVID"
ASSERTION, GRANT, PLAIN_GRANT = "an ID-JAG", "a plain grant", "a plain grant with typ JWT"
SIGNED, TYPED = "a client's assertion", "a client's typed assertion"
PLACES: Final[Mapping[str, Place]] = {
    "subject, id_token": _at(TOKEN, places.subject(ID_TOKEN), USER),
    "subject, access_token": _at(TOKEN, places.subject(ACCESS_TOKEN), ACCESS, ISSUED, PLAIN),
    "subject, jwt": _at(TOKEN, places.subject(JWT), USER, ACCESS, ISSUED, PLAIN),
    "subject, id-jag": _at(TOKEN, places.subject(ID_JAG)),
    "subject, jwt-bearer": _at(TOKEN, places.subject(JWT_GRANT)),
    "subject, txn_token": _at(TOKEN, places.subject(TXN_TOKEN)),
    "subject over gRPC, id_token": _at(f"{V1}ExchangeToken", places.subject_over_grpc(ID_TOKEN), USER),
    "subject over gRPC, access_token": _at(
        f"{V1}ExchangeToken", places.subject_over_grpc(ACCESS_TOKEN), ACCESS, ISSUED, PLAIN
    ),
    "subject over gRPC, jwt": _at(
        f"{V1}ExchangeToken", places.subject_over_grpc(JWT), USER, ACCESS, ISSUED, PLAIN
    ),
    "subject over gRPC, id-jag": _at(f"{V1}ExchangeToken", places.subject_over_grpc(ID_JAG), ASSERTION),
    "subject over gRPC, jwt-bearer": _at(
        f"{V1}ExchangeToken", places.subject_over_grpc(JWT_GRANT), GRANT, PLAIN_GRANT
    ),
    "subject over gRPC, txn_token": _at(f"{V1}ExchangeToken", places.subject_over_grpc(TXN_TOKEN)),
    "subject of a batch, jwt": _at(f"{V1}BatchExchangeTokens", places.batch(JWT), USER, ACCESS, ISSUED, PLAIN),
    "subject of a batch, id-jag": _at(f"{V1}BatchExchangeTokens", places.batch(ID_JAG)),
    "subject of a batch, jwt-bearer": _at(f"{V1}BatchExchangeTokens", places.batch(JWT_GRANT)),
    "subject, explained": _at(f"{V1}ExplainExchange", places.explained(JWT), USER, ACCESS, ISSUED, PLAIN),
    "subject, explained, id-jag": _at(f"{V1}ExplainExchange", places.explained(ID_JAG), ASSERTION),
    "subject, explained, jwt-bearer": _at(
        f"{V1}ExplainExchange", places.explained(JWT_GRANT), GRANT, PLAIN_GRANT
    ),
    "origin, id_token": _at(TOKEN, places.subject(ID_TOKEN, DOMAIN, **TRANSACTION), USER),
    "origin, access_token": _at(TOKEN, places.subject(ACCESS_TOKEN, DOMAIN, **TRANSACTION), ACCESS, ISSUED),
    "origin, jwt": _at(TOKEN, places.subject(JWT, DOMAIN, **TRANSACTION), USER, ACCESS, ISSUED),
    "origin, id-jag": _at(TOKEN, places.subject(ID_JAG, DOMAIN, **TRANSACTION)),
    "origin, jwt-bearer": _at(TOKEN, places.subject(JWT_GRANT, DOMAIN, **TRANSACTION)),
    "replaced, txn_token": _at(TOKEN, places.subject(TXN_TOKEN, DOMAIN, **TRANSACTION), TRANSACTIONS),
    "actor, id_token": _at(TOKEN, places.actor(ID_TOKEN), WORKLOAD),
    "actor, access_token": _at(TOKEN, places.actor(ACCESS_TOKEN)),
    "actor, jwt": _at(TOKEN, places.actor(JWT), WORKLOAD),
    "actor, id-jag": _at(TOKEN, places.actor(ID_JAG)),
    "actor, jwt-bearer": _at(TOKEN, places.actor(JWT_GRANT)),
    "actor, txn_token": _at(TOKEN, places.actor(TXN_TOKEN)),
    "actor over gRPC, id_token": _at(f"{V1}ExchangeToken", places.actor_over_grpc(ID_TOKEN), WORKLOAD),
    "actor over gRPC, jwt": _at(f"{V1}ExchangeToken", places.actor_over_grpc(JWT), WORKLOAD),
    "actor over gRPC, id-jag": _at(f"{V1}ExchangeToken", places.actor_over_grpc(ID_JAG)),
    "actor over gRPC, jwt-bearer": _at(f"{V1}ExchangeToken", places.actor_over_grpc(JWT_GRANT)),
    "actor over gRPC, txn_token": _at(f"{V1}ExchangeToken", places.actor_over_grpc(TXN_TOKEN)),
    "grant": _at(TOKEN, places.grant, ASSERTION, GRANT, PLAIN_GRANT),
    "grant for an ID-JAG": _at(TOKEN, places.grant_for(AS)),
    "grant for a plain grant": _at(TOKEN, places.grant_for(CHAINED)),
    "grant for a JWT-SVID": _at(TOKEN, places.grant_for(SVIDS)),
    "grant for a transaction token": _at(TOKEN, places.grant_for(DOMAIN)),
    "DPoP": _at(TOKEN, places.dpop, "a DPoP proof"),
    **{
        f"client at {path}, jwt-bearer": _at(
            f"/oauth2/{path}", places.assertion(BEARER, path), WORKLOAD, SIGNED, TYPED
        )
        for path in ("token", "introspect", "revoke")
    },
    **{
        f"client at {path}, jwt-spiffe": _at(f"/oauth2/{path}", places.assertion(SPIFFE, path), SVID)
        for path in ("token", "introspect", "revoke")
    },
    "client over gRPC, workload": _at(
        f"{V1}ExchangeToken", places.over_grpc("tokenmint-workload-token"), WORKLOAD, SVID
    ),
    "client over gRPC, assertion": _at(
        f"{V1}ExchangeToken", places.over_grpc("tokenmint-client-assertion"), SIGNED, TYPED
    ),
    "gateway at /auth, workload": _at(
        "/auth", places.gateways_credential("tokenmint-workload-token"), WORKLOAD, SVID
    ),
    "gateway at /auth, assertion": _at(
        "/auth", places.gateways_credential("tokenmint-client-assertion"), SIGNED, TYPED
    ),
    "operator over gRPC": _at("/tokenmint.v1.KeyAdminService/ListSigningKeys", places.operator),
    "request at Envoy": _at(places.CHECK, places.envoys_check, USER, ACCESS, ISSUED),
    "request at /auth": _at("/auth", places.auth, USER, ACCESS, ISSUED),
    "request at a sidecar": _at("/auth", places.edge, USER, ACCESS, ISSUED),
    "introspection": _at(INTROSPECT, places.introspection, ISSUED, PLAIN, TRANSACTIONS),
    "introspection over gRPC": _at(
        f"{V1}IntrospectToken", places.introspection_over_grpc, ISSUED, PLAIN, TRANSACTIONS
    ),
    "revocation": _at(REVOKE, places.revocation, ISSUED, PLAIN, TRANSACTIONS),
    "revocation over gRPC": _at(f"{V1}RevokeToken", places.revocation_over_grpc, ISSUED, PLAIN, TRANSACTIONS),
    "signal, pushed": _at(
        "/signals/{provider}", places.signal("application/secevent+jwt"), "a security event"
    ),
    "signal, logout": _at(
        "/signals/{provider}",
        places.signal("application/x-www-form-urlencoded", "logout_token={}"),
        "a logout token",
    ),
    "signal, Apple's": _at(
        "/signals/{provider}", places.signal("application/json", '{{"payload": "{}"}}'), "Apple's notification"
    ),
    "signal, polled": Place(places.poll, frozenset({"a transmitter's security event"})),
    "region, request for its document": _at("", offline.region("document"), "a region's request"),
    "region, request for profiles": _at(
        "", offline.region("profiles", part="all", after=""), "a region's request"
    ),
    "region, document": _at("", offline.read(offline.read_document), "a region's document"),
    "region, page of profiles": _at("", offline.read(offline.read_profiles), "a region's page of profiles"),
    "region, given up": _at("", offline.read(offline.read_statement), "the authority's statement"),
    "verifier of access tokens": _at("", offline.verifier, ISSUED),
    "verifier of transaction tokens": _at("", offline.transaction, TRANSACTIONS),
    "verifier's status list": _at("", offline.status_list, "a status list"),
}  # fmt: skip


def table(found: Mapping[str, Mapping[str, bool]]) -> str:
    """Return the table of places by kinds, with the numbers of accepted ones, as expected and not.

    ``found``: for each place the kinds that were tried, and whether it accepted them.
    """
    kinds = list(dict.fromkeys(kind for tried in found.values() for kind in tried))
    width = max(map(len, found), default=0)
    lines = [f"{number:>3}  {kind}" for number, kind in enumerate(kinds, 1)]
    lines += ["", " " * width + "".join(f"{number:>3}" for number, _ in enumerate(kinds, 1))]
    on = off = 0
    for name, tried in found.items():
        accepted, expected = {kind for kind, taken in tried.items() if taken}, PLACES[name].expected
        marks = (_mark(kind in accepted, kind in expected) for kind in kinds)
        lines.append(f"{name:<{width}}" + "".join(f"{mark:>3}" for mark in marks))
        on, off = on + len(accepted & expected), off + len(accepted - expected)
    size = f"{len(kinds)} kinds of JWT at {len(found)} places"
    return "\n".join([*lines, "", f"{size}: {on} accepted at their places, {off} accepted off the diagonal"])


def _mark(accepted: bool, expected: bool) -> str:
    """Return `x` for a token that is accepted where it has to be, `·` for one that is refused, `!` for a fault."""
    return "!" if accepted is not expected else "x" if accepted else "·"
