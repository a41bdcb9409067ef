"""Revokes tokens that the verifiers accept: each by its id, or by its principal, its client or its audience."""

import asyncio
import contextlib
import time
from random import Random
from typing import TYPE_CHECKING, Final

import grpc.aio
from tests.chaos.load import DEADLINE, admin_call, channel, credentials, segment, serving, subject_token
from tests.chaos.plan import WATCHED, WATCHED_CLIENTS
from tests.chaos.quiet import Quiet
from tests.chaos.replicas import Replica
from tests.chaos.watching.seen import MAX_LAG, Seen, Watched
from tests.chaos.watching.watcher import Watcher
from tests.issuer import Issuer
from tests.process import CLIENT

from tokenmint.v1 import revocation_admin_service_pb2 as revocations_pb
from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.revocation_admin_service_pb2_grpc import RevocationAdminServiceStub
from tokenmint.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceStub

if TYPE_CHECKING:
    from tokenmint.v1.revocation_admin_service_pb2_grpc import RevocationAdminServiceAsyncStub
    from tokenmint.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceAsyncStub

TOKEN, PRINCIPAL, BY_CLIENT, AUDIENCE = "token id", "principal", "client", "audience"
KINDS: Final = (TOKEN, TOKEN, TOKEN, PRINCIPAL, PRINCIPAL, BY_CLIENT, AUDIENCE)
PAUSE: Final = (0.3, 0.9)  # seconds between two revocations
ACCEPTED_LIMIT: Final = 1.0  # seconds for the verifiers to accept a token before it is revoked
LOOK: Final = 0.02  # seconds


class Revoker:
    """Makes tokens and revokes them.

    Args:
        fleet: the replicas.
        issuer: the provider.
        random: chooses replicas, and what is revoked.
        quiet: held while the store is made to forget: then nothing is revoked.
        watchers: they are given each token.
        seen: where revocations are written down.
    """

    def __init__(
        self, fleet: list[Replica], issuer: Issuer, random: Random, quiet: Quiet, watchers: list[Watcher], seen: Seen
    ) -> None:
        self._fleet = fleet
        self._issuer = issuer
        self._random = random
        self._quiet = quiet
        self._watchers = watchers
        self._seen = seen
        self._number = 0

    async def keep_revoking(self, stop: asyncio.Event) -> None:
        """Revoke one after another until told to stop."""
        async with contextlib.AsyncExitStack() as stack:
            data = [await stack.enter_async_context(channel(one.listen["grpc"])) for one in self._fleet]
            admin = [await stack.enter_async_context(channel(one.listen["admin"])) for one in self._fleet]
            while not stop.is_set():
                await asyncio.sleep(self._random.uniform(*PAUSE))
                there = serving(self._fleet)
                if there:
                    number = self._random.choice(there).number
                    await self._once(data[number], admin[number])

    async def _once(self, data: grpc.aio.Channel, admin: grpc.aio.Channel) -> None:
        client, kind = self._random.choice(WATCHED_CLIENTS), self._random.choice(KINDS)
        exchanges: TokenExchangeServiceAsyncStub = TokenExchangeServiceStub(data)
        call = {"metadata": credentials(client, CLIENT.reveal()), "timeout": DEADLINE}
        self._number += 1
        subject = subject_token(self._issuer, sub=f"watched-{self._number}")
        try:
            asked = pb.ExchangeTokenRequest(subject_token=subject, audience=WATCHED)
            token = (await exchanges.ExchangeToken(asked, **call)).token
        except grpc.aio.AioRpcError:
            return  # that exchanges are answered is proved elsewhere
        claims = segment(token.split(".")[1])
        watched = Watched(token, float(claims["exp"]), kind)
        for watcher in self._watchers:
            watcher.add(watched)
        if not await self._is_accepted(watched):
            self._leave(watched)
            return
        self._seen.watched.append(watched)
        bulk: RevocationAdminServiceAsyncStub = RevocationAdminServiceStub(admin)
        async with self._quiet.changing():
            watched.asked = time.time()
            try:
                if kind == TOKEN:
                    await exchanges.RevokeToken(pb.RevokeTokenRequest(token=token), **call)
                else:
                    name = {PRINCIPAL: claims["sub"], BY_CLIENT: client, AUDIENCE: WATCHED}[kind]
                    await bulk.RevokeTokens(_request(kind, name), **admin_call())
            except grpc.aio.AioRpcError:
                self._seen.unanswered += 1
                self._leave(watched)
                return
            watched.revoked = time.time()
        if kind in (BY_CLIENT, AUDIENCE):  # in the same second no token is minted that would be revoked already
            await asyncio.sleep(1.0 - watched.revoked % 1.0)

    async def _is_accepted(self, watched: Watched) -> bool:
        """Wait until the verifiers that are up to date accept a token. Returns whether one does."""
        until = time.time() + ACCEPTED_LIMIT
        while time.time() < until:
            current = time.time() - MAX_LAG
            waited_for = [one for one in self._watchers if one.known > current]
            if waited_for and all(one.verifier.language in watched.accepted_by for one in waited_for):
                break
            await asyncio.sleep(LOOK)
        return bool(watched.accepted_by)

    def _leave(self, watched: Watched) -> None:
        for watcher in self._watchers:
            watcher.leave(watched)


def _request(kind: str, name: str) -> revocations_pb.RevokeTokensRequest:
    match kind:
        case "principal":
            return revocations_pb.RevokeTokensRequest(principal=name, reason="drill")
        case "client":
            return revocations_pb.RevokeTokensRequest(client_id=name, reason="drill")
        case _:
            return revocations_pb.RevokeTokensRequest(audience=name, reason="drill")
