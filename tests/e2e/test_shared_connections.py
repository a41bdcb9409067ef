"""Callers behind one proxy share HTTP/2 connections to the service: a stream that is malformed fails alone."""

import asyncio
import gzip
import io
import itertools
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from tests import plain_http
from tests.forked import ForkedService
from tests.http2 import METHOD, Peer, connected, framed
from tests.process import configure
from tests.rig import Rig, Serve, refusal

from tokenmint.v1 import key_set_service_pb2 as key_set_pb
from tokenmint.v1.key_set_service_pb2_grpc import KeySetServiceStub

OK = grpc.StatusCode.OK.value[0]
UNIMPLEMENTED, INTERNAL = grpc.StatusCode.UNIMPLEMENTED.value[0], grpc.StatusCode.INTERNAL.value[0]
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
NO_PROTOBUF = b"\x0a\x7fcanary-4711"
EXCHANGE = "/tokenmint.v1.TokenExchangeService/ExchangeToken"
BAD_AND_GOOD = {
    "grpc-timeout": ("bogus", "20S"),
    "grpc-encoding": ("rot13", "identity"),
    "x-canary-bin": ("!!!", "AAAA"),
    "grpc-trace-bin": ("!!!", "AAAA"),
    "grpc-tags-bin": ("%", "AAAA"),
    "grpc-previous-rpc-attempts": ("x", "1"),
    "grpc-retry-pushback-ms": ("x", "1"),
    "grpc-status": ("x", "0"),
    "grpc-accept-encoding": ("\t", "gzip"),
    "user-agent": ("y" * 4000, "honest"),
}
"""Metadata that can't be parsed, or is large, and what another caller sends under the same name."""


@pytest.fixture
def on(serve: Serve, transport: str) -> Any:
    def serving(extra: str = "") -> AbstractAsyncContextManager[Rig]:
        return serve(extra, transport=transport)

    return serving


@pytest.fixture
async def rig(on: Any) -> AsyncIterator[Rig]:
    async with on() as running_rig:
        yield running_rig


@pytest.fixture
async def shared(rig: Rig) -> AsyncIterator[Peer]:
    """The connection that callers share."""
    async with connected(rig.app.listen["grpc"]) as peer:
        await peer.settle()
        yield peer


async def metrics(rig: Rig) -> str:
    async with plain_http.client() as http:
        return (await http.get(rig.url("ops", "/metrics"))).text


def lines_about(logged: io.StringIO) -> list[str]:
    """Return the log lines about calls, ours and a library's."""
    return [line for line in logged.getvalue().splitlines() if re.search("error|audit|refused|Traceback", line)]


@pytest.mark.parametrize("name", BAD_AND_GOOD)
async def test_rfc_7541_metadata_that_can_not_be_parsed_fails_its_own_stream_alone(shared: Peer, name: str) -> None:
    bad, good = BAD_AND_GOOD[name]
    for _ in range(3):
        await shared.answer(shared.call([(name, bad)]))  # any answer will do
        for value in (good, good):  # the second time by its place in the table, where there is one
            answer = await shared.answer(shared.call([(name, value)]))
            assert (answer.status, answer.data != b"") == (OK, True), answer


async def test_another_te_than_trailers_fails_its_own_stream_alone(shared: Peer) -> None:
    for te in ("gzip", "trailers, deflate", None):
        answer = await shared.answer(shared.call(te=te))
        assert answer.status != OK or te is None
        assert (await shared.answer(shared.call())).status == OK


async def test_a_stream_that_is_no_call_of_a_method_fails_alone(shared: Peer) -> None:
    for path in ("/x/y", "/tokenmint.v1.KeySetService/Nope", "x", "", None):
        answer = await shared.answer(shared.call(path=path))
        assert answer.status == UNIMPLEMENTED or answer.reset is not None, path
        assert (await shared.answer(shared.call())).status == OK


@pytest.mark.parametrize("at_once", [100, 300])
async def test_rfc_9113_section_5_1_2_callers_within_the_announced_limit_are_never_refused(
    tmp_path: Path, transport: str, at_once: int
) -> None:
    """2,000 calls on one connection, of which half are refused by the service itself: those are freed last.

    In a process of its own, which looks for what can be freed less often than this one.
    """
    ended: Counter[str] = Counter()
    methods = itertools.cycle([METHOD, EXCHANGE])
    left = iter(range(2000))
    options = [("grpc.enable_retries", 0)]
    configure(tmp_path)
    with ForkedService(tmp_path, TOKENMINT_LISTEN__TRANSPORT=transport) as service:
        async with grpc.aio.insecure_channel(service.listen["grpc"], options=options) as channel:

            async def caller() -> None:
                for _ in left:
                    call: Any = channel.unary_unary(next(methods))
                    try:
                        await call(b"", timeout=120)
                        ended["OK"] += 1
                    except grpc.aio.AioRpcError as refused:
                        ended[refused.code().name] += 1

            await asyncio.gather(*(caller() for _ in range(at_once)))
    assert ended == {"OK": 1000, "UNAUTHENTICATED": 1000}


