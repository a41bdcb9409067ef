"""Requests that repeat a known head get the answers of the full way, and every limit of the full way."""

import asyncio
import random

import pytest
from tests.listeners import Run, Served, serving
from tests.repeated import DATE, OTHER, QUICK, REFUSAL, asked, connected, form, learn
from tests.sockets import answer, get, hang_up, held, until_closed

from tokenmint.web.connections import Phase
from tokenmint.web.fast_requests import ENTRIES, LONGEST, SIZE

pytestmark = pytest.mark.slow


def test_a_repeated_head_is_answered_as_by_the_full_way(run: Run) -> None:
    async def scenario() -> None:
        async with serving() as served:
            served.application.gate.set()
            async with connected(served) as streams:
                for request in (QUICK, form(b"a=b")):
                    before = served.fast.answered
                    first, second, third = [await asked(streams, request) for _ in range(3)]
                    assert first == second == third
                    assert served.fast.answered == before + 2
                await asked(streams, form(b"of another length"))
                assert served.fast.answered == 5
            assert served.application.bodies == [b"a=b"] * 3 + [b"of another length"]

    run(scenario())


TRACES = [f"00-{number:032x}-{number:016x}-0{number % 2}".encode() for number in range(1, 4)]


def traced(request: bytes, *fields: bytes) -> bytes:
    return request.replace(b"\r\n\r\n", b"".join(b"\r\n" + field for field in fields) + b"\r\n\r\n", 1)


@pytest.mark.parametrize("state", [b"", b"tracestate: a=1"])
@pytest.mark.parametrize("request_of", [QUICK, form(b"a=b")], ids=["without a body", "with a body"])
def test_a_head_that_differs_by_its_trace_is_the_same_head(run: Run, request_of: bytes, state: bytes) -> None:
    async def scenario() -> None:
        async with serving() as served:
            served.application.gate.set()
            async with connected(served) as streams:
                for number, trace in enumerate(TRACES):
                    fields = [b"traceparent: " + trace, *([state + b"2" * number] if state else [])]
                    await asked(streams, traced(request_of, *fields))
            assert served.fast.answered == 2
            assert served.fast.traceparents == [trace.decode() for trace in TRACES[1:]]
            assert len(served.server._fast or ()) == 1

    run(scenario())


OTHER_TRACES = {
    "capitals": [b"traceparent: " + TRACES[0].upper()],
    "another version": [b"traceparent: 01" + TRACES[0][2:]],
    "twice": [b"traceparent: " + TRACES[0]] * 2,
    "an empty one": [b"traceparent: "],
    "a state alone": [b"tracestate: a=1"],
    "a folded one": [b"traceparent: " + TRACES[0] + b"\r\n more"],
}


@pytest.mark.parametrize("name", OTHER_TRACES)
def test_a_trace_of_another_form_is_never_remembered(run: Run, name: str) -> None:
    async def scenario() -> None:
        async with serving() as served:
            served.application.gate.set()
            await answer(served.at, traced(QUICK, b"traceparent: " + TRACES[0]) + get("/quick"))
            for _ in range(3):
                await answer(served.at, traced(QUICK, *OTHER_TRACES[name]) + get("/quick"))
            assert served.fast.answered == 0

    run(scenario())


