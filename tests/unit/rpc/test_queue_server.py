"""grpcio's calls, taken from the core's queue on the event loop."""

import asyncio
import subprocess
import sys
import threading

import grpc
import grpc.aio
import pytest
from tests.queued import FAST, SLOW, STREAM, serving

from tokenmint.rpc import queue_server
from tokenmint.rpc.queue_calls import QueueCall


def code(failed: pytest.ExceptionInfo[grpc.aio.AioRpcError]) -> tuple[grpc.StatusCode, str | None]:
    return failed.value.code(), failed.value.details()


async def test_a_whole_call_is_answered_without_its_handler_and_recorded_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(queue_server, "LATE", 20.0)  # however busy the machine is
    async with serving() as (guard, _, channel):
        assert await channel.unary_unary(FAST)(b"yes") == b"YES"
        assert guard.handled == 0
        assert guard.fast.written == 1
    assert guard.capacity.in_flight == 0


async def test_a_declined_call_reaches_its_handler_and_the_fast_way_is_not_asked_again() -> None:
    async with serving() as (guard, _, channel):
        assert await channel.unary_unary(FAST)(b"no") == b"slowly: no"
        assert (guard.fast.asked, guard.handled) == ([b"no"], 1)


async def test_a_message_that_comes_late_is_read_by_the_handler() -> None:
    async with serving() as (guard, _, channel):
        call = channel.stream_unary(FAST)()
        await guard.began.wait()  # the headers are there
        await call.write(b"yes")
        await call.done_writing()
        assert await call == b"slowly: yes"
        assert (guard.fast.asked, guard.handled) == ([], 1)


async def test_a_call_without_a_message_reaches_its_handler() -> None:
    async with serving() as (guard, _, channel):
        call = channel.stream_unary(FAST)()
        await call.done_writing()
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await call
        assert code(failed) == (grpc.StatusCode.UNIMPLEMENTED, "no message")
        assert guard.fast.asked == []


async def test_a_call_that_waits_leaves_when_its_client_cancels() -> None:
    async with serving() as (guard, _, channel):
        call = channel.unary_unary(FAST)(b"wait")
        await guard.fast.waits.wait()
        assert guard.capacity.in_flight == 1
        call.cancel()
        assert await guard.capacity.idle(10)


async def test_a_handler_is_cancelled_with_its_call() -> None:
    async with serving() as (guard, _, channel):
        call = channel.unary_unary(SLOW)(b"hang")
        await guard.hangs.wait()
        call.cancel()
        await guard.over.wait()


async def test_a_handler_that_waits_for_its_message_is_cancelled_with_its_call() -> None:
    async with serving() as (guard, _, channel):
        call = channel.stream_unary(SLOW)()
        await guard.began.wait()
        call.cancel()
        await guard.over.wait()
        assert not guard.hangs.is_set()


async def test_a_handler_is_cancelled_at_the_deadline_of_its_call() -> None:
    async with serving() as (guard, _, channel):
        for deadline in (0.2, 1.0, 5.0, 25.0):
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await channel.unary_unary(SLOW)(b"hang", timeout=deadline)
            assert failed.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            if guard.hangs.is_set():  # a busy machine may not begin it within the shortest
                break
        await guard.over.wait()


async def test_a_stopping_process_refuses_a_call_without_a_handler_before_it_is_read() -> None:
    async with serving() as (guard, server, channel):
        guard.capacity.stopping = True
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await channel.unary_unary(FAST)(b"yes")
        assert code(failed)[0] is grpc.StatusCode.UNAVAILABLE
        assert (guard.fast.asked, guard.handled, server._tasks, guard.counted) == ([], 0, {}, ["STOPPING"])


async def test_streams_are_read_and_written() -> None:
    async with serving() as (_, _, channel):
        call = channel.stream_stream(STREAM)(iter([b"a", b"b"]))
        assert [message async for message in call] == [b"aa", b"bb"]