async def test_cve_2023_44487_calls_that_are_reset_at_once_end_nobody_elses(rig: Rig, shared: Peer) -> None:
    """More than gRPC's core lets wait for the service (1,000), from where on it ends calls of anybody at random."""
    async with grpc.aio.insecure_channel(rig.app.listen["grpc"]) as other:
        get: Any = KeySetServiceStub(other).GetKeySet
        for _ in range(4):
            for _ in range(1000):
                shared.h2.reset_stream(shared.call())
            shared.send()
            for _ in range(5):
                assert (await get(key_set_pb.GetKeySetRequest(), timeout=60)).etag


@pytest.mark.parametrize("body", [None, b""])
async def test_a_call_that_ends_without_a_message_is_answered_at_once(
    rig: Rig, shared: Peer, body: bytes | None
) -> None:
    for path in (METHOD, EXCHANGE, "/tokenmint.v1.KeySetService/WatchKeySet", "/grpc.health.v1.Health/Watch"):
        answer = await shared.answer(shared.call(body=body, path=path))
        # gRPC's status codes have UNIMPLEMENTED for it; the native transport's library answers by itself.
        assert answer.status == (INTERNAL if rig.native else UNIMPLEMENTED), (path, answer)
    assert (await shared.answer(shared.call())).status == OK


async def test_a_message_that_never_comes_does_not_outlive_the_calls_time(on: Any, transport: str) -> None:
    if transport == "native":
        pytest.skip("its calls begin with their message: one that never comes is the proxy's (docs/architecture.md)")
    async with on('[limits]\ncall_deadline = "300ms"\n') as rig, connected(rig.app.listen["grpc"]) as peer:
        for path in (EXCHANGE, "/tokenmint.v1.KeySetService/WatchKeySet"):
            answer = await peer.answer(peer.open_stream(path=path))
            assert answer.status == grpc.StatusCode.DEADLINE_EXCEEDED.value[0]


