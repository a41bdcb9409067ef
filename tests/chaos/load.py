"""The work of callers and operators meanwhile: exchanges, rotations, revocations, changes of profiles."""

import asyncio
import base64
import json
import time
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any, Final

import grpc
import grpc.aio
from google.rpc import error_details_pb2, status_pb2
from tests.chaos.ledger import Answer, Failure, Ledger, Minted
from tests.chaos.plan import ALGORITHMS, PREFIX, SCHEDULE, audience
from tests.chaos.quiet import Quiet
from tests.chaos.replicas import Replica
from tests.chaos.stores import PATIENT
from tests.issuer import Issuer
from tests.process import CLIENT, OPERATOR

from tokenmint.keys.store import RingStore
from tokenmint.keys.types import KeyRing, KeyState, SigningKey
from tokenmint.storage.redis import Store
from tokenmint.v1 import key_admin_service_pb2 as keys_pb
from tokenmint.v1 import profile_admin_service_pb2 as profiles_pb
from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.key_admin_service_pb2_grpc import KeyAdminServiceStub
from tokenmint.v1.profile_admin_service_pb2_grpc import ProfileAdminServiceStub
from tokenmint.v1.profile_pb2 import Profile
from tokenmint.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceStub

if TYPE_CHECKING:
    from tokenmint.v1.key_admin_service_pb2_grpc import KeyAdminServiceAsyncStub
    from tokenmint.v1.profile_admin_service_pb2_grpc import ProfileAdminServiceAsyncStub
    from tokenmint.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceAsyncStub

DEADLINE: Final = 12.0  # seconds: longer than the service's own
VALID: Final = 2 * 86400  # seconds before and after now that a subject token is good
CHANNELS: Final = 4  # to each replica: the kernel spreads connections over its workers
PAUSE: Final = 0.25  # seconds between the exchanges of one channel
OPTIONS: Final = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 2000),  # for how long it is tried to connect
    ("grpc.max_reconnect_backoff_ms", 400),
)
_ALLOWED: Final = frozenset({("FAILED_PRECONDITION", "WRONG_STATE"), ("ABORTED", "CONFLICT")})
"""The answers that an operator may get while others change the same ring."""


def channel(place: str) -> grpc.aio.Channel:
    """A connection of its own."""
    return grpc.aio.insecure_channel(place, options=OPTIONS)


def credentials(name: str, secret: str) -> Any:
    """The metadata of a caller."""
    return (("tokenmint-client-id", name), ("tokenmint-client-secret", secret))


def client_call() -> dict[str, Any]:
    """The arguments of a client's call."""
    return {"metadata": credentials("web", CLIENT.reveal()), "timeout": DEADLINE}


def subject_token(issuer: Issuer, **claims: Any) -> str:
    """Return a subject token that is good also by a clock that is wrong by a day: it must be the clock that is told."""
    now = time.time()
    return issuer.token(now, iat=int(now) - VALID, exp=int(now) + VALID, **claims)


def admin_call() -> dict[str, Any]:
    """The arguments of an operator's call."""
    return {"metadata": credentials("root", OPERATOR.reveal()), "timeout": DEADLINE}


def serving(fleet: list[Replica]) -> list[Replica]:
    """The replicas that are there."""
    return [replica for replica in fleet if replica.down_since is None]


def failure(error: grpc.aio.AioRpcError, method: str, replica: int, started: float, algorithm: str = "") -> Failure:
    """Read what a failed call says."""
    raw = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
    info = error_details_pb2.ErrorInfo()
    for detail in status_pb2.Status.FromString(raw if isinstance(raw, bytes) else raw.encode()).details:
        detail.Unpack(info)
    return Failure(method, replica, started, time.time(), error.code().name, info.reason, algorithm)


