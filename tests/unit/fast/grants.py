"""Scenarios about requests whose meaning the configuration completes, and about grants, which are used up."""

import base64
from typing import Any

from tests.both_ways import SVID_AUDIENCE, BothWays
from tests.rig import AUDIENCE
from tests.unit.fast.once import once

from tokenmint.model.tokens import ID_JAG, ID_JAG_TYP, TXN_TOKEN

DOMAIN = """
[audiences."trust-domain.example"]
clients = ["web"]
providers = ["idp"]
scopes = ["read"]
reexchange_from = ["trust-domain.example"]
[audiences."trust-domain.example".txn_token]
subject_scopes = "'read'"
"""


async def requests_that_are_completed(ways: BothWays) -> None:
    """A client's default audience and foreign scopes that are dropped make a plain request."""
    nothing, foreign = ways.request(audience=""), ways.request(scopes=["openid", "read"])
    for request in (nothing, foreign):
        await ways.check(request, recognised=False)
    async with ways.with_text("[clients.web]\n", f'[clients.web]\naudience = "{AUDIENCE}"\n'):
        for _ in range(2):
            outcome = await ways.check(nothing, recognised=True)
            assert {event["audience"] == AUDIENCE or AUDIENCE in event["audience"] for event in outcome.events} == {
                True
            }
        await ways.check(foreign, recognised=False)
    async with ways.with_text('max_lifetime = "1h"', 'max_lifetime = "1h"\nunknown_scopes = "drop"'):
        for _ in range(2):
            outcome = await ways.check(foreign, recognised=True)
            assert {scope for answer in outcome.answers for scope in answer.scopes} <= {"read", "write"}
        await ways.check(ways.request(scopes=["openid"]), recognised=False)
        await ways.check(nothing, recognised=False)


async def grants_that_are_used_once(ways: BothWays) -> None:
    """An ID-JAG takes the full way, even if it would pass every check of the fast way."""
    rig, issuer = ways.rig, ways.rig.base.issuer
    await ways.check(recognised=True)
    taken = f'audiences = ["app", "{issuer}"]\ntoken_types = ["id_token", "id_jag"]\n'
    async with ways.with_text('audiences = ["app"]\n', taken):
        for _ in range(2):  # a plan would be made at the first
            claims = {"aud": issuer, "client_id": "web", "jti": once(), "scope": "read"}
            token = rig.issuer.token(rig.clock.now(), headers={"typ": ID_JAG_TYP}, email="ada@example.com", **claims)
            request = ways.request(token, subject_token_type=ID_JAG)
            assert (await ways.by_fast(request, ways.metadata())).nothing


async def svids_take_the_full_way(ways: BothWays) -> None:
    """A JWT-SVID has other claims than a JWT, so no plan of the fast way mints it."""
    for _ in range(2):  # a plan would be made at the first
        outcome = await ways.check(ways.request(audience=SVID_AUDIENCE), recognised=False)
        assert outcome.answers


async def transactions(ways: BothWays) -> None:
    """A transaction token takes the full way; so does its replacement, and a request with the parameters of one."""
    await ways.check(recognised=True)
    async with ways.with_text('[audiences."https://legacy', DOMAIN + '[audiences."https://legacy'):
        named: dict[str, Any] = {
            "audience": "trust-domain.example",
            "scopes": ["read"],
            "requested_token_type": TXN_TOKEN,
        }
        for _ in range(2):  # a plan would be made at the first
            outcome = await ways.check(ways.request(**named), recognised=False)
            assert outcome.answer is not None
            assert outcome.answer.token_type == "N_A"
        await ways.check(ways.request(**(named | {"scopes": []})), recognised=False)
        if ways.batch:
            return
        assert outcome.answer is not None
        replaced = ways.request(outcome.answer.token, subject_token_type=TXN_TOKEN, **named)
        assert (await ways.check(replaced, recognised=False)).answer is not None
        details = ways.request(request_details='{"a":1}', **named)
        assert (await ways.check(details, recognised=False)).answer is not None
    if not ways.batch:
        for parameter in ("request_context", "request_details"):
            empty: dict[str, Any] = {parameter: "{}"}
            refused = ways.request(**empty)
            assert (await ways.check(refused, recognised=False)).answer is None


async def tokens_that_are_in_a_status_list(ways: BothWays) -> None:
    """Their record has to be durable before they are answered, so the full way mints them."""
    before = ways.rig.config.read_text()
    try:
        await ways.configure(before.replace('max_lifetime = "1h"', 'max_lifetime = "1h"\nstatus_list = true'))
        outcome = await ways.check(recognised=False)
        assert outcome.answer is not None
        payload = outcome.answer.token.split(".")[1]
        assert b'"status_list"' in base64.urlsafe_b64decode(payload + "==")
    finally:
        await ways.configure(before)
        await ways.warm()