async def test_the_text_of_an_exception_is_not_sent() -> None:
    async with serving() as (_, _, channel):
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await channel.unary_unary(SLOW)(b"fail")
        assert failed.value.code() is grpc.StatusCode.INTERNAL
        assert "secret" not in str(failed.value.details())


async def test_an_unknown_method_is_unimplemented() -> None:
    async with serving() as (_, _, channel):
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await channel.unary_unary("/tests.Queue/None")(b"x")
        assert failed.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_stop_lets_calls_end_cancels_the_others_and_ends_its_thread() -> None:
    before = {thread for thread in threading.enumerate() if thread.name == "grpc-queue"}
    async with serving() as (guard, server, channel):
        [mine] = {thread for thread in threading.enumerate() if thread.name == "grpc-queue"} - before
        hanging = channel.unary_unary(SLOW)(b"hang")
        await guard.hangs.wait()
        await server.stop(0.01)
        assert guard.over.is_set()
        with pytest.raises(grpc.aio.AioRpcError):
            await hanging
        await asyncio.to_thread(mine.join, 10)
        assert not mine.is_alive()


async def test_many_calls_at_once_are_all_answered() -> None:
    async with serving() as (guard, _, channel):
        fast, slow = channel.unary_unary(FAST), channel.unary_unary(SLOW)
        messages = [b"y%d" % number for number in range(100)]
        answers = await asyncio.gather(*map(fast, messages))
        for message, answer in zip(messages, answers, strict=True):
            assert answer in (message.upper(), b"slowly: " + message)  # a handler has it if its message came too late
        assert guard.fast.asked
        assert await asyncio.gather(*map(slow, messages)) == [b"slowly: " + message for message in messages]
    assert guard.capacity.in_flight == 0


async def test_a_call_without_a_place_is_refused_without_a_handler_before_it_is_read() -> None:
    async with serving() as (guard, server, channel):
        places = [guard.capacity.enter() for _ in range(guard.capacity.limit)]
        for place in places:
            place.begin()
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await channel.unary_unary(FAST)(b"yes")
        assert code(failed)[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (guard.fast.asked, guard.handled, server._tasks, guard.counted) == ([], 0, {}, ["OVERLOADED"])
        for place in places:
            place(None)
        assert (await channel.unary_unary(FAST)(b"yes")).endswith((b"YES", b"yes"))


async def test_a_call_whose_deadline_passed_while_its_message_came_is_not_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serving() as (guard, server, channel):
        remaining = iter([20.0, 0.0])
        monkeypatch.setattr(QueueCall, "time_remaining", lambda _: next(remaining))
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await channel.unary_unary(FAST)(b"yes", timeout=20)
        assert code(failed)[0] is grpc.StatusCode.DEADLINE_EXCEEDED
        assert (guard.fast.asked, guard.handled, server._tasks, guard.counted) == ([], 0, {}, ["DEADLINE"])


@pytest.mark.skipif(sys.platform != "linux", reason="SCHED_BATCH is Linux's")
def test_threads_of_the_core_do_not_interrupt_the_event_loop() -> None:
    """In a process of its own, because the core starts its threads once."""
    program = """
import asyncio, os
from tests.queued import Guard
from tokenmint.base.addresses import Address
from tokenmint.rpc import server
from tokenmint.rpc.health_service import Health

class Wrapping(Guard):
    def wrap(self, _, handler):
        return handler

async def main():
    built = server.build(Wrapping(), Address("127.0.0.1", 0), [], Health(8), limits=server.Limits())
    await built.start()
    names = {int(tid): open(f"/proc/self/task/{tid}/comm").read() for tid in os.listdir("/proc/self/task")}
    core = [tid for tid, name in names.items() if name.startswith(("event_engine", "grpc_global"))]
    assert core, names
    print({os.sched_getscheduler(tid) for tid in core} == {os.SCHED_BATCH}, os.sched_getscheduler(0) == os.SCHED_OTHER)
    await built.stop(0)

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "True True\n", done.stderr
