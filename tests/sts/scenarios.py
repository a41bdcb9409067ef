"""The eight scenarios of MCP's enterprise-managed authorization, written from the text of the extension.

The text is specification/stable/enterprise-managed-authorization.mdx of `modelcontextprotocol/ext-auth`. Each function
is one scenario, with the sections that it tries, against `home` (the identity provider's server) and `away` (the MCP
server's).
"""

import time
from collections.abc import Callable
from typing import Any, Final

import httpx2
import jwt
from tests.issuer import ec_key, rsa_key
from tests.sts.clients import verified
from tests.sts.table import Outcome
from tests.sts.world import World

from tokenmint.model.tokens import ID_JAG, ID_JAG_TYP

Scenario = Callable[[World], None]


def the_profile_is_discovered(live: World) -> None:
    """Section 6."""
    for server in ("home", "away"):
        document = live.http.get(f"{live.urls[server]}/.well-known/oauth-authorization-server").json()
        assert "urn:ietf:params:oauth:grant-profile:id-jag" in document["authorization_grant_profiles_supported"]
        assert document["token_endpoint"].startswith("https://")


def an_id_token_becomes_an_id_jag(live: World) -> None:
    """Sections 4, 4.2 and 4.3."""
    answer = live.leg_one(audience=live.urls["away"])
    body = answer.json()
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store"), body
    assert (body["issued_token_type"], body["token_type"], body["scope"]) == (ID_JAG, "N_A", "tools.call")
    claims = verified(body["access_token"], "home", live, typ=ID_JAG_TYP)
    expected = {"aud": live.urls["away"], "resource": live.urls["mcp"], "client_id": "mcp-client", "sub": "ada"}
    assert {name: claims[name] for name in expected} == expected
    assert claims["exp"] - claims["iat"] <= 300
    assert "email" not in claims  # section 7.4.3: no more than is needed
    without = live.leg_one(audience=live.urls["away"], resource="").json()
    assert "resource" not in verified(without["access_token"], "home", live, typ=ID_JAG_TYP)


def policy_decides_at_the_identity_provider(live: World) -> None:
    """Sections 4.1, 7.2.1, 7.6.1 and 7.7."""
    away, mcp = live.urls["away"], live.urls["mcp"]
    for case, form, error in (
        ("audience and resource are no pair", {"resource": live.resource("mcp_server")}, "invalid_target"),
        ("an unknown server", {"audience": "https://evil.example", "resource": ""}, "invalid_target"),
        ("an unknown resource", {"resource": "https://evil.example"}, "invalid_target"),
        ("a scope that policy does not grant", {"scope": "tools.admin"}, "invalid_scope"),
        ("an unauthenticated client", {"client_secret": ""}, "invalid_client"),
        ("a wrong secret", {"client_secret": "tms_wrong"}, "invalid_client"),
        ("a user of another audience", {"subject_token": live.user(aud="somebody")}, "invalid_request"),
        ("a user who has left", {"subject_token": live.user(exp=int(time.time()) - 400)}, "invalid_request"),
    ):
        _refused(live.leg_one(**{"audience": away, "resource": mcp, **form}), error, case)


def an_id_jag_becomes_an_access_token(live: World) -> None:
    """Sections 5, 5.1 and 5.2."""
    answer = live.leg_two(live.id_jag())
    body = answer.json()
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store"), body
    assert (body["token_type"], body["scope"]) == ("Bearer", "tools.call")
    assert "refresh_token" not in body
    claims = verified(body["access_token"], "away", live, typ="at+jwt")
    assert (claims["aud"], claims["sub"], claims["client_id"]) == (live.urls["mcp"], "ada.at.mcp", "mcp-client")


def scopes_are_the_intersection(live: World) -> None:
    """Sections 7.2.1 and 7.6.2."""
    for granted, requested, expected in (
        ("tools.call tools.list", "tools.list", "tools.list"), ("tools.call tools.list", "", "tools.call tools.list"),
        ("tools.call tools.admin", "", "tools.call"), (None, "", None),
    ):  # fmt: skip
        body = live.leg_two(_signed(live, scope=granted), scope=requested).json()
        assert body.get("scope") == expected, (granted, requested, body)
    _refused(live.leg_two(_signed(live, scope="tools.list"), scope="tools.call"), "invalid_scope", "wider")
    _refused(live.leg_two(_signed(live, scope="tools.admin")), "invalid_grant", "no scope of the server")


