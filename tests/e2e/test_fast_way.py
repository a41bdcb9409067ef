"""The fast way over each transport: a plain exchange never gets to the full way, and a refusal does."""

import asyncio

import pytest
from tests.both_ways import SMALL, BothWays
from tests.e2e.gateways import check, ours, set_upstream, told
from tests.rig import AUDIENCE, Serve, refusal

from tokenmint.exchange.exchange import TokenExchange
from tokenmint.v1 import profile_admin_service_pb2 as profiles_pb
from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.profile_pb2 import Identity, Profile


async def test_a_plain_exchange_takes_the_fast_way_and_a_refusal_the_full_way(
    serve: Serve, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = f'\n[caches]\nprofiles = 100\n[envoy]\nenabled = true\naudience = "{AUDIENCE}"\n{SMALL}'
    async with serve(cached, transport=transport) as rig:
        profile = Profile(principal="ada", identities=[Identity(provider="idp", subject="1842")])
        await rig.profiles.CreateProfile(profiles_pb.CreateProfileRequest(profile=profile), **rig.auth("root"))
        ways = BothWays(rig)
        asked: list[str] = []
        verify = TokenExchange.verify_subject

        async def counted(self: TokenExchange, *given: object) -> object:
            asked.append("full")
            return await verify(self, *given)  # type: ignore[arg-type]  # as it is called

        monkeypatch.setattr(TokenExchange, "verify_subject", counted)
        plain = pb.ExchangeTokenRequest.FromString(ways.request())
        with ways.in_batches():
            batch, tokens = pb.BatchExchangeTokensRequest.FromString(ways.request()), ways.tokens
        async with asyncio.timeout(60):
            while True:  # the near cache may be emptied again while the machine is busy
                await ways.warm()
                ways.stock()
                asked.clear()
                answer = await rig.exchange.ExchangeToken(plain, **rig.auth("web"))
                assert answer.subject == "ada"
                several = await rig.exchange.BatchExchangeTokens(batch, **rig.auth("web"))
                assert [one.token.subject for one in several.results] == ["ada"] * tokens
                checked = await check(rig, {"authorization": f"Bearer {plain.subject_token}"}, client="web")
                assert ours(set_upstream(checked))["sub"] == "ada"
                if not asked:
                    break
        stale = pb.ExchangeTokenRequest.FromString(ways.request(ways.token(exp=1)))
        assert (await refusal(rig.exchange.ExchangeToken(stale, **rig.auth("web")))).reason == "EXPIRED"
        assert asked == ["full"]
        batch.subject_token = stale.subject_token
        assert (await refusal(rig.exchange.BatchExchangeTokens(batch, **rig.auth("web")))).reason == "EXPIRED"
        assert asked == ["full"] * 2
        checked = await check(rig, {"authorization": f"Bearer {stale.subject_token}"}, client="web")
        assert told(checked) == (401, "EXPIRED")
        assert asked == ["full"] * 3
