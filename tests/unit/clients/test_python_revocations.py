"""The Python client's set of revocations, without a network: what it refuses, how old it may be, how it begins anew."""

import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import closing
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from tokenmint_client import Client, PublicClient, Revocations, RevocationsUnavailable, TokenRejected
from tokenmint_client.revocations import MOST, RevokedSet, digest_of, names_of
from tokenmint_client.v1 import revocation_service_pb2 as pb
from tokenmint_client.v1.revocation_service_pb2_grpc import (
    RevocationServiceServicer,
    add_RevocationServiceServicer_to_server,
)

CLAIMS: dict[str, Any] = {
    "jti": "t3", "tm_lineage": ["t1", "t2"], "sub": "ada", "client_id": "web", "aud": "https://orders.example",
    "iat": 1000.5,
    "act": {"sub": "helper", "act": {"sub": "other", "iss": "https://idp.example", "act": {"sub": "first"}}},
}  # fmt: skip
AUDIENCE = "https://orders.example"
TIMEOUT = 20.0


@pytest.mark.parametrize(
    ("kind", "name", "after", "refused"),
    [
        ("token", "t3", 0, True),
        ("token", "t1", 0, True),
        ("token", "t2", 0, True),
        ("token", "t4", 0, False),
        ("principal", "ada", 1000, True),
        ("principal", "ada", 999, False),
        ("principal", "helper", 1000, True),
        ("principal", "first", 1000, True),
        ("principal", "other", 1000, False),  # another issuer's
        ("client", "web", 1000, True),
        ("client", "web", 999, False),
        ("client", "ada", 1000, False),
        ("audience", AUDIENCE, 1000, True),
        ("audience", "https://others.example", 1000, False),
        ("key", "k1", 0, True),
        ("key", "k2", 0, False),
    ],
)
def test_a_token_is_refused_by_any_of_its_names(kind: str, name: str, after: int, refused: bool) -> None:
    held = RevokedSet()
    held.add(digest_of(kind, name), after, 2000)
    assert held.covers(CLAIMS, "k1") is refused


def test_digests_are_those_of_the_service() -> None:
    from tokenmint.revocation.entries import Kind, digest

    for kind in set(Kind) - {Kind.PROVIDER}:
        for name in ("x", "https://a.example", "nä\x00me"):
            assert digest(kind, name) == digest_of(kind.value, name)


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"jti": 7, "sub": None, "aud": ["a"], "tm_lineage": "t1", "act": "x"},
        {"tm_lineage": [7, None], "act": {"sub": 7}, "client_id": {}},
        {"sub": "\ud800"},
    ],
)
def test_claims_of_another_form_name_nothing_and_fail_nothing(claims: dict[str, Any]) -> None:
    held = RevokedSet()
    held.add(digest_of("token", "t1"), 0, 2000)
    assert not held.covers(claims | {"iat": 1}, "k")
    assert all(isinstance(digest_of(*name), bytes) for name in names_of(claims, "k"))


def test_rfc7519_section_4_1_3_an_audience_may_be_a_list_of_one() -> None:
    held = RevokedSet()
    held.add(digest_of("audience", AUDIENCE), 1000, 2000)
    assert held.covers(CLAIMS | {"aud": [AUDIENCE]}, "k")
    assert not held.covers(CLAIMS | {"aud": ["https://others.example"]}, "k")


def test_a_chain_of_actors_without_end_is_read_in_part() -> None:
    claims: dict[str, Any] = {"iat": 1}
    for number in range(1000):
        claims = {"iat": 1, "sub": f"a{number}", "act": claims}
    assert len(list(names_of(claims, "k"))) < 40


def test_entries_merge_in_any_order_and_expire() -> None:
    held = RevokedSet()
    for after, expires in ((5, 100), (9, 50), (7, 200)):
        held.add(digest_of("client", "web"), after, expires)
    assert held.covers({"client_id": "web", "iat": 9}, "k")
    assert not held.covers({"client_id": "web", "iat": 10}, "k")
    held.prune(199.0)
    assert len(held) == 1
    held.prune(200.0)
    assert len(held) == 0
    held.add(b"short", 0, 300)
    assert len(held) == 0


def test_the_set_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST >= 1_000_000
    monkeypatch.setattr("tokenmint_client.revocations.MOST", 2)
    held = RevokedSet()
    held.add(digest_of("token", "a"), 0, 9)
    held.add(digest_of("token", "b"), 0, 9)
    held.add(digest_of("token", "a"), 0, 10)
    with pytest.raises(OverflowError):
        held.add(digest_of("token", "c"), 0, 9)