def forged_assertions_are_refused(live: World) -> None:
    """Section 7.4.1."""
    claims = live.foreign()
    header = {"typ": ID_JAG_TYP, "kid": "a"}
    good = _signed(live)
    assert live.leg_two(good).status_code == 200
    for case, token in (
        ("alg none", jwt.encode(claims, "", algorithm="none", headers=header)),
        ("another key", jwt.encode(claims, ec_key(9), algorithm="ES256", headers=header)),
        ("another algorithm", jwt.encode(claims, rsa_key(5), algorithm="RS256", headers=header)),
        ("a changed signature", good[:-8] + "AAAAAAAA"),
        ("another type", _signed(live, header={"typ": "JWT"})),
        ("an ID token", live.user()),
        ("no such issuer", _signed(live, iss="https://evil.example")),
        ("no subject", _signed(live, sub=None)),
        ("a user whom the server does not know", _signed(live, sub="mallory")),
        ("a user who is disabled there", _signed(live, sub="eve")),
        ("another server", _signed(live, aud=live.urls["home"])),
        ("two servers", _signed(live, aud=[live.urls["away"], live.urls["home"]])),
    ):
        _refused(live.leg_two(token), "invalid_grant", case)


def an_assertion_is_used_once_while_it_is_in_force_by_its_client(live: World) -> None:
    """Sections 7.4.2, 7.5.1 and 7.7."""
    token, now = live.id_jag(), int(time.time())
    assert live.leg_two(token).status_code == 200
    _refused(live.leg_two(token), "invalid_grant", "again")
    for case, changes in (
        ("over", {"iat": now - 600, "exp": now - 300}), ("from the future", {"iat": now + 600, "exp": now + 900}),
        ("long-lived", {"exp": now + 7200}), ("without exp", {"exp": None}), ("without iat", {"iat": None}),
        ("without jti", {"jti": None}), ("for another client", {"client_id": "other"}),
    ):  # fmt: skip
        _refused(live.leg_two(_signed(live, **changes)), "invalid_grant", case)
    _refused(live.leg_two(live.id_jag(), client_id="other"), "invalid_grant", "another client")
    _refused(live.leg_two(live.id_jag(), client_secret=""), "invalid_client", "an unauthenticated client")


def audience_and_resource_are_a_pair(live: World) -> None:
    """Sections 4.3, 7.4.1 and 7.6.2: what does not match is `invalid_grant`."""
    for case, resource in (
        ("the resource of another server", live.resource("mcp_server")), ("no resource of ours", "https://evil.example"),
        ("one of ours and another", [live.urls["mcp"], "https://evil.example"]), ("no text", 5),
    ):  # fmt: skip
        _refused(live.leg_two(_signed(live, resource=resource)), "invalid_grant", case)
    _refused(
        live.leg_two(_signed(live), resource="https://evil.example"), "invalid_target", "the client's own resource"
    )


SCENARIOS: Final[tuple[Scenario, ...]] = (
    the_profile_is_discovered,
    an_id_token_becomes_an_id_jag,
    policy_decides_at_the_identity_provider,
    an_id_jag_becomes_an_access_token,
    scopes_are_the_intersection,
    forged_assertions_are_refused,
    an_assertion_is_used_once_while_it_is_in_force_by_its_client,
    audience_and_resource_are_a_pair,
)


def outcomes(live: World) -> list[Outcome]:
    """Play every scenario."""
    played = []
    for scenario in SCENARIOS:
        fault = ""
        try:
            scenario(live)
        except (AssertionError, KeyError, ValueError, httpx2.HTTPError, jwt.PyJWTError) as error:
            fault = f"{type(error).__name__}: {error}"
        sections = " ".join((scenario.__doc__ or "").split(":")[0].split()).rstrip(".")
        played.append(
            Outcome("MCP enterprise-managed authorization", scenario.__name__.replace("_", " "), fault, sections)
        )
    return played


def _signed(live: World, header: dict[str, str] | None = None, **changes: Any) -> str:
    """An ID-JAG of the other identity provider."""
    claims = live.foreign(**changes)
    return jwt.encode(claims, ec_key(6), algorithm="ES256", headers={"typ": ID_JAG_TYP, "kid": "a", **(header or {})})


def _refused(answer: httpx2.Response, error: str, case: str) -> None:
    body = answer.json()
    assert (answer.status_code, body["error"]) == (401 if error == "invalid_client" else 400, error), (case, body)
    assert "access_token" not in body, case
