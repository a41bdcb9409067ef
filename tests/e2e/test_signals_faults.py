"""Limits of signals, and faults while they are applied. Each service here has its own rules for signals."""

import pytest
from tests import plain_http
from tests.rig import Serve
from tests.signalling import counted, known, push
from tests.signals import CAEP, of, once, secevent

from tokenmint.base.errors import OutcomeUnknown

EVENT = CAEP + "session-revoked"


async def test_a_peer_is_limited_before_anything_is_verified(serve: Serve) -> None:
    limits = "\n[providers.idp.signals]\npeer_rate = { per_second = 0.001, burst = 2 }\n"
    async with serve(limits) as rig, plain_http.client(base_url=rig.url("http", "")) as http:
        answers = [await push(http, "no token") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [400, 400, 429]
        assert int(answers[2].headers["retry-after"]) > 0
        assert counted(rig, "idp", "", "RATE_LIMITED") == 1


async def test_a_repeated_token_uses_up_nothing_of_its_providers_rate(serve: Serve) -> None:
    limits = "\n[providers.idp.signals]\nrate = { per_second = 0.001, burst = 2 }\n"
    async with serve(limits) as rig, plain_http.client(base_url=rig.url("http", "")) as http:
        tokens = [secevent(rig.issuer, rig.clock.now(), CAEP + "risk-level-change") for _ in range(3)]
        for _ in range(5):
            assert (await push(http, tokens[0])).status_code == 202
        assert [(await push(http, token)).status_code for token in tokens[1:]] == [202, 429]


async def test_a_change_that_fails_is_no_success(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve("\n[providers.idp.signals]\n") as rig, plain_http.client(base_url=rig.url("http", "")) as http:
        found = await known(rig, subject := once())
        token = secevent(rig.issuer, rig.clock.now(), EVENT, of(rig.issuer, subject))

        async def unconfirmed(principal: str) -> int:
            raise OutcomeUnknown(detail=principal)

        with monkeypatch.context() as patch:
            patch.setattr(rig.parts.profiles, "revoke_tokens", unconfirmed)
            answer = await push(http, token)
        assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
        assert await found.is_active()
        assert (await push(http, token)).status_code == 202  # it was not consumed
        assert not await found.is_active()


async def test_a_reload_turns_signals_on_and_off(serve: Serve) -> None:
    async with serve() as rig, plain_http.client(base_url=rig.url("http", "")) as http:
        token = secevent(rig.issuer, rig.clock.now(), EVENT)
        before = rig.config.read_text()
        assert (await push(http, token)).status_code == 404
        rig.config.write_text(before + "\n[providers.idp.signals]\n")
        await rig.app.reload(rig.settings())
        assert (await push(http, token)).status_code == 202
        rig.config.write_text(before)
        await rig.app.reload(rig.settings())
        assert (await push(http, token)).status_code == 404