def test_a_clock_that_is_ahead_for_a_while_forgets_nothing() -> None:
    wall, elapsed = 5000.0, 0.0
    client = Client("127.0.0.1:1", PublicClient("api"), plaintext=True)
    revocations = Revocations(client, AUDIENCE, clock=lambda: wall, monotonic=lambda: elapsed)
    first = pb.WatchRevocationsResponse(position="0.1-0")
    first.revocations.add(digest=digest_of("token", "t1")).expire_time.seconds = 6000
    first.time.seconds = 5000
    revocations.take(first)
    for why, own, served, size in (
        ("its own is ahead", 8600.0, 5100, 1),
        ("the service does not tell", 8700.0, None, 1),
        ("its own is set back", 5200.0, 5200, 1),
        ("the service's is ahead", 5300.0, 9000, 1),
        ("it has expired by both", 6000.0, 6000, 0),
    ):
        wall, elapsed = own, elapsed + 60
        message = pb.WatchRevocationsResponse(position="0.1-0")
        if served is not None:
            message.time.seconds = served
        revocations.take(message)
        assert len(revocations) == size, why
        if size:
            with pytest.raises(TokenRejected):
                revocations.check({"jti": "t1", "iat": 1}, "k")


class Told:
    """A set that is told by the test, and its clock."""

    def __init__(self, **options: Any) -> None:
        self.now = 100.0
        self.lags: list[float] = []
        client = Client("127.0.0.1:1", PublicClient("api"), plaintext=True)
        self.set = Revocations(
            client, AUDIENCE, clock=lambda: 0.0, monotonic=lambda: self.now, on_lag=self.lags.append, **options
        )

    def message(self, *, position: str = "0.1-0", age: float = 0.0, token: str = "") -> None:
        message = pb.WatchRevocationsResponse(position=position)
        message.age.FromMilliseconds(round(age * 1000))
        if token:
            message.revocations.add(digest=digest_of("token", token)).expire_time.seconds = 1000
        self.set.take(message)


def test_without_a_complete_snapshot_nothing_is_accepted() -> None:
    told = Told()
    with pytest.raises(RevocationsUnavailable):
        told.set.check(CLAIMS, "k")
    told.message(position="", token="other")
    assert not told.set.begun
    with pytest.raises(RevocationsUnavailable):
        told.set.check(CLAIMS, "k")
    told.message()
    told.set.check(CLAIMS, "k")


def test_a_set_that_is_too_old_refuses_or_accepts_as_it_is_told() -> None:
    refusing, accepting = Told(max_lag=10.0), Told(max_lag=10.0, when_lagging="accept")
    for told in (refusing, accepting):
        told.message(age=4.0, token="t1")
        told.now += 6.0
        assert told.set.lag == 10.0
        told.set.check({"jti": "t9", "iat": 1}, "k")
        told.now += 0.1
        with pytest.raises(TokenRejected) as caught:
            told.set.check(CLAIMS, "k")
        assert caught.value.reason == "REVOKED"
    accepting.set.check({"jti": "t9", "iat": 1}, "k")
    with pytest.raises(RevocationsUnavailable) as unknown:
        refusing.set.check({"jti": "t9", "iat": 1}, "k")
    assert unknown.value.reason == "REVOCATIONS_UNAVAILABLE"
    assert refusing.lags == [4.0]


def test_messages_of_a_replica_that_is_away_from_the_store_do_not_make_the_set_younger() -> None:
    told = Told(max_lag=10.0)
    told.message()
    for _ in range(12):
        told.now += 1.0
        told.message(age=told.now - 100.0)
    assert told.set.lag == 12.0
    told.message(age=30.0)  # of another replica, which is further behind
    assert told.set.lag == 12.0


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ValueError, match="refuse or accept"):
        Told(when_lagging="ignore")  # of another type, for programs without a type checker


