"""Scenarios about our own keys, in which both ways have to agree."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import jwt
from tests.both_ways import BothWays
from tests.rig import LEGACY_AUDIENCE
from tests.unit.fast.replaced import replaced

from tokenmint.base.errors import SignerUnavailable
from tokenmint.v1 import key_admin_service_pb2 as keys_pb


async def signatures_that_take_a_thread(ways: BothWays) -> None:
    """A token with RSA is signed in a thread, and its signature is good."""
    request = ways.request(audience=LEGACY_AUDIENCE)
    await ways.check(request, recognised=True)
    waited = ways.waited
    found = await ways.by_fast(request, ways.metadata())
    assert found.answer is not None
    assert ways.waited > waited
    published = ways.rig.parts.signing_keys.published_key(found.answer.key_id)
    assert published is not None
    assert is_signed(found.answer.token, published.public_jwk)

    async def out_of_reach(*_: object) -> bytes:
        raise SignerUnavailable

    signer = ways.rig.parts.signing_keys.signer("RS256")
    opened = ways.rig.parts.signing_keys._opened
    with replaced(opened, "_signing", opened._signing | {"RS256": Remote(signer.key_id, "RS256", out_of_reach)}):
        outcome = await ways.check(request, recognised=False)
        assert outcome.answer is None
    with replaced(opened, "_signing", opened._signing | {"RS256": Remote(signer.key_id, "RS256", signer.sign)}):
        await ways.check(request, recognised=True)


def is_signed(token: str, public_jwk: Mapping[str, str]) -> bool:
    """Whether a token has a good signature with RS256."""
    try:
        jwt.PyJWS().decode(token, jwt.PyJWK.from_dict({**public_jwk, "alg": "RS256"}), ["RS256"])
    except jwt.InvalidSignatureError:
        return False
    return True


@dataclass(frozen=True)
class Remote:
    """A key in another machine."""

    key_id: str
    algorithm: str
    sign: Callable[[bytes], Awaitable[bytes]]


async def our_keys_change(ways: BothWays) -> None:
    """The token is signed by the key that signs now: after a rotation by the new one, whose id its header has."""
    rig = ways.rig
    request = ways.request()
    first = await ways.check(request, recognised=True)
    rotate = keys_pb.RotateSigningKeyRequest(algorithm="ES256", force=True)
    await rig.keys.RotateSigningKey(rotate, **rig.auth("root"))
    second = await ways.check(request, recognised=True)
    assert first.answer is not None
    assert second.answer is not None
    assert first.answer.key_id != second.answer.key_id
    rig_revoke = keys_pb.RevokeSigningKeyRequest(key_id=second.answer.key_id, reason="a test")
    await rig.keys.RevokeSigningKey(rig_revoke, **rig.auth("root"))
    third = await ways.check(request)
    assert third.answer is None or third.answer.key_id != second.answer.key_id
