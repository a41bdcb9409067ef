"""Persons whose providers send signals, and the delivery of these over HTTP."""

import httpx2
from tests.issuer import Issuer
from tests.rig import AUDIENCE, Rig, person, refusal
from tests.signals import SECEVENT

from tokenmint.v1.token_exchange_service_pb2 import IntrospectTokenRequest


class Person:
    """Somebody who has a profile, or has none, and holds a token that was minted before any signal."""

    def __init__(self, rig: Rig, subject: str, audience: str = AUDIENCE, issuer: Issuer | None = None) -> None:
        self.rig, self.subject, self.audience = rig, subject, audience
        self.issuer = issuer or rig.issuer
        self.minted = ""

    async def exchange(self) -> str:
        token = self.issuer.token(self.rig.clock.now(), sub=self.subject, email="a@example.com")
        request = self.rig.request(token, self.audience)
        return (await self.rig.exchange.ExchangeToken(request, **self.rig.auth("web"))).token

    async def refused(self) -> str:
        token = self.issuer.token(self.rig.clock.now(), sub=self.subject, email="a@example.com")
        request = self.rig.request(token, self.audience)
        return (await refusal(self.rig.exchange.ExchangeToken(request, **self.rig.auth("web")))).reason

    async def is_active(self) -> bool:
        answer = await self.rig.exchange.IntrospectToken(
            IntrospectTokenRequest(token=self.minted), **self.rig.auth("web")
        )
        return answer.active


async def known(rig: Rig, subject: str, audience: str = AUDIENCE, issuer: Issuer | None = None, provider: str = "idp"
                ) -> Person:  # fmt: skip
    profile = person(f"p-{subject}", subject)
    profile.identities[0].provider = provider
    await rig.create(profile)
    return await signed_in(rig, subject, audience, issuer)


async def signed_in(rig: Rig, subject: str, audience: str, issuer: Issuer | None = None) -> Person:
    found = Person(rig, subject, audience, issuer)
    found.minted = await found.exchange()
    assert await found.is_active()
    return found


async def push(http: httpx2.AsyncClient, token: str, provider: str = "idp", **headers: str) -> httpx2.Response:
    return await http.post(f"/signals/{provider}", content=token, headers=SECEVENT | headers)


def counted(rig: Rig, provider: str, event: str, outcome: str) -> float:
    found = rig.base.metrics.registry.get_sample_value(
        "tokenmint_signals_total", {"provider": provider, "event": event, "outcome": outcome}
    )
    return found or 0.0
