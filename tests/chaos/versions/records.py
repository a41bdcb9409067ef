"""Profiles, revocations and audit events that a replica of one version writes and a replica of the other reads."""

import asyncio
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.struct_pb2 import Struct
from tests.chaos.load import admin_call, channel, client_call, segment, subject_token
from tests.chaos.plan import audience
from tests.chaos.replicas import Replica
from tests.issuer import Issuer

from tokenmint.v1 import audit_admin_service_pb2 as audit_pb
from tokenmint.v1 import profile_admin_service_pb2 as profiles_pb
from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.audit_admin_service_pb2_grpc import AuditAdminServiceStub
from tokenmint.v1.profile_admin_service_pb2_grpc import ProfileAdminServiceStub
from tokenmint.v1.profile_pb2 import Identity, Profile
from tokenmint.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceStub

if TYPE_CHECKING:
    from tokenmint.v1.audit_admin_service_pb2_grpc import AuditAdminServiceAsyncStub
    from tokenmint.v1.profile_admin_service_pb2_grpc import ProfileAdminServiceAsyncStub
    from tokenmint.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceAsyncStub

ANSWERED: Final = "each version answers for the records of the other in time"
"""A promise about the pace alone: a replica that is put off for want of a processor refuses calls meanwhile."""
EVENTS_LIMIT: Final = 10.0  # seconds for an event to be in its stream: batches are written five times a second
LOOK: Final = 0.1  # seconds
LATE: Final = 1.0  # seconds before its end from which on a token may be expired when it is asked about
STREAMS: Final = (audit_pb.AUDIT_STREAM_EXCHANGES, audit_pb.AUDIT_STREAM_ADMIN)


class Unread(Exception):
    """A record was not read as it was written."""


class _Side:
    """The services of one replica."""

    def __init__(self, replica: Replica) -> None:
        self.name = replica.version.name
        self._replica = replica

    async def open(self, stack: AsyncExitStack) -> "_Side":
        data = await stack.enter_async_context(channel(self._replica.listen["grpc"]))
        admin = await stack.enter_async_context(channel(self._replica.listen["admin"]))
        self.tokens: TokenExchangeServiceAsyncStub = TokenExchangeServiceStub(data)
        self.profiles: ProfileAdminServiceAsyncStub = ProfileAdminServiceStub(admin)
        self.audit: AuditAdminServiceAsyncStub = AuditAdminServiceStub(admin)
        return self

    async def get(self, principal: str) -> Profile:
        asked = profiles_pb.GetProfileRequest(principal=principal)
        return (await self.profiles.GetProfile(asked, **admin_call())).profile

    async def active(self, token: str) -> bool:
        answer = await self.tokens.IntrospectToken(pb.IntrospectTokenRequest(token=token), **client_call())
        return bool(answer.active)

    async def page(self, stream: Any, position: str = "") -> audit_pb.ListAuditEventsResponse:
        asked = audit_pb.ListAuditEventsRequest(stream=stream, position=position)
        return await self.audit.ListAuditEvents(asked, **admin_call())


async def cross(writing: Replica, reading: Replica, principal: str, issuer: Issuer) -> list[str]:
    """Let one replica write records of a new principal, and the other read, change and revoke them.

    Returns names of the records that were read. Raises ``Unread``, and ``AioRpcError`` if a call fails.
    """
    async with AsyncExitStack() as stack:
        writer, reader = await _Side(writing).open(stack), await _Side(reading).open(stack)
        before = {stream: (await writer.page(stream)).next_position for stream in STREAMS}
        await _profile(writer, reader, principal)
        jti = await _token(writer, reader, principal, issuer)
        for stream, word in zip(STREAMS, (jti, principal), strict=True):
            await _event(writer, reader, before[stream], stream, word)
    way = f"of {writer.name}, read by {reader.name}"
    return [f"profiles {way}", f"tokens and revocations {way}", f"audit events {way}"]


async def _profile(writer: _Side, reader: _Side, principal: str) -> None:
    """Create a profile, read and change it on the other side, and read it again."""
    claims = Struct()
    claims.update({"tenant": "engines", "levels": [1, 2.5, {"deep": None}], "name": "Ada É"})
    new = Profile(
        principal=principal,
        identities=[Identity(provider="idp", subject=principal)],
        claims=claims,
        roles=["clerk", "auditor"],
    )
    created = await writer.profiles.CreateProfile(profiles_pb.CreateProfileRequest(profile=new), **admin_call())
    read = await reader.get(principal)
    _expect(read == created.profile, f"{reader.name} reads the profile of {writer.name} as {read}")
    change = profiles_pb.UpdateProfileRequest(
        profile=Profile(principal=principal, roles=["reader"], etag=read.etag), update_mask=FieldMask(paths=["roles"])
    )
    changed = (await reader.profiles.UpdateProfile(change, **admin_call())).profile
    _expect(list(changed.roles) == ["reader"], f"{reader.name} changes the profile of {writer.name} to {changed}")
    _expect(changed.claims == claims, f"{reader.name} changes the claims in the profile of {writer.name}: {changed}")
    again = await writer.get(principal)
    _expect(again == changed, f"{writer.name} reads its profile, which {reader.name} changed, as {again}")


async def _token(writer: _Side, reader: _Side, principal: str, issuer: Issuer) -> str:
    """Exchange for a token, revoke it on the other side, and see both refuse it. Returns its `jti`."""
    asked = pb.ExchangeTokenRequest(subject_token=subject_token(issuer, sub=principal), audience=audience("ES256"))
    token = (await writer.tokens.ExchangeToken(asked, **client_call())).token
    claims = segment(token.split(".")[1])
    accepted = await reader.active(token) or time.time() > claims["exp"] - LATE
    _expect(accepted, f"{reader.name} takes a token of {writer.name} for inactive")
    other = (await reader.tokens.ExchangeToken(asked, **client_call())).token
    for name in (claims["sub"], segment(other.split(".")[1])["sub"]):
        _expect(name == principal, f"a token for {principal!r} names {name!r}")
    await reader.tokens.RevokeToken(pb.RevokeTokenRequest(token=token), **client_call())
    for side in (reader, writer):
        _expect(not await side.active(token), f"{side.name} takes a token that {reader.name} revoked for active")
    return str(claims["jti"])


async def _event(writer: _Side, reader: _Side, position: str, stream: Any, word: str) -> None:
    """Find an event from a position on that the other version gave, and give that one the next position."""
    deadline = time.monotonic() + EVENTS_LIMIT
    while True:
        page = await reader.page(stream, position)
        position = page.next_position
        if any(word in event.event_json for event in page.events):
            break
        _expect(time.monotonic() < deadline, f"{reader.name} finds no event of {writer.name} in the stream {stream}")
        await asyncio.sleep(0 if page.has_more else LOOK)
    following = await writer.page(stream, position)
    repeated = any(word in event.event_json for event in following.events) and stream == audit_pb.AUDIT_STREAM_EXCHANGES
    _expect(not repeated, f"{writer.name} reads an event twice, by a position of {reader.name}")


def _expect(condition: bool, what: str) -> None:
    if not condition:
        raise Unread(what[:500])
