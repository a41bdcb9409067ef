"""Those who must get no token, and are tried all the time: disabled, deleted, revoked, used up."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Final

import grpc.aio
from tests.chaos.ledger import Ledger, Wrong
from tests.chaos.load import VALID, admin_call, channel, client_call, failure, segment, serving, subject_token
from tests.chaos.plan import ONCE, audience
from tests.chaos.quiet import Quiet
from tests.chaos.replicas import Replica
from tests.issuer import Issuer

from tokenmint.v1 import profile_admin_service_pb2 as profiles_pb
from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.profile_admin_service_pb2_grpc import ProfileAdminServiceStub
from tokenmint.v1.profile_pb2 import Identity, Profile
from tokenmint.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceStub

if TYPE_CHECKING:
    from tokenmint.v1.profile_admin_service_pb2_grpc import ProfileAdminServiceAsyncStub
    from tokenmint.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceAsyncStub

DISABLED: Final = "disabled principal"
DELETED: Final = "deleted principal"
SIGNED_OUT: Final = "token from before its principal's were revoked"
USED: Final = "single-use token that was used"
REVOKED: Final = "revoked token of ours"
MAKE_EVERY: Final = 1.0  # seconds
KEPT: Final = 60  # of those that are tried: the newest
TRIERS: Final = 3
PAUSE: Final = 0.1  # seconds between the tries of one of them
REFUSED: Final = frozenset({"PRINCIPAL_DISABLED", "REVOKED", "REPLAYED"})


@dataclass(frozen=True, slots=True)
class Denied:
    """One who must get no token."""

    kind: str
    subject: str
    token: str
    """The subject token that is tried; of ours where :attr:`kind` is ``REVOKED``."""
    asked: float
    since: float
    """When the answer came by which it is denied."""
    until: float
    """When the token expires."""
    version: str
    """The version of the replica that confirmed it."""


class Denials:
    """Makes them, and tries them.

    Args:
        fleet: the replicas.
        ledger: where successes that are wrong are written down.
        issuer: the provider.
        random: chooses replicas.
        quiet: held while the store is made to forget: then nobody is added.
    """

    def __init__(self, fleet: list[Replica], ledger: Ledger, issuer: Issuer, random: Random, quiet: Quiet) -> None:
        self._fleet = fleet
        self._ledger = ledger
        self._issuer = issuer
        self._random = random
        self._quiet = quiet
        self._denied: list[Denied] = []
        self._number = 0
        self._turn = 0
        self._makers: dict[str, Callable[[Replica, str], Awaitable[tuple[str, float]]]] = {
            DISABLED: self._disabled,
            DELETED: self._deleted,
            SIGNED_OUT: self._signed_out,
            USED: self._used,
            REVOKED: self._revoked,
        }

    # --- making --------------------------------------------------------------------------------------------------

    async def keep_making(self, stop: asyncio.Event) -> None:
        """Add one after another until told to stop."""
        while not stop.is_set():
            for kind in self._makers:
                if not stop.is_set():
                    async with self._quiet.changing():
                        await self._make(kind)
                    await asyncio.sleep(MAKE_EVERY)

    async def make_each(self) -> None:
        """Add one of each kind now."""
        await asyncio.gather(*map(self._make, self._makers))

    def forget(self, since: float) -> None:
        """Leave out those that were made after ``since``: the operator has accepted that they are lost."""
        self._denied = [one for one in self._denied if one.since < since]

    async def _make(self, kind: str) -> None:
        there = serving(self._fleet)
        if not there:
            return
        self._number += 1
        replica, subject = self._random.choice(there), f"denied-{self._number}"
        asked = time.time()
        try:
            token, until = await self._makers[kind](replica, subject)
        except grpc.aio.AioRpcError as error:
            method = "single use" if kind in (USED, REVOKED) else "admin"
            self._ledger.failures.append(failure(error, method, replica.number, asked, "ES256"))
            return
        denied = Denied(kind, subject, token, asked, time.time(), until, replica.version.name)
        self._denied = [*self._denied[-KEPT:], denied]

    def _subject_token(self, subject: str) -> tuple[str, float]:
        return subject_token(self._issuer, sub=subject, jti=subject), time.time() + VALID

    async def _create(self, replica: Replica, subject: str, *, disabled: bool = False) -> None:
        async with channel(replica.listen["admin"]) as connection:
            stub: ProfileAdminServiceAsyncStub = ProfileAdminServiceStub(connection)
            identity = Identity(provider="idp", subject=subject)
            profile = Profile(principal=subject, identities=[identity], disabled=disabled)
            await stub.CreateProfile(profiles_pb.CreateProfileRequest(profile=profile), **admin_call())

    async def _disabled(self, replica: Replica, subject: str) -> tuple[str, float]:
        await self._create(replica, subject, disabled=True)
        return self._subject_token(subject)

    async def _deleted(self, replica: Replica, subject: str) -> tuple[str, float]:
        await self._create(replica, subject)
        async with channel(replica.listen["admin"]) as connection:
            stub: ProfileAdminServiceAsyncStub = ProfileAdminServiceStub(connection)
            await stub.DeleteProfile(profiles_pb.DeleteProfileRequest(principal=subject), **admin_call())
        return self._subject_token(subject)

    async def _signed_out(self, replica: Replica, subject: str) -> tuple[str, float]:
        token = self._subject_token(subject)
        await self._create(replica, subject)
        async with channel(replica.listen["admin"]) as connection:
            stub: ProfileAdminServiceAsyncStub = ProfileAdminServiceStub(connection)
            request = profiles_pb.RevokePrincipalTokensRequest(principal=subject)
            await stub.RevokePrincipalTokens(request, **admin_call())
        return token

    async def _used(self, replica: Replica, subject: str) -> tuple[str, float]:
        token, until = self._subject_token(subject)
        async with channel(replica.listen["grpc"]) as connection:
            stub: TokenExchangeServiceAsyncStub = TokenExchangeServiceStub(connection)
            await stub.ExchangeToken(pb.ExchangeTokenRequest(subject_token=token, audience=ONCE), **client_call())
        return token, until

    async def _revoked(self, replica: Replica, subject: str) -> tuple[str, float]:
        request = pb.ExchangeTokenRequest(subject_token=self._subject_token(subject)[0], audience=audience("ES256"))
        async with channel(replica.listen["grpc"]) as connection:
            stub: TokenExchangeServiceAsyncStub = TokenExchangeServiceStub(connection)
            token = (await stub.ExchangeToken(request, **client_call())).token
            await stub.RevokeToken(pb.RevokeTokenRequest(token=token), **client_call())
        return token, float(segment(token.split(".")[1])["exp"])

    # --- trying --------------------------------------------------------------------------------------------------

    async def keep_trying(self, stop: asyncio.Event) -> None:
        """Try one after another, on any replica, until told to stop."""
        async with contextlib.AsyncExitStack() as stack:
            channels = [await stack.enter_async_context(channel(one.listen["grpc"])) for one in self._fleet]
            while not stop.is_set():
                await asyncio.sleep(PAUSE)
                now = time.time()
                self._denied = [one for one in self._denied if one.until > now + 1]
                there = serving(self._fleet)
                if self._denied and there:
                    number = self._random.choice(there).number
                    self._turn += 1
                    newest_first = self._denied[::-1]
                    await self._try(newest_first[self._turn % len(newest_first)], channels[number], number)

    async def _try(self, denied: Denied, connection: grpc.aio.Channel, number: int) -> None:
        stub: TokenExchangeServiceAsyncStub = TokenExchangeServiceStub(connection)
        started = time.time()
        try:
            if denied.kind == REVOKED:
                request = pb.IntrospectTokenRequest(token=denied.token)
                granted = (await stub.IntrospectToken(request, **client_call())).active
            else:
                wanted = ONCE if denied.kind == USED else audience("ES256")
                asked = pb.ExchangeTokenRequest(subject_token=denied.token, audience=wanted)
                granted = bool((await stub.ExchangeToken(asked, **client_call())).token)
        except grpc.aio.AioRpcError as error:
            method = {REVOKED: "IntrospectToken", USED: "single use"}.get(denied.kind, "ExchangeToken")
            failed = failure(error, method, number, started, "ES256")
            if failed.reason not in REFUSED:
                self._ledger.failures.append(failed)
                return
            granted = False
        self._ledger.denials[denied.kind] += 1
        if (tried := self._fleet[number].version.name) != denied.version and not granted:
            self._ledger.crossed[f"denials of {denied.version}, kept by {tried}"] += 1
        ended = time.time()
        if granted and not self._accepted(denied, ended):
            self._ledger.wrong.append(Wrong(denied.kind, denied.subject, number, denied.since, started, ended))

    def _accepted(self, denied: Denied, ended: float) -> bool:
        """Whether an operator has accepted that this denial is lost, before the answer was there."""
        return any(loss.lost(denied.asked, denied.since) and ended >= loss.accepted for loss in self._ledger.losses)
