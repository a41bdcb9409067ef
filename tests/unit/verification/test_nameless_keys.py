"""Rollover of keys that tokens do not name: a new key is found without waiting for the next refresh."""

import json
from typing import Any

import jwt
import pytest
from tests.fakes import FakeClock
from tests.issuer import Issuer, PrivateKey, ec_key, jwk, rsa_key
from tests.unit.verification.fetching import URL, FakeFetch
from tests.unit.verification.proving import IDP, ME, NOW

from tokenmint.base.errors import KeySetUnavailable
from tokenmint.base.token_errors import AlgorithmNotAllowed, BadSignature
from tokenmint.config.providers import provider_from_table
from tokenmint.model.secret import Secret
from tokenmint.model.tokens import ID_TOKEN
from tokenmint.verification.key_source import FetchFailed
from tokenmint.verification.keyset import UNKNOWN_KEY_INTERVAL, KeySets
from tokenmint.verification.verifier import Verifier

CLAIMS = Issuer().claims(NOW)


def key_set(*members: dict[str, Any]) -> bytes:
    return json.dumps({"keys": members}).encode()


def signed(key: PrivateKey, **header: object) -> Secret:
    algorithm = "ES256" if key == ec_key() else "RS256"
    return Secret(jwt.encode(CLAIMS, key, algorithm=algorithm, headers=header))


class Rollover:
    """A verifier of one provider, whose key set the test replaces."""

    def __init__(self, *members: dict[str, Any]) -> None:
        self.clock = FakeClock(NOW)
        self.fetch = FakeFetch(key_set(*members))
        table = {"issuer": IDP.url, "audiences": ["app"], "jwks_url": URL}
        provider = provider_from_table("idp", table, own_issuer=ME)
        sets = KeySets({"idp": provider.key_source}, fetch=self.fetch, clock=self.clock)
        self.verifier = Verifier({"idp": provider}, sets, own_issuer=ME)

    async def verify(self, token: Secret, *, fetch: bool = True) -> str:
        return (await self.verifier.verify(token, ID_TOKEN, nonce=None, now=NOW, fetch=fetch)).subject


OLD, NEW = rsa_key(0), rsa_key(1)


@pytest.mark.parametrize(
    ("before", "after", "header"),
    [
        ([jwk(OLD)], [jwk(NEW)], {}),
        ([jwk(OLD)], [jwk(NEW)], {"kid": "any"}),
        ([jwk(OLD)], [jwk(NEW)], {"x5t": "any"}),
        ([jwk(OLD, kid="a")], [jwk(NEW, kid="b")], {}),
        ([jwk(OLD, kid="a"), jwk(OLD, kid="b")], [jwk(OLD, kid="b"), jwk(NEW, kid="c")], {}),
        ([jwk(OLD)], [jwk(OLD), jwk(NEW, kid="b")], {"kid": "b"}),
    ],
    ids=["no name", "any kid", "any x5t", "named keys, nameless token", "several keys", "the new key has a name"],
)
async def test_a_replaced_key_is_found_with_the_first_token_that_it_signs(
    before: list[dict[str, Any]], after: list[dict[str, Any]], header: dict[str, object]
) -> None:
    rollover = Rollover(*before)
    assert await rollover.verify(signed(OLD))
    rollover.fetch.serve(key_set(*after))
    assert await rollover.verify(signed(NEW, **header))
    assert len(rollover.fetch.asked) == 2


async def test_a_key_of_another_type_replaces_a_nameless_one() -> None:
    rollover = Rollover(jwk(OLD))
    assert await rollover.verify(signed(OLD))
    rollover.fetch.serve(key_set(jwk(ec_key())))
    assert await rollover.verify(signed(ec_key()))
    with pytest.raises(AlgorithmNotAllowed):
        await rollover.verify(signed(OLD))
    several = Rollover(jwk(OLD), jwk(NEW))
    assert await several.verify(signed(OLD))
    several.fetch.serve(key_set(jwk(ec_key())))
    assert await several.verify(signed(ec_key()))


async def test_forged_tokens_cause_one_fetch_in_30_s_and_keep_no_good_one_out() -> None:
    rollover = Rollover(jwk(OLD))
    for _ in range(50):
        with pytest.raises(BadSignature):
            await rollover.verify(signed(rsa_key(2)))
    assert len(rollover.fetch.asked) == 2  # the first one, and one look
    rollover.fetch.serve(key_set(jwk(NEW)))
    with pytest.raises(BadSignature):
        await rollover.verify(signed(NEW))
    rollover.clock.advance(UNKNOWN_KEY_INTERVAL)
    assert await rollover.verify(signed(NEW))
    assert len(rollover.fetch.asked) == 3


async def test_a_key_that_the_token_names_is_not_looked_for_again() -> None:
    rollover = Rollover(jwk(OLD, kid="a", x5t="A"))
    for header in ({"kid": "a"}, {"x5t": "A"}):
        with pytest.raises(BadSignature):
            await rollover.verify(signed(NEW, **header))
    assert len(rollover.fetch.asked) == 1


async def test_a_look_that_fails_leaves_the_question_open() -> None:
    rollover = Rollover(jwk(OLD))
    assert await rollover.verify(signed(OLD))
    rollover.fetch.answer = FetchFailed("away")
    with pytest.raises(KeySetUnavailable):
        await rollover.verify(signed(NEW))
    assert await rollover.verify(signed(OLD))


async def test_a_dry_run_fetches_nothing() -> None:
    rollover = Rollover(jwk(OLD))
    assert await rollover.verify(signed(OLD))
    rollover.fetch.serve(key_set(jwk(NEW)))
    with pytest.raises(BadSignature):
        await rollover.verify(signed(NEW), fetch=False)
    assert len(rollover.fetch.asked) == 1
