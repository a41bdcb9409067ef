"""Requests that two servers could read differently, that ask for another protocol, or that cost much to read."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.listeners import FORM, Run, Served, serving
from tests.sockets import answer, get
from uvicorn.protocols.http.h11_impl import H11Protocol

from tokenmint.web.heads import MAX_LINES, Head
from tokenmint.web.protocol import BODY_SLICE, SLICE

CHUNKS = b"3\r\na=b\r\n0\r\n\r\n"
NEXT = get("/quick")
HEAD = b"Host: x\r\n"


def post(*lines: bytes, version: bytes = b"1.1") -> bytes:
    return b"\r\n".join((b"POST /form HTTP/" + version, b"Host: x", *lines, b"", b""))


def quick(*lines: bytes) -> bytes:
    return b"\r\n".join((b"GET /quick HTTP/1.1", b"Host: x", *lines, b"", b""))


REFUSED = {
    "RFC 9112 6.1: HTTP/1.0 has no Transfer-Encoding": (
        400, post(b"Transfer-Encoding: chunked", version=b"1.0") + CHUNKS,
    ),
    "RFC 9112 6.1: a length beside chunks": (
        400, post(b"Content-Length: 5", b"Transfer-Encoding: chunked") + CHUNKS,
    ),
    "RFC 9112 6.1: another coding than chunked": (400, post(b"Transfer-Encoding: identity") + CHUNKS),
    "RFC 9112 6.1: chunked with an empty element": (400, post(b"Transfer-Encoding: chunked,") + CHUNKS),
    "RFC 9112 6.1: chunked behind a vertical tab": (400, post(b"Transfer-Encoding: \x0bchunked") + CHUNKS),
    "RFC 9112 3.2: no Host": (400, b"GET /quick HTTP/1.1\r\n\r\n"),
    "RFC 9112 3.2: two Hosts": (400, b"GET /quick HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"),
    "RFC 9112 2.2: lines that a bare LF ends": (400, b"GET /quick HTTP/1.1\nHost: x\n\n"),
    "RFC 9112 2.2: a field behind a bare LF": (400, post(b"X: a\nTransfer-Encoding: chunked") + CHUNKS),
    "RFC 9112 2.2: a bare CR": (400, post(b"X: a\rb")),
    "RFC 9112 5.2: a folded line": (400, post(b"X: a", b" b")),
    "RFC 9112 5.2: a coding in a folded line": (400, post(b"Transfer-Encoding:", b"\tchunked") + CHUNKS),
    "RFC 9112 5.1: a space before the colon": (400, post(b"Transfer-Encoding : chunked") + CHUNKS),
    "RFC 9112 7.1: a chunk size in another notation": (400, post(b"Transfer-Encoding: chunked") + b"0x3\r\na=b"),
    "RFC 9112 7.1: a chunk size below zero": (400, post(b"Transfer-Encoding: chunked") + b"-3\r\na=b"),
    "RFC 9112 7.1: a chunk of 2^120 bytes": (400, post(b"Transfer-Encoding: chunked") + b"f" * 30 + b"\r\na"),
    "CVE-2025-43859: a chunk that does not end with CRLF": (
        400, post(b"Transfer-Encoding: chunked") + b"3\r\na=bXX0\r\n\r\n",
    ),
    "RFC 9112 7.1.1: a chunk extension with a bare LF": (
        400, post(b"Transfer-Encoding: chunked") + b"3;\na=b\r\n0\r\n\r\n",
    ),
    "a chunk extension beyond every limit": (400, post(b"Transfer-Encoding: chunked") + b"3;" + b"a" * 40_000),
    "trailers beyond every limit": (400, post(b"Transfer-Encoding: chunked") + b"0\r\n" + b"A: b\r\n" * 9_000),
    "a body in very many chunks": (400, post(b"Transfer-Encoding: chunked") + b"1\r\na\r\n" * 60_000 + b"0\r\n\r\n"),
    "RFC 9110 8.6: a length with a sign": (400, post(b"Content-Length: +3") + b"a=b"),
    "HTTP/0.9": (400, b"GET /quick\r\n\r\n"),
    "RFC 9113 3.4: the preface of HTTP/2": (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"),
    "RFC 9110 15.6.6: HTTP/2.0 in words": (505, b"GET /quick HTTP/2.0\r\nHost: x\r\n\r\n"),
    "TLS on a listener without it": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64 + b"\r\n\r\n"),
    "a head with many lines, all in time": (400, b"GET /quick HTTP/1.1\r\nHost: x\r\n" + b"a:\r\n" * 3_900 + b"\r\n"),
    "a head of a megabyte": (400, b"GET /quick HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n"),
}  # fmt: skip


async def learn(served: Served) -> None:
    """Let the fast way know the heads that the refused requests vary."""
    plain = quick() + post(b"Content-Length: 3") + b"a=b"
    said = await answer(served.at, plain + NEXT)
    assert said.count(b"HTTP/1.1 200 ") == 3
    assert served.server._fast is not None
    assert len(served.server._fast) == 2
    served.application.bodies.clear()


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("name", REFUSED)
def test_requests_that_two_servers_could_read_differently_end_the_connection(
    run: Run, name: str, *, known: bool
) -> None:
    status, request = REFUSED[name]

    async def scenario() -> None:
        async with serving() as served:
            served.application.gate.set()
            if known:
                await learn(served)
            said = await answer(served.at, request + NEXT)  # what follows is not answered
            if said:  # a connection that is closed while more is sent may be reset, and the answer with it
                assert said.split(b" ", 2)[1] == str(status).encode(), said[:100]
                assert said.count(b"\r\ncontent-type: ") == 1
            assert b"ok\n" not in said
            assert not served.application.bodies

    run(scenario())


@pytest.mark.parametrize("hidden", ["RFC 9112 2.2: a field behind a bare LF", "RFC 9112 5.2: a folded line"])
def test_what_follows_in_the_same_packet_is_looked_at_as_well(run: Run, hidden: str) -> None:
    """Pipelined (RFC 9112 section 9.3.2): behind a request without a body, and behind one with a body."""

    async def scenario() -> None:
        for first in (quick(), FORM):
            async with serving() as served:
                served.application.gate.set()
                said = await answer(served.at, first + REFUSED[hidden][1])
                assert [part[:3] for part in said.split(b"HTTP/1.1 ")[1:]] == [b"200", b"400"]

    run(scenario())


ANSWERED = {
    "HEAD": ([200], b"HEAD /quick HTTP/1.1\r\nHost: x\r\n\r\n"),
    "RFC 9110 7.8: an upgrade to websocket is ignored": (
        [200],
        quick(b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13",
              b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="),
    ),
    "RFC 9113 3.1: an upgrade to h2c is ignored": (
        [200],
        quick(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__"),
    ),
    "RFC 9110 9.3.6: CONNECT opens no tunnel": ([404], b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n"),
    "RFC 9112 3.2.4: OPTIONS *": ([404], b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"),
    "RFC 9112 3.2.2: the absolute form names no resource": ([404], b"GET http://x/quick HTTP/1.1\r\nHost: x\r\n\r\n"),
    "TRACE": ([405], b"TRACE /quick HTTP/1.1\r\nHost: x\r\n\r\n"),
    "a body that nobody asked for is no request": (
        [200], quick(b"Content-Length: %d" % len(NEXT)) + NEXT,
    ),
    "trailers set no fields": (
        [200], post(b"Transfer-Encoding: chunked") + b"3\r\na=b\r\n0\r\nContent-Length: 5\r\nConnection: close\r\n\r\n",
    ),
    "a body in many chunks": (
        [200], post(b"Transfer-Encoding: chunked") + b"3\r\na=b\r\n" + b"2\r\n&c\r\n" * 900 + b"0\r\n\r\n",
    ),
    "twenty requests in one packet": ([200] * 20, quick() * 20),
    "as many lines as there may be": (
        [200], b"GET /quick HTTP/1.1\r\nHost: x\r\n" + b"a:\r\n" * (MAX_LINES - 3) + b"\r\n",
    ),
    "a body with line feeds": ([200], post(b"Content-Length: 400") + b"\n" * 400),
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERED)
def test_what_is_answered_leaves_the_connection_in_step(run: Run, name: str) -> None:
    """Or ends it: behind a body in chunks, whose end only the parser knows."""
    statuses, request = ANSWERED[name]

    async def scenario() -> None:
        async with serving() as served:
            served.application.gate.set()
            said = await answer(served.at, request + NEXT)
            given = [int(part[:3]) for part in said.split(b"HTTP/1.1 ")[1:]]
            assert given == (statuses if b"chunked" in request else [*statuses, 200])

    run(scenario())


@given(cuts=st.lists(st.integers(0, 200)), hostile=st.sampled_from([b"a\nb", b"a\r\n b", b"a\r\n\tb", b"a\n\nb", None]))
def test_a_head_is_judged_alike_however_it_is_cut(cuts: list[int], hostile: bytes | None) -> None:
    filler = b"a" if hostile is None else hostile
    whole = b"GET / HTTP/1.1\r\nHost: x\r\nX: " + filler + b"\r\n\r\n"
    data = whole + b"body\nwith\n\nbare line feeds\r\n and folds"
    at = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    head, taken = Head(), 0
    for start, end in itertools.pairwise(at):
        part = data[start:end]
        length = head.take(part)
        if length < 0:
            assert hostile is not None
            return
        taken += length
        if length < len(part):
            break
        if taken == len(whole):
            break
    assert hostile is None
    assert taken == len(whole)


async def test_a_long_body_costs_few_calls_of_the_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call of the parser costs as much as tens of kilobytes, and everything that has arrived is parsed at once."""
    calls: list[int] = []
    parse = H11Protocol.data_received

    def counted(self: H11Protocol, data: bytes) -> None:
        calls.append(len(data))
        parse(self, data)

    monkeypatch.setattr(H11Protocol, "data_received", counted)
    body = b"a" * 4_000_000
    async with serving() as served:
        served.application.gate.set()
        told = await answer(served.at, post(b"Connection: close", b"Content-Length: %d" % len(body)) + body)
        assert told.startswith(b"HTTP/1.1 200")
        assert served.application.bodies == [body]
    assert sum(size for size in calls if size > SLICE) > len(body) // 2
    assert max(calls) <= BODY_SLICE
