"""A JWT of each kind. All are genuine and in force: only their place can be wrong."""

import json
from collections.abc import Mapping
from typing import Any, Final

import jwt
from tests.issuer import ec_key
from tests.jwts.world import (
    AS,
    CHAINED,
    DOMAIN,
    ENDPOINT,
    FIREBASE,
    HERE,
    MESH,
    NEXT,
    PLAIN,
    POD,
    SITE,
    SVIDS,
    THERE,
    World,
    once,
)
from tests.regions import AUTHORITY, ISSUER
from tests.signals import CAEP, LOGOUT
from tests.unit.verification.test_dpop import proof as dpop_proof

from tokenmint.model.tokens import ID_JAG_TYP, JWT_GRANT_TYP, TXN_TOKEN, TXN_TOKEN_TYP
from tokenmint.regions import given_up, identity

TRANSACTION: Final = {"requested_token_type": TXN_TOKEN, "scope": "read"}
OF_FORMATS: Final[Mapping[str, tuple[str, ...]]] = {
    "jwt": ("an issued access token", "an issued one with typ JWT"),
    "id_jag": ("an issued ID-JAG",),
    "jwt_grant": ("an issued plain grant",),
    "spiffe": ("an issued JWT-SVID", "an issued JWT-SVID for us"),
    "txn_token": ("an issued transaction token",),
    "app_service": ("a token for App Service",),
    "firebase": ("a Firebase custom token",),
    "reference": (),  # no JWT
}
"""The kinds that each format mints."""


async def of_providers(world: World) -> dict[str, str]:
    """Return tokens that providers signed, for users, workloads and events."""
    now = world.now()
    work = world.work
    transaction: dict[str, Any] = {"txn": "t", "req_wl": "x", "scope": "read"}
    return {
        "a user's ID token": work(),
        "a user's access token": work("at+jwt"),
        "an ID-JAG": work(ID_JAG_TYP, aud=ISSUER, client_id="web", scope="read"),
        "a plain grant": work(JWT_GRANT_TYP, aud=ISSUER, client_id="web", scope="read"),
        "a plain grant with typ JWT": work(aud=ISSUER),
        "a provider's transaction token": work(TXN_TOKEN_TYP, aud=DOMAIN, **transaction),
        "its transaction token for us": work(TXN_TOKEN_TYP, **transaction),
        "its status list": work("statuslist+jwt", status_list={"bits": 1, "lst": "eNrbuRgAAhcBXQ"}, ttl=60),
        "its introspection answer": work("token-introspection+jwt", token_introspection={"active": True}),
        "a logout token": work("logout+jwt", events={LOGOUT: {}}, sub="another"),
        "a security event": work("secevent+jwt", events={CAEP + "session-revoked": {}}, sub="another"),
        "Apple's notification": work(events=json.dumps({"type": "account-delete", "sub": "another"})),
        "a transmitter's security event": world.sender.issuer.token(
            now, headers={"typ": "secevent+jwt"}, jti=once(), sub="another", exp=None,
            events={CAEP + "session-revoked": {}},
        ),
        "a workload's token": POD.token(now, sub="agent", aud=ISSUER, jti=once()),
        "a JWT-SVID": MESH.token(now, iss=None, sub="spiffe://mesh.example/agent", aud=[ISSUER]),
    }  # fmt: skip


def of_clients(world: World) -> dict[str, str]:
    """Return tokens that a client signed."""
    now = int(world.now())

    def assertion(typ: str | None = None) -> str:
        claims = {"iss": "keys", "sub": "keys", "aud": ISSUER, "iat": now, "exp": now + 60, "jti": once()}
        headers = {"kid": "c"} | ({"typ": typ} if typ else {})
        return jwt.encode(claims, ec_key(5), algorithm="ES256", headers=headers)

    return {
        "a client's assertion": assertion(),
        "a client's typed assertion": assertion("client-authentication+jwt"),
        "a DPoP proof": dpop_proof(jti=once(), htu=ENDPOINT, iat=now).reveal(),
    }


async def of_the_service(world: World) -> dict[str, str]:
    """Return tokens that the service signed."""
    issued = await world.minted(NEXT)
    return {
        "an issued access token": issued,
        "an issued one with typ JWT": await world.minted(PLAIN),
        "an issued ID-JAG": await world.minted(AS),
        "an issued plain grant": await world.minted(CHAINED),
        "an issued JWT-SVID": await world.minted(SVIDS),
        "an issued JWT-SVID for us": await world.minted(ENDPOINT),
        "an issued transaction token": await world.minted(DOMAIN, **TRANSACTION),
        "a token for App Service": await world.minted(SITE),
        "a Firebase custom token": await world.minted(FIREBASE),
        "a status list": (await world.http.get(list_of(issued).removeprefix(ISSUER))).text,
    }


async def of_regions(world: World) -> dict[str, str]:
    """Return texts that regions sign for one another, and the statement of the authority."""
    identities, now = world.regions.identities, int(world.regions.rigs[THERE].clock.now())
    asked = {"iss": ISSUER, "region": THERE, "aud": HERE, "iat": now}
    ours = identities[HERE].sign(identity.REQUEST, {"iss": ISSUER, "region": HERE, "aud": THERE, "iat": now})
    document = await _told(world, "document", ours)
    profiles = await _told(world, "profiles", ours, part="all", after="")
    return {
        "a region's request": identities[THERE].sign(identity.REQUEST, asked),
        "a region's document": document,
        "a region's page of profiles": profiles,
        "the authority's statement": given_up.state(identities[AUTHORITY], ISSUER, "gone", now),
    }


async def _told(world: World, path: str, request: str, **query: str) -> str:
    """Return the other region's answer to a signed request."""
    answer = await world.ask_region(THERE, path, request, **query)
    assert answer.status_code == 200, answer.text
    return answer.text


async def of_all(world: World) -> dict[str, str]:
    """Return a token of each kind."""
    return {
        **await of_providers(world), **of_clients(world), **await of_the_service(world), **await of_regions(world)
    }  # fmt: skip


def list_of(token: str) -> str:
    """Return the URI of the status list that a token names."""
    claims = jwt.decode(token, options={"verify_signature": False})
    uri: str = claims["status"]["status_list"]["uri"]
    return uri
