"""Both ways of an exchange, driven by the same request in the same service: the fast way first, then the full way.

A fast way that accepts has to agree with the full way: the same decision, the same tokens but for `jti` and signature,
the same audit event, the same counters, the same use of limits. One that does not accept leaves no trace.

In batches (``BothWays.batch``) a request has three targets: the one in the middle is the test's, the others are usual.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import DecodeError
from tests.comparable import decoded, spelled, told
from tests.fakes import FakeClock, FakeEntropy
from tests.issuer import Issuer
from tests.rig import AUDIENCE, Rig, Serve

from tokenmint.admission import access
from tokenmint.admission.rate_limit import Lot
from tokenmint.config.settings import Settings
from tokenmint.exchange.deciding import Written
from tokenmint.model import profile as profile_model
from tokenmint.model.drafts import IDENTITY_ASSERTION, STATUS_LIST, TRANSACTION_TOKENS
from tokenmint.process.fast_way import FastWayInForce
from tokenmint.profiles import near_cache
from tokenmint.profiles.near_cache import HEARTBEAT, NearCache
from tokenmint.profiles.near_entries import Entry
from tokenmint.profiles.records import identity_key, profile_key
from tokenmint.rpc.fast_exchange import (
    BATCH_METHOD,
    METHOD,
    FastBatchExchangeTokens,
    FastExchangeToken,
    Method,
    Pending,
)
from tokenmint.rpc.interceptors import Guard
from tokenmint.rpc.token_exchange_service import TokenExchangeService
from tokenmint.v1 import profile_admin_service_pb2 as profiles_pb
from tokenmint.v1 import token_exchange_service_pb2 as pb
from tokenmint.v1.profile_pb2 import Identity, Profile

Metadata = tuple[tuple[str, str | bytes], ...]
SMALL_AUDIENCE = "https://small.example"
SMALL = f"""
[audiences."{SMALL_AUDIENCE}"]
clients = ["web"]
providers = ["idp"]
max_token_bytes = 1500
[audiences."{SMALL_AUDIENCE}".claims]
email = "assertion.email"
"""
SVID_AUDIENCE = "svids"
SVIDS = f"""
[spiffe]
trust_domain = "prod.example"

[audiences.{SVID_AUDIENCE}]
clients = ["web"]
providers = ["idp"]
[audiences.{SVID_AUDIENCE}.spiffe]
"""
OF_TARGETS = frozenset({"scopes", "lifetime", "requested_token_type", "resources"})
"""Fields of a request that each target of a batch has."""
ADA = profile_key("ada"), identity_key(profile_model.Identity("idp", "1842"))  # most requests are about this principal
STOCK = 1000
"""Calls that each lot of the rate limits has for a test, regardless of earlier use."""


class Refused(Exception):
    """The full way's refusal."""


@dataclass
class Context:
    """A call's context without a transport."""

    metadata: Metadata
    done: list[Any] = field(default_factory=list)

    def invocation_metadata(self) -> Metadata:
        return self.metadata

    def auth_context(self) -> Mapping[str, Any]:
        return {}

    def time_remaining(self) -> None:
        return None

    def add_done_callback(self, callback: Any) -> None:
        self.done.append(callback)

    async def abort(self, code: grpc.StatusCode, message: str, **_: object) -> None:
        raise Refused(f"{code.name}: {message}")


