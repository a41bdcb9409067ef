"""Minting on the fast way: a JWT from the parts of its plan, its principal's claims and its subject token."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import orjson

from tokenmint.base.encoding import encode_segment
from tokenmint.fast.people import Person
from tokenmint.fast.plans import Plan, Target, header_of
from tokenmint.fast.tokens import TokenRules
from tokenmint.formats.format import Kit
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
    now: float
    """The same with its fraction."""
    rules: TokenRules


class Unsigned(NamedTuple):
    """A token without its signature."""

    target: Target
    signer: Signer
    text: bytes
    """The signing input."""
    token_id: bytes


class Minted(NamedTuple):
    """A minted token."""

    target: Target
    token: bytes
    token_id: bytes
    key_id: str
    expires_at: int
    principal: str
    proved: Proved
    """Its subject token."""


def varying_of(target: Target, proved: Proved, person: Person) -> bytes | None:
    """Return the claims of a token from its subject token and profile as JSON, to its end (``Policy._claims``)."""
    claims: list[bytes] = []
    for before in target.of_provider:
        claims += before, orjson.dumps(proved.provider)
    try:
        for before, path in target.of_token:
            value = at_path(proved.claims, path)
            if value is not None:
                claims += before, orjson.dumps(value)
    except TypeError:  # an integer beyond 64 bits, for which the full way has another codec
        return None
    claims += person.claims[target.of_profile], b"}"
    return b"".join(claims)


def unsigned_of(
    target: Target, kit: Kit, proved: Proved, subject: bytes, varying: bytes, signer: Signer, drawn: bytes
) -> Unsigned | None:
    """Make a token without its signature (``formats.jwt.signed``, ``claims_of``).

    Args:
        target: the token.
        kit: makes its header.
        proved: its subject token.
        subject: its principal as JSON.
        varying: its claims of :func:`varying_of`.
        signer: signs it.
        drawn: the random bytes of its `jti`.
    """
    if target.key_id != signer.key_id:
        target.header, target.key_id = header_of(target, kit, signer.key_id), signer.key_id
    second = proved.second
    if target.second != second:
        target.second, target.times = second, _times_of(second, second + target.grant.expires_at)
    token_id = encode_segment(drawn)
    text = target.header + encode_segment(b'%b%b%b%b"%b' % (target.claims, subject, target.times, token_id, varying))
    if len(text) > target.grant.max_token_bytes:
        return None
    return Unsigned(target, signer, text, token_id)


def minted_of(unsigned: Unsigned, signature: bytes, proved: Proved, principal: str) -> Minted | None:
    """Return a token with its signature (``formats.jwt.signed``); None if it is longer than its audience allows."""
    target, grant = unsigned.target, unsigned.target.grant
    token = unsigned.text + b"." + encode_segment(signature)
    if len(token) > grant.max_token_bytes:
        return None
    expires_at = proved.second + grant.expires_at
    return Minted(target, token, unsigned.token_id, unsigned.signer.key_id, expires_at, principal, proved)


def event_of(plan: Plan, proved: Proved, minted: Sequence[Minted]) -> bytes:
    """Return the audit event of an exchange, without its end (``Gate.ended``)."""
    return b"".join(
        (
            plan.audit, proved.digest.encode(), b'","provider":"', proved.provider.encode(),
            b'","principal":"', minted[0].principal.encode(), b'","minted":[',
            b",".join([b'{"jti":"%b","kid":"%b"}' % (one.token_id, one.key_id.encode()) for one in minted]),
            plan.audit_end,
        )
    )  # fmt: skip


def _times_of(second: int, expires_at: int) -> bytes:
    """Return the claims of a token's times as JSON, and `jti` up to its value."""
    return b',"exp":%d,"iat":%d,"nbf":%d,"jti":"' % (expires_at, second, second)