LEFT_TO_THE_FULL_WAY = {
    "HTTP/1.0": QUICK.replace(b"/1.1", b"/1.0"),
    "a head that ends the connection": QUICK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
    "an upgrade": QUICK.replace(b"\r\n\r\n", b"\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
    "a query": QUICK.replace(b"/quick", b"/quick?a=b"),
    "another method": QUICK.replace(b"GET", b"HEAD"),
    "another path": QUICK.replace(b"/quick", b"/healthz"),
    "an unknown field": OTHER,
    "a field of a proxy": QUICK.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n"),
    "a proof": QUICK.replace(b"\r\n\r\n", b"\r\nDPoP: x\r\n\r\n"),
    "a field twice": QUICK.replace(b"\r\n\r\n", b"\r\nUser-Agent: other\r\n\r\n"),
    "a body that is asked for": form(b"a=b").replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"),
    "an empty body": form(b""),
    "a length with a zero before it": form(b"a=b").replace(b": 3", b": 03"),
    "two equal lengths": form(b"a=b").replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\n"),
    "a body in chunks": (
        b"POST /form HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na=b\r\n0\r\n\r\n"
    ),
    "a long head": QUICK.replace(b"test", b"t" * LONGEST),
    "a long body": form(b"a" * 65_537),
}  # fmt: skip


@pytest.mark.parametrize("name", LEFT_TO_THE_FULL_WAY)
def test_what_is_not_plain_is_never_remembered(run: Run, name: str) -> None:
    request = LEFT_TO_THE_FULL_WAY[name]

    async def scenario() -> None:
        async with serving() as served, serving(with_fast_way=False) as full:
            for each in (served, full):
                each.application.gate.set()
            for _ in range(3):
                said = [await answer(each.at, request + get("/quick")) for each in (served, full)]
                assert DATE.sub(b"", said[0]) == DATE.sub(b"", said[1])
            assert served.fast.answered == 0

    run(scenario())


async def _answers(served: Served, parts: list[bytes]) -> bytes:
    """Send parts, each after the last one has arrived; return the answers until the connection ends."""
    reader, writer = await asyncio.open_connection(*served.at)
    try:
        for part in parts:
            writer.write(part)
            for _ in range(5):  # turns of the loop, so that most parts arrive alone
                await asyncio.sleep(0)
        # A parser that has read no request yet frames its error for HTTP/1.0.
        return REFUSAL.sub(b"400", DATE.sub(b"date", await until_closed(reader)))
    finally:
        await hang_up(writer)


def test_answers_do_not_depend_on_the_way_or_on_how_requests_arrive(run: Run) -> None:
    """Sequences of known, unknown and hostile requests, in pieces of any size (RFC 9112 section 9.3.2)."""
    chance = random.Random(17)
    requests = [QUICK, QUICK, QUICK, OTHER, form(b"a=b"), form(b"a"), form(QUICK), form(b"\r\n\r\n")]
    requests += [LEFT_TO_THE_FULL_WAY[name] for name in ("a query", "a field twice", "two equal lengths", "an upgrade")]
    # Each of these ends the connection. Nothing follows it, since a reset might then take the answers away.
    ends = [
        form(b"a=b").replace(b": 3", b": +3"),
        form(b"a=b").replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n"),
        form(b"a=b").replace(b"\r\n\r\n", b"\r\nContent-Length: 4\r\n\r\n"),
        form(b"a=b").replace(b"Content-Length: 3", b"Content-Length : 3"),
        form(b"a=b").replace(b"\r\nContent-Length", b"\nContent-Length"),
        form(b"a=b") + b"x" + get("/quick"),
        QUICK.replace(b"\r\nUser-Agent", b"\r\n User-Agent"),
        QUICK.replace(b"\r\n", b"\n"),
        b"\r\n" + QUICK,
        *(LEFT_TO_THE_FULL_WAY[name] for name in ("HTTP/1.0", "a head that ends the connection", "a body in chunks")),
        *[get("/quick")] * 10,
    ]

    async def scenario() -> None:
        async with serving() as served, serving(with_fast_way=False) as full:
            await learn(served)
            full.application.gate.set()
            for _ in range(150):
                sent, end = chance.choices(requests, k=chance.randrange(1, 5)), chance.choice(ends)
                parts = sent if chance.random() < 0.5 else _pieces(chance, b"".join(sent))
                answers = await _answers(full, [*parts, end])
                assert await _answers(served, [*parts, end]) == answers, (parts, end)
                assert served.application.bodies == full.application.bodies
            assert served.fast.answered > 50

    run(scenario())


def _pieces(chance: random.Random, data: bytes) -> list[bytes]:
    cuts = sorted(chance.randrange(len(data)) for _ in range(chance.randrange(6)))
    return [data[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True) if begin < end]


def test_requests_beyond_the_limit_are_refused_also_where_their_head_is_known(run: Run) -> None:
    async def scenario() -> None:
        async with serving(requests=3) as served:
            await learn(served)
            served.application.gate.clear()
            served.application.waiting = 0
            async with held(served.at, 3, get("/gated")):
                await served.until_waiting(3)
                for request in (QUICK, form(b"a=b")):
                    async with connected(served) as streams:
                        assert (await asked(streams, request)).startswith(b"HTTP/1.1 503 ")
            assert served.fast.answered == 0
            assert served.counted == ["request_refused"] * 2

    run(scenario())


def test_a_connection_beyond_the_limit_is_refused_also_where_its_head_is_known(run: Run) -> None:
    async def scenario() -> None:
        async with serving(connections=3) as served:
            await learn(served)
            await served.until_held(0)
            served.application.gate.clear()
            served.application.waiting = 0
            async with held(served.at, 3, get("/gated")):
                await served.until_waiting(3)
                async with connected(served) as streams:
                    assert (await asked(streams, QUICK)).startswith(b"HTTP/1.1 503 ")

    run(scenario())


def test_an_answered_connection_makes_room_after_those_that_were_idle_before(run: Run) -> None:
    async def scenario() -> None:
        async with serving(connections=3) as served:
            await learn(served)
            await served.until_held(0)
            async with held(served.at, 3, b"") as opened:
                await served.until_held(3)
                await asked(opened[0], QUICK)
                assert served.fast.answered == 1
                async with connected(served) as streams:
                    await asked(streams, QUICK)
                    await until_closed(opened[1][0])
                    assert not opened[0][0].at_eof()

    run(scenario())


def test_a_connection_of_the_fast_way_ends_when_it_is_idle_for_too_long(run: Run) -> None:
    async def scenario() -> None:
        async with serving() as served:
            await learn(served)
            served.server._config.timeout_keep_alive = 0
            async with connected(served) as streams:
                await asked(streams, QUICK)
                assert served.fast.answered == 1
                assert await until_closed(streams[0]) == b""

    run(scenario())


def test_the_time_for_a_request_does_not_end_a_connection_that_was_answered(run: Run) -> None:
    async def scenario() -> None:
        async with serving(request_time=0.2) as served:
            await learn(served)
            async with connected(served) as streams:
                await asked(streams, QUICK)
                [protocol] = served.server._state.connections
                assert protocol._timer is None  # type: ignore[union-attr]  # ours
                streams[1].write(QUICK[:20])  # half a request has an end
                assert await until_closed(streams[0]) == b""

    run(scenario())


def test_answers_that_are_not_read_stop_the_fast_way_and_have_an_end(run: Run) -> None:
    async def scenario() -> None:
        async with serving(request_time=0.2) as served:
            await learn(served)
            async with connected(served) as streams:
                await asked(streams, QUICK)
                [protocol] = served.server._state.connections
                protocol.pause_writing()
                assert protocol._place.phase is Phase.UNFINISHED  # type: ignore[union-attr]  # ours
                streams[1].write(QUICK)
                await until_closed(streams[0])
            assert served.fast.answered == 1

    run(scenario())


def test_responses_close_their_connections_while_the_process_stops(run: Run) -> None:
    async def scenario() -> None:
        async with serving() as served:
            await learn(served)
            async with connected(served) as streams:
                await asked(streams, QUICK)
                served.application.stopping.set()
                assert b"\r\nconnection: close\r\n" in await asked(streams, QUICK)
                assert await until_closed(streams[0]) == b""
            assert served.fast.answered == 1

    run(scenario())


def test_a_fault_of_the_fast_way_is_logged_and_the_full_way_answers(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with serving() as served:
            await learn(served)
            monkeypatch.setattr(served.application, "bodies", None)  # it can't be appended to
            async with connected(served) as streams:
                assert (await asked(streams, form(b"a=b"))).startswith(b"HTTP/1.1 500 ")

    run(scenario())
    assert "AttributeError" in "".join(capsys.readouterr())


def test_heads_that_anybody_can_send_take_bounded_memory(run: Run) -> None:
    async def scenario() -> None:
        async with serving() as served:
            fast = served.server._fast
            assert fast is not None
            async with connected(served) as streams:
                for number in range(ENTRIES + 10):
                    await asked(streams, QUICK.replace(b"test", b"%d" % number))
            assert len(fast) == ENTRIES
            assert fast._heads.size <= SIZE

    run(scenario())