@dataclass(frozen=True)
class Outcome:
    """The tokens of an answer, if it has no others, and what changed with it."""

    answers: Sequence[pb.ExchangeTokenResponse]
    events: list[dict[str, Any]]
    counted: dict[str, float]
    spent: dict[str, int]
    """Calls that were taken from each lot."""

    @property
    def answer(self) -> pb.ExchangeTokenResponse | None:
        """The test's token."""
        return self.answers[len(self.answers) // 2] if self.answers else None

    @property
    def nothing(self) -> bool:
        """Whether there is neither an answer nor a trace."""
        return not self.answers and not self.events and not self.counted and not any(self.spent.values())


def forget_memos(near: NearCache) -> None:
    """Drop the results of readers that the near cache keeps, and leave it its values."""
    for place, entry in near._entries.items():
        near._entries[place] = Entry(entry.raw, entry.reading)


class BothWays:
    """The ways into one running service."""

    exact = True
    """Whether a request has its token as it is, with spaces around it."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        guard = Guard(access.DATA, rig.parts.gate, deadline=20.0, native=True, capacity=rig.base.capacity)
        service = TokenExchangeService(rig.parts.exchanges, Written(dict, frozenset()))
        one = grpc.unary_unary_rpc_method_handler(
            service.ExchangeToken,
            request_deserializer=pb.ExchangeTokenRequest.FromString,
            response_serializer=pb.ExchangeTokenResponse.SerializeToString,
        )
        several = grpc.unary_unary_rpc_method_handler(
            service.BatchExchangeTokens,
            request_deserializer=pb.BatchExchangeTokensRequest.FromString,
            response_serializer=pb.BatchExchangeTokensResponse.SerializeToString,
        )
        self._full: dict[bool, Any] = {
            False: guard.wrap(METHOD, one).unary_unary,
            True: guard.wrap(BATCH_METHOD, several).unary_unary,
        }
        self.batch = False
        """Whether requests and answers are those of BatchExchangeTokens."""
        self.recognised = 0
        self.waited = 0
        """Calls of the fast way that waited for a profile."""
        self.cold = False
        """Whether the near cache is empty before each call of the fast way."""
        self._settings: dict[str, Settings] = {}
        self.forget()

    async def configure(self, text: str) -> None:
        """Have the service take over a configuration. A text is read and judged once: that takes longer than a call."""
        self.rig.config.write_text(text)
        if text not in self._settings:
            self._settings[text] = self.rig.settings()
        await self.rig.app.reload(self._settings[text])

    @asynccontextmanager
    async def with_text(self, old: str, new: str) -> AsyncIterator[None]:
        """Serve with a text of the configuration replaced, once."""
        before = self.rig.config.read_text()
        assert old in before, old
        try:
            await self.configure(before.replace(old, new, 1))
            yield
        finally:
            await self.configure(before)
            await self.warm()

    def forget(self) -> None:
        """Begin with a fast way that remembers nothing."""
        in_force = FastWayInForce(self.rig.parts)
        self._fast = FastExchangeToken(in_force, 64 * 1024), FastBatchExchangeTokens(in_force, 64 * 1024)
        forget_memos(self.rig.parts.near)

    @property
    def fast(self) -> Method:
        """The fast way."""
        return self._fast[self.batch]

    @property
    def tokens(self) -> int:
        """The number of tokens of a request."""
        return 3 if self.batch else 1

    @contextmanager
    def in_batches(self) -> Iterator[None]:
        """Let requests be batches for a while."""
        before, self.batch = self.batch, True
        try:
            yield
        finally:
            self.batch = before

    def empty(self) -> None:
        """Empty the near cache."""
        for place in list(self.rig.parts.near._entries):
            self.rig.parts.near._drop(place)

    def metadata(self, name: str = "web") -> Metadata:
        """The metadata of a client's call."""
        found: Metadata = self.rig.auth(name)["metadata"]
        return found

    def token(self, **changes: Any) -> str:
        """A token of the provider."""
        return self.rig.issuer.token(self.rig.clock.now(), email="ada@example.com", **changes)

    def request(self, token: str | None = None, audience: str = AUDIENCE, **fields: Any) -> bytes:
        """The bytes of a request."""
        subject = self.token() if token is None else token
        if not self.batch:
            return pb.ExchangeTokenRequest(subject_token=subject, audience=audience, **fields).SerializeToString()
        own = {name: fields.pop(name) for name in OF_TARGETS & fields.keys()}
        usual = [pb.BatchExchangeTarget(audience=name) for name in (AUDIENCE, SMALL_AUDIENCE)]
        targets = [usual[0], pb.BatchExchangeTarget(audience=audience, **own), usual[1]]
        return pb.BatchExchangeTokensRequest(subject_token=subject, targets=targets, **fields).SerializeToString()

    def answers(self, raw: bytes) -> list[pb.ExchangeTokenResponse]:
        """The tokens of an answer; none if a target of a batch was refused."""
        try:
            if not self.batch:
                return [pb.ExchangeTokenResponse.FromString(raw)]
            results = pb.BatchExchangeTokensResponse.FromString(raw).results
        except DecodeError:
            raise AssertionError("the answer is not a message") from None
        return [one.token for one in results] if all(one.HasField("token") for one in results) else []

    def claims(self, answer: pb.ExchangeTokenResponse) -> dict[str, Any]:
        """The claims of a minted token."""
        claims: dict[str, Any] = decoded(answer.token)[1]
        return claims

    async def by_full(self, request: bytes, metadata: Metadata) -> Outcome:
        """Take the full way."""
        before = self._state()
        context = Context(metadata)
        answers: Sequence[pb.ExchangeTokenResponse] = ()
        with suppress(Refused):
            answers = self.answers(await self._full[self.batch](request, context))
        for callback in context.done:
            callback(context)
        return self._since(before, answers)

    async def by_fast(self, request: bytes, metadata: Metadata) -> Outcome:
        """Try the fast way."""
        if self.cold:
            self.empty()
        before = self._state()
        raw = self.fast.answer(request, metadata)
        while isinstance(raw, Pending):
            self.waited += 1
            [fetched] = await self.fast.fetch([raw])
            raw = self.fast.finish(raw, fetched)
        self.fast.write()
        return self._since(before, self.answers(raw) if raw is not None else ())

    async def check(
        self, request: bytes | None = None, metadata: Metadata | None = None, *, recognised: bool | None = None
    ) -> Outcome:
        """Drive both ways and compare them; return the full way's outcome.

        ``recognised``: whether the fast way has to have accepted; None: whether it does is not judged.
        """
        request = self.request() if request is None else request
        metadata = self.metadata() if metadata is None else metadata
        if not self.cold and not self.knows_ada:  # the store's connection broke
            await self.warm()
        self.stock()
        fast = await self.by_fast(request, metadata)
        full = await self.by_full(request, metadata)
        if fast.answer is None:
            assert fast.nothing, fast
        else:
            self.recognised += 1
            assert full.answer is not None, "the fast way accepted what the full way refuses"
            assert [told(one) for one in fast.answers] == [told(one) for one in full.answers]
            assert [spelled(event) for event in fast.events] == [spelled(event) for event in full.events]
            ids = [one.token_id for one in fast.answers]
            assert [one["jti"] for one in fast.events[0]["minted"]] == ids
            assert len(set(ids)) == len(ids)
            assert (fast.counted, fast.spent) == (full.counted, full.spent)
            assert {name.partition("(")[0] for name in fast.counted} == {"calls", "minted", "durations"}
        if recognised is not None:
            assert (fast.answer is not None) is recognised
        return full

    @property
    def knows_ada(self) -> bool:
        """Whether the near cache has the principal that most requests are about."""
        now = self.rig.clock.monotonic()
        return all(self.rig.parts.near.peek(key, now) is not None for key in ADA)

    async def warm(self) -> None:
        """Let the near cache and the lots know what a first call brings."""
        near, clock = self.rig.parts.near, self.rig.clock
        async with asyncio.timeout(60):
            while not self.knows_ada:
                self.stock()
                full = await self.by_full(self.request(), self.metadata())
                if full.answer is None:  # at once, it may be: without a wait nothing that is missing would come
                    await self.rig.let_pass(0.5)
                    await asyncio.gather(*map(near.get, ADA))  # the configuration may refuse the request
                for lane in near._lanes.values():
                    if lane.usable_until > float("-inf"):  # the store tells of changes
                        lane.usable_until = clock.monotonic() + HEARTBEAT  # how long ago is not what is tested

    def stock(self) -> None:
        """Fill the lots of the rate limits, which the store would fill by and by."""
        limiter, now = self.rig.parts.limiter, self.rig.clock.monotonic()
        for client in self.rig.parts.rules.authenticator.callers.clients.values():
            for key, rate in limiter.buckets_of(client):
                limiter._lots.setdefault(key, Lot(key, rate, now)).rate = rate
        for lot in limiter._lots.values():
            lot.left, lot.until, lot.renew_at = STOCK, float("inf"), float("inf")

    def _state(self) -> tuple[int, dict[str, float], dict[str, int]]:
        lots = {key: lot.left for key, lot in self.rig.parts.limiter._lots.items()}
        return len(self.rig.parts.audit._exchanges), self._counted(), lots

    def _counted(self) -> dict[str, float]:
        """The calls, tokens and durations that were counted. To collect all metrics, or to lock each, takes long."""
        metrics: Any = self.rig.base.metrics
        counted: dict[str, float] = {
            f"{name}{labels}": child._value._value
            for name, counter in (("calls", metrics._calls), ("minted", metrics._minted))
            for labels, child in counter._metrics.items()
        }
        for labels, durations in metrics._seconds._metrics.items():
            counted[f"durations{labels}"] = sum([bucket._value for bucket in durations._buckets])
        return counted

    def _since(
        self, before: tuple[int, dict[str, float], dict[str, int]], answers: Sequence[pb.ExchangeTokenResponse]
    ) -> Outcome:
        events, counted, lots = before
        waiting = list(self.rig.parts.audit._exchanges._waiting)[events:]
        now = {name: value - counted.get(name, 0) for name, value in self._counted().items()}
        spent = {key: left - self.rig.parts.limiter._lots[key].left for key, left in lots.items()}
        return Outcome(answers, [json.loads(line) for line in waiting], {k: v for k, v in now.items() if v}, spent)


@contextmanager
def patient_near_cache() -> Iterator[None]:
    """Let the near cache bear a store that is silent: a busy machine is not what these tests are about."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near_cache, "HEARTBEAT", 60.0)
        yield


@asynccontextmanager
async def both_ways(
    directory: Path,
    redis_url: str,
    prefix: str,
    issuer: Issuer,
    clock: FakeClock,
    entropy: FakeEntropy,
    extra: str = "",
) -> AsyncIterator[BothWays]:
    """Run a service with one principal, Ada, whom both ways know."""
    drafts = f'[oauth]\ndrafts = ["{IDENTITY_ASSERTION}", "{STATUS_LIST}", "{TRANSACTION_TOKENS}"]\n'
    cached = f"\n[caches]\nprofiles = 100\n{drafts}{SMALL}{SVIDS}{extra}"
    serve = Serve(directory, redis_url, prefix, issuer, clock, entropy)
    with patient_near_cache():
        async with serve(cached, rsa=True) as rig:
            profile = Profile(principal="ada", identities=[Identity(provider="idp", subject="1842")], roles=["clerk"])
            profile.claims.update({"tenant": "engines"})
            await rig.profiles.CreateProfile(profiles_pb.CreateProfileRequest(profile=profile), **rig.auth("root"))
            ways = BothWays(rig)
            await ways.warm()
            yield ways
