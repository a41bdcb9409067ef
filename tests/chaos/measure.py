"""How long a revocation takes to reach the last replica, and a change every watcher. In calm, but under load."""

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final

import grpc
import grpc.aio
from tests.chaos.ledger import Ledger, Minted
from tests.chaos.load import CHANNELS, Load, channel
from tests.chaos.replicas import Replica

from tokenmint.keys.types import KeyState
from tokenmint.v1 import key_set_service_pb2 as sets_pb
from tokenmint.v1.key_admin_service_pb2_grpc import KeyAdminServiceStub
from tokenmint.v1.key_set_service_pb2_grpc import KeySetServiceStub
from tokenmint.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceStub

if TYPE_CHECKING:
    from tokenmint.v1.key_admin_service_pb2_grpc import KeyAdminServiceAsyncStub
    from tokenmint.v1.key_set_service_pb2_grpc import KeySetServiceAsyncStub
    from tokenmint.v1.token_exchange_service_pb2_grpc import TokenExchangeServiceAsyncStub

ROUNDS: Final = 3
TRIES: Final = 3 * ROUNDS
"""A rotation may come between the choice of a key and its revocation: such a round measures nothing."""
LONGEST: Final = 4.0  # seconds to wait for what should take a few milliseconds


async def measure(fleet: list[Replica], load: Load, ledger: Ledger) -> None:
    """Measure both and write them down."""
    async with channel(fleet[0].listen["admin"]) as admin:
        keys: KeyAdminServiceAsyncStub = KeyAdminServiceStub(admin)
        measured: list[tuple[float, str]] = []
        for _ in range(TRIES):
            took = None
            with contextlib.suppress(grpc.aio.AioRpcError):  # it was asked for in vain, as on a busy machine
                took = await _revocation(fleet, load, ledger, keys)
            measured += [took] if took is not None else []
            if len(measured) == ROUNDS:
                break
        if len(measured) == ROUNDS:
            ledger.revocation, ledger.revocation_parts = max(measured)
        for _ in range(ROUNDS):
            with contextlib.suppress(grpc.aio.AioRpcError):  # as above
                ledger.notices += await _notices(fleet, load, keys)
            await asyncio.sleep(0.2)


async def _revocation(
    fleet: list[Replica], load: Load, ledger: Ledger, keys: "KeyAdminServiceAsyncStub"
) -> tuple[float, str] | None:
    """Revoke an active key while every worker signs with it; return when the last of its tokens was answered.

    And where that time went. None where the key had just been replaced, so that no worker signed with it.
    """
    stop = asyncio.Event()
    tokens: list[Minted] = []

    async def sign(replica: Replica, algorithm: str) -> None:
        async with channel(replica.listen["grpc"]) as connection:
            stub: TokenExchangeServiceAsyncStub = TokenExchangeServiceStub(connection)
            while not stop.is_set():
                got = await load.exchange(stub, replica, algorithm)
                if isinstance(got, Minted):
                    tokens.append(got)
                await asyncio.sleep(0.02)

    signing = [asyncio.create_task(sign(replica, "ES256")) for replica in fleet for _ in range(CHANNELS)]
    try:
        await asyncio.sleep(1.0)
        active = {token.key_id for token in tokens[-len(fleet) :]}
        asked = await load.revoke(keys, state=KeyState.ACTIVE, algorithm="ES256")
        await asyncio.sleep(1.5)
    finally:  # or they would go on when the fleet is stopped, and every call of theirs fail
        stop.set()
        await asyncio.gather(*signing)
    done = [answer for answer in ledger.answers if answer.state is KeyState.REVOKED][-1]
    last = max((token for token in tokens if token.key_id == done.subject), key=lambda token: token.ended, default=None)
    if done.subject not in active or last is None:
        return None
    stored = ledger.keys[done.subject].ended or done.answered
    return last.ended - asked, (
        f"in the store after {stored - asked:.3f} s, answered for after {done.answered - asked:.3f} s; the last token "
        f"asked for after {last.started - asked:.3f} s, of replica {last.replica}; the lane itself stood still for "
        f"{ledger.stalled(asked, last.ended):.3f} s"
    )


async def _notices(fleet: list[Replica], load: Load, keys: "KeyAdminServiceAsyncStub") -> list[float]:
    """Change the key set while every worker has watchers; return when each heard of it."""
    news: list[float] = []

    async def watch(place: str, ready: asyncio.Event) -> None:
        async with channel(place) as connection:
            stub: KeySetServiceAsyncStub = KeySetServiceStub(connection)
            async for update in stub.WatchKeySet(sets_pb.WatchKeySetRequest(), timeout=2 * LONGEST):
                ready.set()
                if load.revoked_last not in {key.kid for key in update.keys} and asking.is_set():
                    news.append(time.time())
                    return

    asking = asyncio.Event()
    readies = [asyncio.Event() for _ in range(len(fleet) * CHANNELS)]
    watching = [
        asyncio.create_task(watch(fleet[index % len(fleet)].listen["grpc"], ready))
        for index, ready in enumerate(readies)
    ]
    try:
        await asyncio.gather(*(ready.wait() for ready in readies))
        asking.set()  # what is revoked is chosen, and sent, before any watcher has its turn again
        asked = await load.revoke(keys, state=KeyState.PREPARED, algorithm="ES256")
        _, late = await asyncio.wait(watching, timeout=LONGEST)
    finally:
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
    return [when - asked for when in news] + [LONGEST] * len(late)
