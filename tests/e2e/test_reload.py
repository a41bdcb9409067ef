"""A reload while calls are on their way: each is judged by one configuration from end to end."""

import asyncio
import threading

import pytest
from tests.fakes import FakeClock
from tests.issuer import Issuer, serving
from tests.rig import LEGACY_AUDIENCE, Rig, Serve, refusal

from tokenmint.base.errors import ConfigurationError
from tokenmint.v1 import token_exchange_service_pb2 as pb

AUDIENCE = "https://conditional.example"
EXTRA = """
[audiences."https://conditional.example"]
clients = ["web"]
providers = ["idp", "other"]
on_missing_profile = "without"

[providers.other]
issuer = "{url}"
audiences = ["app"]
allow_private = true
condition = "assertion.email_verified == true"
"""


async def until_asked(other: Issuer, times: int) -> None:
    async with asyncio.timeout(20):
        while len(other.requests) < times:  # noqa: ASYNC110  # what is awaited comes over HTTP
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("gone", ["provider", "audience"])
async def test_a_provider_or_an_audience_that_goes_meanwhile_takes_no_check_along(
    serve: Serve, clock: FakeClock, gone: str
) -> None:
    with serving(Issuer(key_id="k2")) as other:
        extra = EXTRA.format(url=other.url)
        async with serve(extra) as rig:

            def ask(jti: str) -> pb.ExchangeTokenRequest:
                token = other.token(clock.now(), email_verified=False, jti=jti)
                return pb.ExchangeTokenRequest(subject_token=token, audience=AUDIENCE)

            told = await refusal(rig.exchange.ExchangeToken(ask("1"), **rig.auth("web")))
            assert told.reason == "CONDITION_DENIED"
            before = len(other.requests)
            other.key_id, other.gate = "k3", threading.Event()  # so that it has to wait for the provider's keys
            call = asyncio.ensure_future(refusal(rig.exchange.ExchangeToken(ask("2"), **rig.auth("web"))))
            await until_asked(other, before + 1)
            await reload_without(rig, gone)
            other.gate.set()
            assert (await call).reason == "CONDITION_DENIED"
            other.gate = None
            told = await refusal(rig.exchange.ExchangeToken(ask("3"), **rig.auth("web")))
            assert told.reason in ("UNKNOWN_ISSUER", "AUDIENCE_UNKNOWN", "AUDIENCE_DENIED")


@pytest.mark.parametrize("left", ["", "# a comment\n", "[limits]\nwatch_streams = 5\n"])
async def test_a_file_that_was_emptied_takes_nobodys_access_away(rig: Rig, left: str) -> None:
    """A disk that is full leaves an empty file, or the beginning of one."""
    before = rig.config.read_text()
    rig.config.write_text(left)
    with pytest.raises(ConfigurationError, match="no providers, audiences, clients and operators at all"):
        await rig.app.reload(rig.settings())
    ask = pb.ExchangeTokenRequest(subject_token=rig.issuer.token(rig.clock.now()), audience=LEGACY_AUDIENCE)
    assert (await rig.exchange.ExchangeToken(ask, **rig.auth("web"))).token
    rig.config.write_text(before)
    await rig.app.reload(rig.settings())


async def reload_without(rig: Rig, gone: str) -> None:
    text = rig.config.read_text()
    start = text.index(f'[audiences."{AUDIENCE}"]')
    if gone == "provider":
        text = text[: text.index("[providers.other]")].replace('["idp", "other"]', '["idp"]')
    else:
        text = text[:start] + text[text.index("[providers.other]") :]
    rig.config.write_text(text)
    await rig.app.reload(rig.settings())