class Load:
    """Exchanges on every replica, and one operator who is busy."""

    def __init__(
        self,
        fleet: list[Replica],
        ledger: Ledger,
        issuer: Issuer,
        random: Random,
        minted: Callable[[Minted], None],
        quiet: Quiet,
    ) -> None:
        self._fleet = fleet
        self._quiet = quiet
        self._ledger = ledger
        self._issuer = issuer
        self.random = random
        self._minted = minted
        self._subject = ("", 0.0)
        self.profiles = 0
        self.revoked_last = ""

    def _subject_token(self) -> str:
        token, until = self._subject
        if time.time() > until:
            token = subject_token(self._issuer)
            self._subject = (token, time.time() + 60)
        return token

    async def exchanges(self, replica: Replica, turn: int, stop: asyncio.Event) -> None:
        """Exchange until told to stop, over one connection."""
        async with channel(replica.listen["grpc"]) as connection:
            stub: TokenExchangeServiceAsyncStub = TokenExchangeServiceStub(connection)
            while not stop.is_set():
                turn += 1
                await self.exchange(stub, replica, ALGORITHMS[turn % len(ALGORITHMS)])
                await asyncio.sleep(PAUSE * self.random.uniform(0.5, 1.5))

    async def exchange(
        self, stub: "TokenExchangeServiceAsyncStub", replica: Replica, algorithm: str
    ) -> Minted | Failure:
        """Exchange once and write down what came of it."""
        request = pb.ExchangeTokenRequest(subject_token=self._subject_token(), audience=audience(algorithm))
        started = time.time()
        try:
            answer = await stub.ExchangeToken(request, **client_call())
        except grpc.aio.AioRpcError as error:
            failed = failure(error, "ExchangeToken", replica.number, started, algorithm)
            self._ledger.failures.append(failed)
            return failed
        header, payload = (segment(part) for part in answer.token.split(".")[:2])
        got = Minted(
            answer.token, header["kid"], algorithm, started, time.time(), payload["iat"], payload["exp"],
            replica.number, replica.version.name,
        )  # fmt: skip
        self._ledger.minted.append(got)
        if got.true_to_time:  # others are wrong tokens, even where verifiers accept them
            self._minted(got)
        return got

    # --- the operator --------------------------------------------------------------------------------------------

    async def operate(self, stop: asyncio.Event, revoke_every: float) -> None:
        """Rotate, revoke and change profiles until told to stop."""
        channels = [channel(replica.listen["admin"]) for replica in self._fleet]
        next_revocation = time.time() + revoke_every
        try:
            while not stop.is_set():
                number = self.random.choice(serving(self._fleet) or self._fleet).number
                keys: KeyAdminServiceAsyncStub = KeyAdminServiceStub(channels[number])
                profiles: ProfileAdminServiceAsyncStub = ProfileAdminServiceStub(channels[number])
                async with self._quiet.changing():
                    if time.time() > next_revocation:
                        next_revocation = time.time() + revoke_every * self.random.uniform(0.7, 1.3)
                        await self._call(number, self.revoke(keys))
                    await self._call(number, self._rotate(keys, self._fleet[number]))
                    await self._call(number, self._change_profile(profiles))
                await asyncio.sleep(0.2)
        finally:
            for connection in channels:
                await connection.close()

    async def _call(self, number: int, work: Any) -> None:
        started = time.time()
        try:
            await work
        except grpc.aio.AioRpcError as error:
            failed = failure(error, "admin", number, started)
            if (failed.code, failed.reason) in _ALLOWED:
                self._ledger.told[failed.reason] += 1
            else:
                self._ledger.failures.append(failed)

    def _held(self) -> tuple[SigningKey, ...]:
        return self._ledger.ring.keys if self._ledger.ring is not None else ()

    async def _rotate(self, stub: "KeyAdminServiceAsyncStub", replica: Replica) -> None:
        """Rotate an algorithm whose prepared key has been published for long enough."""
        now = time.time()
        ready = [
            key.algorithm
            for key in self._held()
            if key.state is KeyState.PREPARED and now >= key.publish_time + SCHEDULE.ahead
        ]
        if not ready:
            return
        answer = await stub.RotateSigningKey(
            keys_pb.RotateSigningKeyRequest(algorithm=self.random.choice(ready)), **admin_call()
        )
        self._ledger.rotated.add(answer.active_key.key_id)
        self._ledger.makers[answer.prepared_key.key_id] = replica.version.name
        done = time.time()
        self._ledger.answers += [
            Answer(answer.active_key.key_id, KeyState.ACTIVE, now, done),
            Answer(answer.prepared_key.key_id, KeyState.PREPARED, now, done),
        ]
        if answer.retiring_key.key_id:
            self._ledger.answers.append(Answer(answer.retiring_key.key_id, KeyState.RETIRING, now, done))

    async def revoke(
        self, stub: "KeyAdminServiceAsyncStub", *, state: KeyState | None = None, algorithm: str = ""
    ) -> float:
        """Revoke a key of any state, more often an active one. Returns when that was asked for."""
        kinds = [KeyState.ACTIVE, KeyState.ACTIVE, KeyState.PREPARED, KeyState.RETIRING]
        wanted = state or self.random.choice(kinds)
        candidates = sorted(
            key.key_id for key in self._held() if key.state is wanted and key.algorithm in (algorithm or key.algorithm)
        )
        if not candidates:
            return 0.0
        key_id = self.revoked_last = self.random.choice(candidates)
        request = keys_pb.RevokeSigningKeyRequest(
            key_id=key_id, reason="drill", with_prepared=state is None and self.random.random() < 0.25
        )
        asked = time.time()
        await stub.RevokeSigningKey(request, **admin_call())
        self._ledger.answers.append(Answer(key_id, KeyState.REVOKED, asked, time.time()))
        return asked

    async def _change_profile(self, stub: "ProfileAdminServiceAsyncStub") -> None:
        self.profiles += 1
        name, asked = f"person-{self.profiles}", time.time()
        await stub.CreateProfile(profiles_pb.CreateProfileRequest(profile=Profile(principal=name)), **admin_call())
        self._ledger.answers.append(Answer(name, None, asked, time.time()))

    async def final_ring(self, url: str) -> KeyRing | None:
        """Return what the store holds in the end."""
        store = await Store.open(url, prefix=PREFIX, options=PATIENT)
        try:
            return (await RingStore(store).read())[1]
        finally:
            await store.close()

    async def lost_profiles(self) -> list[str]:
        """Return the confirmed profiles that are not there any more."""
        async with channel(serving(self._fleet)[0].listen["admin"]) as connection:
            stub: ProfileAdminServiceAsyncStub = ProfileAdminServiceStub(connection)
            lost = []
            for answer in self._ledger.answers:
                if answer.state is None and not self._ledger.was_lost(answer.asked, answer.answered):
                    request = profiles_pb.GetProfileRequest(principal=answer.subject)
                    try:
                        await stub.GetProfile(request, **admin_call())
                    except grpc.aio.AioRpcError as error:
                        lost.append(f"{answer.subject}: {error.code().name}")
            return lost


def segment(part: str) -> dict[str, Any]:
    """Read the header or the claims of a JWT."""
    value: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return value