class Stream(RevocationServiceServicer):
    """A service that tells what the test says, and breaks off."""

    def __init__(self) -> None:
        self.positions: list[str] = []
        self.turns: list[Callable[[Any], Iterator[pb.WatchRevocationsResponse]]] = []
        self.open = threading.Event()

    def WatchRevocations(self, request: Any, context: Any) -> Iterator[pb.WatchRevocationsResponse]:
        self.positions.append(request.position)
        yield from self.turns.pop(0)(context) if self.turns else self.waits(context)

    def waits(self, context: Any) -> Iterator[pb.WatchRevocationsResponse]:
        ended = threading.Event()
        context.add_callback(ended.set)
        self.open.set()
        ended.wait(TIMEOUT)
        yield from ()


@pytest.fixture
def stream() -> Iterator[tuple[Stream, str]]:
    servicer = Stream()
    server = grpc.server(futures.ThreadPoolExecutor(8))
    add_RevocationServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield servicer, f"127.0.0.1:{port}"
    server.stop(None)


def said(position: str, token: str) -> pb.WatchRevocationsResponse:
    message = pb.WatchRevocationsResponse(position=position)
    message.revocations.add(digest=digest_of("token", token)).expire_time.seconds = 2**33
    return message


def test_it_goes_on_where_it_was_after_an_end_a_failure_and_a_refusal(stream: tuple[Stream, str]) -> None:
    servicer, target = stream

    def ends(_: Any) -> Iterator[pb.WatchRevocationsResponse]:
        yield said("0.1-0", "a")

    def breaks(_: Any) -> Iterator[pb.WatchRevocationsResponse]:
        yield said("", "b")  # not complete
        raise RuntimeError("the replica ends")

    def refuses(context: Any) -> Iterator[pb.WatchRevocationsResponse]:
        context.abort(grpc.StatusCode.PERMISSION_DENIED, "not now")
        yield from ()

    servicer.turns = [ends, breaks, refuses]
    with Revocations(Client(target, PublicClient("api"), plaintext=True), AUDIENCE) as revocations:
        assert servicer.open.wait(TIMEOUT)
        assert servicer.positions == ["", "0.1-0", "0.1-0", "0.1-0"]
        for token in ("a", "b"):
            with pytest.raises(TokenRejected):
                revocations.check({"jti": token, "iat": 1}, "k")
        revocations.check({"jti": "c", "iat": 1}, "k")
        assert "PERMISSION_DENIED" in revocations.error


def test_a_refusal_is_told_with_its_reason_and_its_remedy(stream: tuple[Stream, str]) -> None:
    servicer, target = stream
    refusal = status_pb2.Status(
        code=grpc.StatusCode.PERMISSION_DENIED.value[0], message="the caller does not serve this audience"
    )
    refusal.details.add().Pack(error_details_pb2.ErrorInfo(reason="AUDIENCE_DENIED", domain="tokenmint.dev"))

    def refuses(context: Any) -> Iterator[pb.WatchRevocationsResponse]:
        context.abort_with_status(rpc_status.to_status(refusal))
        yield from ()

    servicer.turns = [refuses]
    with closing(Revocations(Client(target, PublicClient("api"), plaintext=True), AUDIENCE)) as revocations:
        revocations.start(0.0)  # `with` alone would wait for a snapshot that never comes
        assert servicer.open.wait(TIMEOUT)  # the next attempt
        assert revocations.error == "AUDIENCE_DENIED: the caller does not serve this audience"


def test_a_stream_that_falls_silent_is_opened_anew(stream: tuple[Stream, str], monkeypatch: pytest.MonkeyPatch) -> None:
    servicer, target = stream
    monkeypatch.setattr("tokenmint_client.revocations.SILENCE", 0.2)
    again = threading.Event()

    def silent(context: Any) -> Iterator[pb.WatchRevocationsResponse]:
        yield said("0.1-0", "a")
        yield from servicer.waits(context)

    def second(context: Any) -> Iterator[pb.WatchRevocationsResponse]:
        again.set()
        yield from servicer.waits(context)

    servicer.turns = [silent, second]
    with Revocations(Client(target, PublicClient("api"), plaintext=True), AUDIENCE):
        assert again.wait(TIMEOUT)


def test_a_service_that_is_away_keeps_no_verification_waiting_twice() -> None:
    client = Client("127.0.0.1:1", PublicClient("api"), plaintext=True)
    revocations = Revocations(client, AUDIENCE, when_lagging="accept")
    revocations._started_at = -1000.0
    try:
        revocations.start(0.0)
        revocations._started_at -= 1000.0  # the first wait is over
        for _ in range(50):
            revocations.await_first()
        revocations.check(CLAIMS, "k")
    finally:
        revocations.close()
