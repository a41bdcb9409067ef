"""Polls for signals (RFC 8936), of transmitters that can't push them: one background task for each provider.

A token is acknowledged by the next poll, once its changes are confirmed. If they failed for a reason that passes, it is
neither acknowledged nor refused, so the transmitter sends it again. One replica polls at a time, by a lease.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

import structlog

from tokenmint.base.background import Background, Unit
from tokenmint.base.clock import Clock
from tokenmint.base.errors import DependencyUnavailable, RateLimited, TokenmintError
from tokenmint.base.token_errors import MalformedToken
from tokenmint.model.secret import Secret
from tokenmint.model.signals import Delivery, Poll
from tokenmint.model.tokens import JsonValue
from tokenmint.signals.receiver import SignalReceiver
from tokenmint.signals.set_errors import INVALID_REQUEST, set_error
from tokenmint.signals.transmitter import Send, Transmitter, TransmitterRefused
from tokenmint.storage.redis import Store
from tokenmint.verification.provider import Provider

log = structlog.get_logger(__name__)

LEASE: Final = 30.0  # seconds beyond an interval in which no other replica polls
LONGEST_PAUSE: Final = 300.0  # seconds at most after polls that failed
ROUNDS: Final = 100  # polls in a row while there are more events, before other work has its turn
LONGEST_KEY: Final = 255


class Poller:
    """Polls for the signals of one provider.

    Args:
        provider: it has rules for polls.
        receiver: receives the tokens.
        send: the HTTP client.
        store: holds the lease.
        clock: measures pauses.
        holder: the name of this process, which no other process has.
    """

    def __init__(
        self, provider: Provider, receiver: SignalReceiver, send: Send, store: Store, clock: Clock, holder: str
    ) -> None:
        self._name = provider.name
        self._rules = _poll_of(provider)
        self._transmitter = Transmitter(provider, send)
        self._receiver = receiver
        self._store = store
        self._clock = clock
        self._holder = holder
        self._acknowledged: list[str] = []
        self._errors: dict[str, JsonValue] = {}

    async def follow(self, unit: Unit) -> None:
        """Poll without end. Each error is the failure of a round, after which the pause is longer."""
        failed = 0
        while True:
            try:
                if await self._store.lease(f"signals:{self._name}", self._holder, ttl=self._life, above=0):
                    await self.round()
                unit.works()
                failed = 0
            except TokenmintError as error:
                failed += 1
                unit.fails(error)
            await self._clock.sleep(min(LONGEST_PAUSE, self._rules.interval * 2 ** min(failed, 8)))

    @property
    def _life(self) -> float:
        return self._rules.interval + LEASE

    async def round(self) -> None:
        """Poll until the transmitter has no more events and knows all acknowledgements. Raises as ``Transmitter``."""
        for _ in range(ROUNDS):
            more = await self._poll()
            if not more and not self._acknowledged and not self._errors:
                return
            await asyncio.sleep(0)

    async def _poll(self) -> bool:
        """Poll once; return whether there are more events that were not seen."""
        acknowledged, errors = self._acknowledged, self._errors
        request: dict[str, JsonValue] = {"maxEvents": self._rules.most, "returnImmediately": True}
        if acknowledged:
            request["ack"] = list(acknowledged)
        if errors:
            request["setErrs"] = dict(errors)
        answer = await self._transmitter.poll(self._rules.url, request)
        self._acknowledged, self._errors = [], {}  # only now: until then they are repeated
        tokens = answer.get("sets", {})
        if not isinstance(tokens, dict) or len(tokens) > self._rules.most:
            raise TransmitterRefused(f"the answer has no object `sets` of at most {self._rules.most} (RFC 8936 2.3)")
        postponed = 0
        for token_id, token in tokens.items():
            postponed += not await self._take(token_id, token)
        return answer.get("moreAvailable") is True and postponed < len(tokens)

    async def _take(self, token_id: str, token: JsonValue) -> bool:
        """Receive one token; return whether it is to be acknowledged or refused."""
        try:
            if not isinstance(token, str) or not token.isascii() or not 0 < len(token_id) <= LONGEST_KEY:
                raise MalformedToken(detail="a member of `sets` is no token")
            signal = await self._receiver.receive(self._name, Delivery.SECEVENT, Secret(token), via="poll")
        except (DependencyUnavailable, RateLimited) as error:
            log.warning("a polled event is left for later", provider=self._name, reason=error.reason)
            return False
        except TokenmintError as error:
            if len(token_id) <= LONGEST_KEY:
                code = set_error(error)
                if not code:  # a fault of this service: the event must not be lost
                    return False
                self._errors[token_id] = {"err": code, "description": error.message}
            return True
        if signal.token_id == token_id:
            self._acknowledged.append(token_id)
        else:  # it counts by its own identifier; the transmitter's list is wrong
            self._errors[token_id] = {"err": INVALID_REQUEST, "description": "the member's name is not the jti"}
        return True


def _poll_of(provider: Provider) -> Poll:
    if provider.signals is None or provider.signals.poll is None:
        raise ValueError("the provider has no rules for polls")
    return provider.signals.poll


def follow_polls(
    providers: Iterable[Provider], background: Background, make: Callable[[Provider], Poller]
) -> "list[asyncio.Task[None]]":
    """Poll for the signals of every provider with rules for it, without end."""
    polled = [one for one in providers if one.signals is not None and one.signals.poll is not None]
    return [background.start(f"signals of {one.name}", make(one).follow) for one in polled]
