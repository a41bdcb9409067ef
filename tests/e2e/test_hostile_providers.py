"""A provider that is away or hostile, and a service that goes on: what its callers are told, what the others get."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator

import grpc
import pytest
from tests import plain_http
from tests.fakes import FakeClock
from tests.issuer import Issuer, serving
from tests.rig import LEGACY_AUDIENCE, Rig, Serve, refusal

from tokenmint.model.tokens import ID_TOKEN
from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.verification.keyset import RETRY_WANTED

GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
EXTRA = """
[oauth]
enabled = true

[providers.other]
issuer = "{url}"
audiences = ["app"]
allow_private = true

[clients.theirs]
jwks_url = "{url}/jwks.json"
allow_private = true
"""


@pytest.fixture
async def rig(serve: Serve, clock: FakeClock, other: Issuer) -> AsyncIterator[Rig]:
    extra = EXTRA.format(url=other.url)
    async with serve(extra) as service:
        assert isinstance(clock, FakeClock)
        key_sets = service.parts.exchange.verifier.key_sets
        async with asyncio.timeout(60):
            while not key_sets.ready("idp") or key_sets.status("idp").last_error:  # a busy machine is late
                clock.advance(RETRY_WANTED)
                await key_sets._fetch_once("idp", key_sets._states["idp"])
        yield service


@pytest.fixture
def other() -> Iterator[Issuer]:
    """A second provider, over real HTTP."""
    with serving(Issuer(key_id="k2")) as running_issuer:
        yield running_issuer


def ask(rig: Rig, issuer: Issuer) -> pb.ExchangeTokenRequest:
    return pb.ExchangeTokenRequest(subject_token=issuer.token(rig.clock.now()), audience=LEGACY_AUDIENCE)


async def test_a_new_kid_while_the_provider_is_away_is_unavailable_with_a_delay(rig: Rig) -> None:
    assert isinstance(rig.clock, FakeClock)
    rig.issuer.key_id = "new"
    rig.issuer.status = 503
    told = await refusal(rig.exchange.ExchangeToken(ask(rig, rig.issuer), **rig.auth("web")))
    assert (told.code, told.reason) == (grpc.StatusCode.UNAVAILABLE, "KEY_SET_UNAVAILABLE")
    assert told.details == ("RetryInfo",)
    rig.issuer.status = 200
    rig.clock.advance(1)  # the delay that was named
    assert (await rig.exchange.ExchangeToken(ask(rig, rig.issuer), **rig.auth("web"))).token


async def test_a_malformed_key_set_is_a_failed_precondition_without_a_delay(rig: Rig) -> None:
    assert isinstance(rig.clock, FakeClock)
    rig.issuer.key_id = "new"
    rig.issuer.documents["/jwks.json"] = b"<html>"
    told = await refusal(rig.exchange.ExchangeToken(ask(rig, rig.issuer), **rig.auth("web")))
    assert (told.code, told.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "KEY_SET_INVALID")
    assert told.details == ()
    secret = rig.secrets["web"].reveal()
    form = {
        "grant_type": GRANT, "client_id": "web", "client_secret": secret, "audience": LEGACY_AUDIENCE,
        "subject_token": rig.issuer.token(rig.clock.now()), "subject_token_type": ID_TOKEN,
    }  # fmt: skip
    async with plain_http.client() as http:
        answer = await http.post(rig.url("http", "/oauth2/token"), data=form)
    assert (answer.status_code, answer.json()["reason"]) == (502, "KEY_SET_INVALID")
    assert "retry-after" not in answer.headers
    del rig.issuer.documents["/jwks.json"]
    rig.clock.advance(RETRY_WANTED)
    assert (await rig.exchange.ExchangeToken(ask(rig, rig.issuer), **rig.auth("web"))).token


@pytest.mark.parametrize(
    ("status", "headers", "document"),
    [
        (302, {"Location": "http://[::1"}, None),
        (302, {"Location": "http://127.0.0.1:99999/"}, None),
        (302, {"Location": ""}, None),
        (302, {"Location": "/\xfc"}, None),
        (200, {"ETag": '"\xe9\xff"'}, None),
        (200, {"Cache-Control": "max-age=" + "9" * 5000, "Age": "9" * 5000}, None),
        (200, {}, "https://[::1"),
        (200, {}, "https://idp.example:99999/"),
        (200, {}, "https://a..b/"),
    ],
)
async def test_one_answer_of_one_provider_does_not_end_the_service(
    rig: Rig, other: Issuer, status: int, headers: dict[str, str], document: str | None
) -> None:
    """Nor what a client's own `jwks_url` answers."""
    other.status, other.headers = status, headers
    if document is not None:
        discovery = json.dumps({"issuer": other.url, "jwks_uri": document}).encode()
        other.documents["/.well-known/openid-configuration"] = discovery
    asked = len(other.requests)
    for key_sets in (rig.parts.exchange.verifier.key_sets, rig.parts.rules.authenticator.assertions.key_sets):
        for name in ("other", "theirs"):
            if name in key_sets._states:
                await asyncio.wait_for(key_sets._fetch_once(name, key_sets._states[name]), 20)
                await asyncio.wait_for(key_sets._fetch_once(name, key_sets._states[name]), 20)
    assert len(other.requests) > asked
    assert not [task for task in rig.app.reloads.following if task.done()]
    assert (await rig.exchange.ExchangeToken(ask(rig, rig.issuer), **rig.auth("web"))).token
