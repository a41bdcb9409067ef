"""Collectors of every kind: good ones, slow ones, refusing ones, and such as are none."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.collector import over_grpc, over_http
from tests.providers import proxy
from tests.tls import authority

from tokenmint.base.errors import ConfigurationError
from tokenmint.base.http_url import HttpUrl
from tokenmint.model.secret import Secret
from tokenmint.tracing.collectors import MAX_RESPONSE, collector_of, headers_in
from tokenmint.tracing.export import ExportFailed
from tokenmint.tracing.options import TracingOptions
from tokenmint.tracing.otlp import Encoder
from tokenmint.tracing.spans import Kind, Span

ATTRIBUTES: dict[str, str | int] = {"rpc.method": "x/Y", "http.response.status_code": 200}
SPAN = Span(
    "a" * 32, "b" * 16, "c" * 16, "x/Y", Kind.SERVER, 10, 20, ATTRIBUTES, "v=1", remote_parent=True, failed=True
)
BODY = Encoder({"service.name": "x"}, "1").encode([SPAN])
OVER = {"grpc": over_grpc, "http/protobuf": over_http}


def options(url: str, protocol: Any = "grpc", **changes: Any) -> TracingOptions:
    made = TracingOptions(HttpUrl.parse(url), timeout=20.0)
    return replace(made, protocol=protocol, **changes)


async def sent(chosen: TracingOptions) -> bytes:
    collector = collector_of(chosen)
    try:
        return await collector.send(BODY)
    finally:
        await collector.close()


async def failure(chosen: TracingOptions) -> ExportFailed:
    with pytest.raises(ExportFailed) as error:
        await sent(chosen)
    return error.value


each = pytest.mark.parametrize("protocol", OVER)


@each
async def test_a_span_arrives_as_it_was_made(protocol: str) -> None:
    with OVER[protocol]() as collector:
        await sent(options(collector.url, protocol, headers=(("x-tenant", Secret("t")),)))
        (span,) = collector.spans
        assert (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()) == ("a" * 32, "b" * 16, "c" * 16)
        assert (span.name, span.kind, span.trace_state) == ("x/Y", span.SPAN_KIND_SERVER, "v=1")
        assert (span.start_time_unix_nano, span.end_time_unix_nano) == (10, 20)
        assert span.flags == 0x301
        assert span.status.code == 2
        assert {one.key for one in span.attributes} == set(ATTRIBUTES)
        assert collector.metadata[0]["x-tenant"] == "t"


@each
async def test_a_slow_collector_ends_in_time(protocol: str) -> None:
    with OVER[protocol]() as collector:
        collector.go_on.clear()
        found = await failure(options(collector.url, protocol, timeout=0.2))
        assert found.again
        assert found.message in (
            "the collector did not answer within 0.2 s",
            "the collector answered DEADLINE_EXCEEDED",
        )


@pytest.mark.parametrize(
    ("code", "again"),
    [
        (grpc.StatusCode.UNAVAILABLE, True),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, False),
        (grpc.StatusCode.UNAUTHENTICATED, False),
        (grpc.StatusCode.UNIMPLEMENTED, False),
    ],
)
async def test_over_grpc_the_code_decides_whether_a_retry_helps(code: grpc.StatusCode, again: bool) -> None:
    with over_grpc() as collector:
        collector.code = code
        found = await failure(options(collector.url))
        assert (found.message, found.again) == (f"the collector answered {code.name}", again)


@pytest.mark.parametrize(
    ("status", "again"), [(429, True), (503, True), (400, False), (401, False), (302, False), (204, False)]
)
async def test_over_http_the_status_decides_whether_a_retry_helps(status: int, again: bool) -> None:
    with over_http() as collector:
        collector.status = status
        found = await failure(options(collector.url, "http/protobuf"))
        assert (found.message, found.again) == (f"the collector answered {status}", again)


async def test_a_response_over_the_limit_is_not_read_to_its_end() -> None:
    with over_http() as collector:
        collector.body = bytes(MAX_RESPONSE + 1)
        found = await failure(options(collector.url, "http/protobuf"))
        assert (found.message, found.again) == (f"the collector answered with more than {MAX_RESPONSE} bytes", False)


async def test_over_http_the_next_address_of_a_name_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(_: str, port: int, *__: object) -> list[Any]:  # localhost is ::1 as well, where few collectors listen
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in ("127.0.0.2", "127.0.0.1")]

    with over_http() as collector:
        monkeypatch.setattr(socket, "getaddrinfo", found)
        await sent(options(collector.url, "http/protobuf"))
        assert len(collector.spans) == 1


@contextmanager
def speaking(answer: bytes, *, endless: bool = False) -> Iterator[str]:
    """A server that sends the same bytes to everybody, once or for as long as somebody reads."""
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with peer:
                peer.settimeout(10)
                try:
                    peer.recv(65536)
                    peer.sendall(answer)
                    while endless and not over.is_set():
                        peer.sendall(b"x-header: " + b"y" * 1000 + b"\r\n")
                except OSError:
                    continue

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)  # accept() ends with it, and not with a close
        thread.join(timeout=15)
        listener.close()
        assert not thread.is_alive()


@each
@pytest.mark.parametrize(
    "answer", [b"", b"\x00" * 100, b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", b"SSH-2.0\r\n"]
)
async def test_a_server_that_is_no_collector_is_a_failure_to_be_repeated(protocol: str, answer: bytes) -> None:
    with speaking(answer) as url:
        found = await failure(options(url, protocol, timeout=2.0))
        assert found.again


@each
async def test_headers_without_end_are_not_kept(protocol: str) -> None:
    with speaking(b"HTTP/1.1 200 OK\r\n", endless=True) as url:
        assert (await failure(options(url, protocol, timeout=2.0))).again


@each
async def test_nobody_listens(protocol: str) -> None:
    with OVER[protocol]() as collector:
        url = collector.url
    assert (await failure(options(url, protocol, timeout=2.0))).again


async def test_a_certificate_of_another_authority_is_not_accepted(tmp_path: Path) -> None:
    ca, other = authority(), authority("Other")
    for name, one in (("ca", ca), ("other", other)):
        (tmp_path / name).write_bytes(one.pem)
    with over_grpc(ca) as collector:
        assert await sent(options(collector.url, ca_file=tmp_path / "ca")) is not None
        assert (await failure(options(collector.url, ca_file=tmp_path / "other", timeout=2.0))).again
        assert len(collector.spans) == 1


async def test_renewed_authorities_and_headers_count_from_the_next_export(tmp_path: Path) -> None:
    ca, other = authority(), authority("Other")
    (tmp_path / "ca").write_bytes(other.pem)
    (tmp_path / "headers").write_text("authorization: old\n")
    with over_grpc(ca) as collector:
        made = collector_of(
            options(collector.url, ca_file=tmp_path / "ca", headers_file=tmp_path / "headers", timeout=10.0)
        )
        with pytest.raises(ExportFailed):
            async with asyncio.timeout(20):
                await made.send(BODY)
        (tmp_path / "ca").write_bytes(ca.pem)
        (tmp_path / "headers").write_text("authorization: new\n")
        for files in made.files:
            files.look(unconditionally=True)
        await made.send(BODY)
        await made.close()
        assert collector.metadata[-1]["authorization"] == "new"


@pytest.mark.parametrize(
    "text",
    [
        "no colon", "a: 1\na: 2", "content-type: x", "grpc-timeout: 1S", "x-bin: x", "a:", "é: x", "a: é", "a b: c",
        "Host: x", "a: " + "x" * 9000, "\n".join(f"h{number}: x" for number in range(33)),
    ],
)  # fmt: skip
def test_a_file_without_usable_headers_is_refused_without_showing_them(text: str, tmp_path: Path) -> None:
    (tmp_path / "headers").write_text(text)
    with pytest.raises(ConfigurationError, match="holds no headers") as error:
        headers_in("tracing.headers_file", tmp_path / "headers")
    assert text not in str(error.value)


def test_headers_are_read_with_names_in_lower_case(tmp_path: Path) -> None:
    (tmp_path / "headers").write_text("Authorization:  Bearer x y \r\n\nX-Tenant: t\n")
    found = headers_in("tracing.headers_file", tmp_path / "headers").value
    assert [(name, value.reveal()) for name, value in found] == [("authorization", "Bearer x y"), ("x-tenant", "t")]


@each
async def test_no_variable_of_the_environment_leads_spans_through_a_proxy(
    protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    with proxy({}) as seen, OVER[protocol]() as collector:
        for name in ("grpc_proxy", "https_proxy", "http_proxy", "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{seen.port}")
        await sent(options(collector.url, protocol))
        assert len(collector.spans) == 1
    assert not seen.asked