async def test_bytes_that_are_no_protobuf_are_refused_by_the_guard(logged: io.StringIO, rig: Rig) -> None:
    methods = (
        (rig.data, "KeySetService/GetKeySet", None),
        (rig.data, "TokenExchangeService/ExchangeToken", "web"),
        (rig.admin, "KeyAdminService/RotateSigningKey", "root"),
        (rig.admin, "KeyAdminService/GetKeyRingStatus", "guest"),
    )
    for channel, method, caller in methods:
        before = len(lines_about(logged))
        call: Any = channel.unary_unary(f"/tokenmint.v1.{method}")
        told = await refusal(call(NO_PROTOBUF, **(rig.auth(caller) if caller else {"timeout": 20})))
        assert (told.code, told.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_MESSAGE"), method
        assert "protobuf" in told.message
        (line,) = lines_about(logged)[before:]
        assert "MALFORMED_MESSAGE" in line
        assert method in line
        labels = f'code="INVALID_ARGUMENT",method="/tokenmint.v1.{method}",reason="MALFORMED_MESSAGE"'
        assert f"tokenmint_calls_total{{{labels}}} 1.0" in await metrics(rig)
    stream: Any = rig.data.unary_stream("/tokenmint.v1.KeySetService/WatchKeySet")
    told = await refusal(stream(NO_PROTOBUF, timeout=20).read())
    assert (told.code, told.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_MESSAGE")
    assert not re.search("canary|DecodeError|Traceback", logged.getvalue())


async def test_one_of_a_stream_of_requests_that_is_no_protobuf_is_refused_by_the_guard(
    logged: io.StringIO, rig: Rig
) -> None:
    call: Any = rig.admin.stream_unary("/tokenmint.v1.ProfileAdminService/ImportProfiles")
    told = await refusal(call(iter([b"", NO_PROTOBUF]), **rig.auth("root")))
    assert told.code is grpc.StatusCode.INVALID_ARGUMENT
    assert not re.search("canary|DecodeError|Traceback", logged.getvalue() + str(told))


async def test_who_is_not_proved_learns_nothing_of_its_bytes(rig: Rig) -> None:
    call: Any = rig.data.unary_unary(EXCHANGE)
    told = await refusal(call(NO_PROTOBUF, timeout=20))
    assert (told.code, told.reason) == (grpc.StatusCode.UNAUTHENTICATED, "CALLER_UNAUTHENTICATED")


async def test_a_response_that_can_not_be_serialised_is_an_internal_error_without_its_text(
    logged: io.StringIO, rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tokenmint.rpc import convert

    monkeypatch.setattr(convert, "key_set", lambda _: "canary-4711")  # no message of the method's
    told = await refusal(rig.key_set.GetKeySet(key_set_pb.GetKeySetRequest(), timeout=20))
    assert (told.code, told.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    (line,) = lines_about(logged)
    assert "internal error" in line
    assert not re.search("canary|Traceback", str(told) + logged.getvalue())
    assert 'reason="INTERNAL"' in await metrics(rig)


async def test_bad_frames_fail_their_own_stream_alone(logged: io.StringIO, rig: Rig, shared: Peer) -> None:
    packed = [("grpc-encoding", "gzip")]
    bodies: list[tuple[bytes, list[tuple[str, str]], set[int | None]]] = [
        (framed(b"", 1), [], {INTERNAL}),  # compressed, and nobody says how
        (framed(b"abc", 1), packed, {INTERNAL}),  # compressed in another way than is said
        (framed(gzip.compress(bytes(5_000_000)), 1), packed, {EXHAUSTED}),  # 5 MB once it is unpacked
        (framed(b"")[:4], [], {UNIMPLEMENTED, INTERNAL}),  # less than a frame
        (b"\0\0\0\0\x05ab", [], {UNIMPLEMENTED, INTERNAL}),  # less than the frame says
        (b"\0\x7f\xff\xff\xffab", [], {EXHAUSTED, INTERNAL}),  # 2 GiB, it says
        (framed(b"") + b"\0\0", [], {OK, INTERNAL}),  # a part of another frame
        (framed(b"") + framed(NO_PROTOBUF), [], {OK, INTERNAL, UNIMPLEMENTED}),  # two messages: never the second
    ]
    for body, extra, codes in bodies:
        answer = await shared.answer(shared.call(extra, body))
        assert answer.status in codes, (body[:20], answer)
        assert (await shared.answer(shared.call())).status == OK
    assert not re.search("Traceback|internal error", logged.getvalue())


async def test_a_content_type_that_is_not_grpcs_is_refused(logged: io.StringIO, rig: Rig, shared: Peer) -> None:
    if not rig.native:
        pytest.skip("gRPC's core serves every content type, and shows none: its proxy's routes tell (`grpc: {}`)")
    for refused in ("application/json", "application/grpc-web", "application/grpc+json", "application/grpcx", "", None):
        before = len(lines_about(logged))
        answer = await shared.answer(shared.call(content_type=refused))
        assert (answer.status, answer.data) == (UNIMPLEMENTED, b""), refused
        assert "application/grpc" in answer.message
        (line,) = lines_about(logged)[before:]
        assert "CONTENT_TYPE" in line
    for served in ("application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8", "Application/gRPC"):
        assert (await shared.answer(shared.call(content_type=served))).status == OK, served


async def test_another_method_of_http_than_post_fails_alone(rig: Rig, shared: Peer) -> None:
    if rig.native:
        pytest.skip("pygrpc-native serves every method and shows none: the proxy refuses it (deploy/envoy/native.yaml)")
    for method in ("GET", "PUT", "DELETE"):
        answer = await shared.answer(shared.call(method=method))
        assert answer.status == INTERNAL or answer.reset is not None
        assert answer.data == b""
        assert (await shared.answer(shared.call())).status == OK


async def test_calls_that_never_bring_the_rest_of_their_message_keep_nobody_waiting(shared: Peer) -> None:
    """Each holds back a byte of a message; together they have sent more than the connection's first window."""
    begun = [shared.call(body=framed(b"x" * 15_000)[:-1], end=False) for _ in range(4)]
    assert (await shared.answer(shared.call())).status == OK
    for stream in begun:
        shared.h2.reset_stream(stream)
    shared.send()
    assert (await shared.answer(shared.call())).status == OK


async def test_calls_that_are_reset_before_their_message_leave_no_error(
    logged: io.StringIO, rig: Rig, shared: Peer
) -> None:
    for _ in range(10):  # native's HTTP/2 ends a connection at more than 20 of them at a time (docs/adr/0014)
        shared.h2.reset_stream(shared.open_stream())
        shared.send()
    assert (await shared.answer(shared.call())).status == OK
    assert not re.search("Traceback|error", logged.getvalue())
