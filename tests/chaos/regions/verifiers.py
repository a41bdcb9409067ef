"""Verifiers that follow one region each, and look for no kid that they lack."""

import re
import time
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx2
import jwt
from tests.chaos.regions.ledger import Acceptance, Ledger, Refusal, Token
from tests.chaos.regions.plan import AUDIENCE, ISSUER, LOST


@dataclass
class Verifier:
    """PyJWT with a key set that is kept for as long as its headers say, or for C and without regard to them."""

    name: str
    follows: str
    place: str
    """The address of the region's HTTP listener."""
    fixed: bool
    ledger: Ledger
    http: httpx2.AsyncClient
    keys: dict[str, Any] = field(default_factory=dict)
    asked: float = 0.0
    until: float = 0.0

    async def verify(self, tokens: list[Token]) -> None:
        """Verify tokens with a key set that may still be used."""
        if time.time() >= self.until and not await self._fetch():
            return
        for token in tokens:
            now = time.time()
            if now >= self.until:
                return
            if now < token.expires - 0.5:
                self._verify(token, now)

    def _verify(self, token: Token, now: float) -> None:
        self.ledger.verifications[self.name] += 1
        key = self.keys.get(token.key_id)
        if key is None:
            self._refuse(token, now, "unknown kid")
            return
        try:
            jwt.decode(token.text, key, algorithms=["ES256"], audience=AUDIENCE, issuer=ISSUER)
        except jwt.ExpiredSignatureError:
            return
        except jwt.InvalidTokenError as error:
            self._refuse(token, now, type(error).__name__)
            return
        if token.region == LOST and self.follows in self.ledger.given_up:
            self.ledger.accepted.append(Acceptance(self.name, self.follows, now))

    def _refuse(self, token: Token, now: float, reason: str) -> None:
        self.ledger.refusals.append(Refusal(self.name, self.follows, token, now, self.asked, reason))

    async def _fetch(self) -> bool:
        asked = time.time()
        try:
            answer = await self.http.get(f"http://{self.place}/.well-known/jwks.json")
        except httpx2.HTTPError:
            return False
        if answer.status_code != 200:
            return False
        found = re.search(r"max-age=(\d+)", answer.headers["cache-control"])
        assert found is not None
        self.keys = {key["kid"]: jwt.PyJWK(key) for key in answer.json()["keys"]}
        self.asked, self.until = (
            asked,
            asked + (self.ledger.pace.schedule.verifier_cache if self.fixed else float(found[1])),
        )
        return True


def sample(tokens: list[Token], random: Random, count: int) -> list[Token]:
    """Return the newest tokens, and some of the others that may still be valid."""
    newest = tokens[-count // 2 :]
    return [*newest, *(random.choice(tokens) for _ in range(count - len(newest)))] if tokens else []
