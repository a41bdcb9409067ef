"""Polls for signals: acknowledgements that get lost, one poller at a time, pauses after failures (RFC 8936)."""

import asyncio
import json
from typing import Any, cast

import pytest
from tests.fakes import FakeClock

from tokenmint.base.background import Unit
from tokenmint.base.errors import StoreUnavailable, TokenmintError
from tokenmint.base.telemetry import Metrics
from tokenmint.config.providers import provider_from_table
from tokenmint.model.secret import Secret
from tokenmint.model.signals import Delivery
from tokenmint.signals.poller import LONGEST_PAUSE, Poller
from tokenmint.signals.receiver import SignalReceiver
from tokenmint.storage.redis import Store
from tokenmint.verification.key_source import FetchFailed, FetchResult, KeySource

URL = "https://idp.example/poll"


class Sender:
    """A transmitter that answers in order."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.asked: list[Any] = []

    async def __call__(self, source: KeySource, method: str, url: str, body: bytes = b"") -> FetchResult:
        assert (method, url, source.url) == ("POST", URL, URL)
        self.asked.append(json.loads(body))
        answer = self.answers.pop(0) if self.answers else {"sets": {}}
        if isinstance(answer, Exception):
            raise answer
        return FetchResult(200, {}, json.dumps(answer).encode())


class Signal:
    """The part of a verified signal that a poller reads."""

    def __init__(self, token_id: str) -> None:
        self.token_id = token_id


class Receiver:
    """Receives tokens, each of which is its own id; some fail."""

    def __init__(self, **failures: TokenmintError) -> None:
        self.failures = failures
        self.received: list[str] = []

    async def receive(self, provider: str, delivery: Delivery, token: Secret, **about: str) -> Signal:
        name = token.reveal()
        self.received.append(name)
        if name in self.failures:
            raise self.failures.pop(name)
        return Signal(name)


@pytest.fixture
def made(store: Store, clock: FakeClock, tmp_path: Any) -> Any:
    (tmp_path / "token").write_text("t")
    table = {
        "issuer": "https://idp.example", "audiences": ["app"],
        "signals": {"token_file": str(tmp_path / "token"), "poll": {"url": URL, "interval": "10s"}},
    }  # fmt: skip
    provider = provider_from_table("idp", table, own_issuer="https://me.example")

    def make(sender: Sender, receiver: Receiver, holder: str = "one") -> Poller:
        return Poller(provider, cast(SignalReceiver, receiver), sender, store, clock, holder)

    return make


async def test_an_acknowledgement_is_repeated_until_it_arrived(made: Any) -> None:
    sender = Sender({"sets": {"a": "a"}}, FetchFailed("away"), {"sets": {"b": "b"}})
    receiver = Receiver()
    poller = made(sender, receiver)
    with pytest.raises(TokenmintError):
        await poller.round()
    await poller.round()
    assert [body.get("ack") for body in sender.asked] == [None, ["a"], ["a"], ["b"]]
    assert receiver.received == ["a", "b"]


async def test_a_token_that_failed_for_a_while_is_neither_acknowledged_nor_refused(made: Any) -> None:
    sender = Sender({"sets": {"a": "a", "b": "b"}, "moreAvailable": True}, {"sets": {"a": "a"}, "moreAvailable": True})
    await made(sender, Receiver(a=StoreUnavailable())).round()
    assert sender.asked[1].get("ack") == ["b"]
    assert "setErrs" not in sender.asked[1]
    assert sender.asked[2].get("ack") == ["a"]


async def test_a_transmitter_that_always_has_the_same_token_does_not_hold_the_process(made: Any) -> None:
    failing: Any = Receiver()

    async def fails(*_: object, **__: object) -> Signal:
        raise StoreUnavailable()

    failing.receive = fails
    sender = Sender(*[{"sets": {"a": "a"}, "moreAvailable": True}] * 50)
    await made(sender, failing).round()
    assert len(sender.asked) == 1  # the next round is after a pause


async def test_one_replica_polls_at_a_time(made: Any, clock: FakeClock) -> None:
    senders = {name: Sender() for name in ("one", "two")}
    tasks = [
        asyncio.create_task(made(sender, Receiver(), name).follow(Unit(name, clock, Metrics())))
        for name, sender in senders.items()
    ]
    async with asyncio.timeout(20):
        while sum(len(sender.asked) for sender in senders.values()) < 3:
            clock.advance(10)
            await asyncio.sleep(0.01)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert sorted(bool(sender.asked) for sender in senders.values()) == [False, True]


async def test_pauses_grow_while_polls_fail(made: Any, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 8:
            raise asyncio.CancelledError

    monkeypatch.setattr(clock, "sleep", sleep)
    unit = Unit("signals of idp", clock, Metrics())
    with pytest.raises(asyncio.CancelledError):
        await made(Sender(*[FetchFailed("away")] * 6), Receiver()).follow(unit)
    assert pauses == [20, 40, 80, 160, LONGEST_PAUSE, LONGEST_PAUSE, 10, 10]
    assert not unit.failure
