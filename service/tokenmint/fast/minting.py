"""Minting on the fast way: a JWT from the parts of its plan, its principal's claims and its subject token."""

from collections.abc import Mapping
from typing import NamedTuple

import orjson

from tokenmint.base.encoding import encode_segment
from tokenmint.fast.people import Person
from tokenmint.fast.plans import Plan, header_of
from tokenmint.formats.format import TOKEN_ID_BYTES
from tokenmint.keys.signers.types import Signer
from tokenmint.model.tokens import JsonValue, at_path


class Proved(NamedTuple):
    """A verified subject token."""

    provider: str
    subject: str
    issued_at: int
    claims: Mapping[str, JsonValue]
    digest: str
    """SHA-256 of the token in hex."""
    signed: tuple[str, str]
    """The provider, and the thumbprint of its key."""
    second: int
    """The time of its verification, and of the minted token."""


class Unsigned(NamedTuple):
    """A token without its signature."""

    plan: Plan
    proved: Proved
    signer: Signer
    text: bytes
    """The signing input."""
    token_id: bytes
    principal: str


class Minted(NamedTuple):
    """A minted token."""

    token: bytes
    token_id: bytes
    key_id: str
    expires_at: int
    principal: str


def unsigned_of(plan: Plan, proved: Proved, person: Person, signer: Signer) -> Unsigned | None:
    """Make a token without its signature (``formats.jwt.signed``, ``claims_of``, ``Policy._claims``)."""
    if plan.key_id != signer.key_id:
        plan.header, plan.key_id = header_of(plan, signer.key_id), signer.key_id
    second = proved.second
    if plan.second != second:
        plan.second, plan.times = second, _times_of(second, second + plan.grant.expires_at)
    token_id = encode_segment(plan.kit.entropy(TOKEN_ID_BYTES))
    claims = [plan.claims, b'"', person.principal.encode(), b'"', plan.times, token_id, b'"']
    for before in plan.of_provider:
        claims += before, orjson.dumps(proved.provider)
    try:
        for before, path in plan.of_token:
            value = at_path(proved.claims, path)
            if value is not None:
                claims += before, orjson.dumps(value)
    except TypeError:  # an integer beyond 64 bits, for which the full way has another codec
        return None
    claims += person.claims, b"}"
    text = plan.header + encode_segment(b"".join(claims))
    if len(text) > plan.grant.max_token_bytes:
        return None
    return Unsigned(plan, proved, signer, text, token_id, person.principal)


def minted_of(unsigned: Unsigned, signature: bytes) -> Minted | None:
    """Return a token with its signature (``formats.jwt.signed``); None if it is longer than its audience allows."""
    grant = unsigned.plan.grant
    token = unsigned.text + b"." + encode_segment(signature)
    if len(token) > grant.max_token_bytes:
        return None
    expires_at = unsigned.proved.second + grant.expires_at
    return Minted(token, unsigned.token_id, unsigned.signer.key_id, expires_at, unsigned.principal)


def event_of(unsigned: Unsigned) -> bytes:
    """Return the audit event of a minted token, without its end (``Gate.ended``)."""
    proved, key_id = unsigned.proved, unsigned.signer.key_id
    return b"".join(
        (
            unsigned.plan.audit, proved.digest.encode(), b'","provider":"', proved.provider.encode(),
            b'","principal":"', unsigned.principal.encode(), b'","minted":[{"jti":"', unsigned.token_id,
            b'","kid":"', key_id.encode(), b'"}]',
        )
    )  # fmt: skip


def _times_of(second: int, expires_at: int) -> bytes:
    """Return the claims of a token's times as JSON, and `jti` up to its value."""
    return b',"exp":%d,"iat":%d,"nbf":%d,"jti":"' % (expires_at, second, second)
