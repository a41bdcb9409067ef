"""Status lists: the size and the time of a list of a million tokens, and what a token in a list costs its exchange.

    make bench-status-lists                   # 1,000,000 tokens
    make bench-status-lists TOKENS=100000

The lists are built by the functions that the service builds them with, in one thread. The exchange's part is measured
against a private Valkey, whose confirmation is that of the default store (`appendfsync always`).
"""

import argparse
import asyncio
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from benchmarks.machine import describe
from tokenmint.formats import jwt
from tokenmint.model.policy import TokenGrant
from tokenmint.model.tokens import ACCESS_TOKEN
from tokenmint.revocation.entries import Kind, digest
from tokenmint.status_list.directory import Directory, StatusList
from tokenmint.status_list.encoding import compressed, mark_invalid, place_of, status_list
from tokenmint.status_list.indices import StatusIndices
from tokenmint.status_list.members import Members
from tokenmint.status_list.records import TokenRecords, record_of
from tokenmint.storage.embedded import EmbeddedServer
from tokenmint.storage.redis import Store

MOST_BYTES: Final = 130_000
MOST_MILLISECONDS: Final = 100.0
SHARES: Final = (0.0, 0.001, 0.01, 0.1, 0.5)
ENTRIES: Final = 2000


def main() -> None:
    """Print the figures; end with 1 if a list is too large or takes too long."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=1_000_000)
    tokens = parser.parse_args().tokens
    print("; ".join(f"{name}: {value}" for name, value in describe().items()), flush=True)
    good = [build(tokens, share) for share in SHARES]
    join(tokens)
    asyncio.run(exchanges())
    if not all(good):
        sys.exit(1)


def milliseconds(work: Callable[[], Any], times: int = 5) -> float:
    """Return the median time of some calls."""
    took = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        took.append((time.perf_counter() - begun) * 1000)
    return statistics.median(took)


def build(tokens: int, share: float) -> bool:
    """Build a list with a share of revoked tokens, at random places."""
    statuses = bytearray((tokens + 7) // 8)
    drawn = random.Random(1)  # noqa: S311  # the same each time
    for index in drawn.sample(range(tokens), int(tokens * share)):
        mark_invalid(statuses, index)
    raw = bytes(statuses)
    took = milliseconds(lambda: status_list(raw))
    size = len(compressed(raw))
    whole = len(jwt.encode({"status_list": status_list(raw)}))  # type: ignore[dict-item]  # a value of JSON
    good = size <= MOST_BYTES * tokens / 1_000_000 and took <= MOST_MILLISECONDS
    print(f"list of {tokens:,} tokens, {share:6.1%} revoked: {size / 1000:7.1f} kB compressed, {whole / 1000:7.1f} kB as "
          f"a token, {took:5.1f} ms to build {'' if good else '(beyond the limit)'}", flush=True)  # fmt: skip
    return good


def join(tokens: int) -> None:
    """Hold the names of tokens in memory, and apply revocations to them."""
    members = Members(StatusList("l", "a", "ES256", b"k" * 16, tokens, 0, 0, 0, 0))
    records = [record_of(grant(f"p{number % 50_000}"), number, "k", f"t{number}") for number in range(10_000)]
    begun = time.perf_counter()
    for _ in range(tokens // len(records)):
        members.add(records, {})
    took = time.perf_counter() - begun
    print(f"names of {tokens:,} tokens: {members.size / 1e6:.0f} MB, {took / tokens * 1e6:.1f} µs each to take in")
    for count in (1, 10_000):
        new = {digest(Kind.TOKEN, f"x{number}"): 0 for number in range(count)}
        took = milliseconds(lambda new=new: members.apply(new), 3)  # type: ignore[misc]
        print(f"{count:,} revocations that come together: {took:.0f} ms in a thread", flush=True)
    took = milliseconds(lambda: [place_of(number, tokens, b"k" * 16) for number in range(1000)])
    print(f"the index of a token: {took:.1f} µs")


async def exchanges() -> None:
    """Enter tokens, one after the other and many together."""
    with tempfile.TemporaryDirectory() as directory:
        server = EmbeddedServer(Path(directory))
        try:
            store = await Store.open(server.start())
            indices = StatusIndices(
                "https://tokens.example",
                Directory(store, time.time, os.urandom, lambda: 0, size=100_000),
                TokenRecords(store),
            )
            for together in (1, 32):
                begun, took = time.perf_counter(), list[float]()
                for start in range(0, ENTRIES, together):
                    one = time.perf_counter()
                    calls = (indices.enter(grant("p"), "k", f"t{start + n}") for n in range(together))
                    await asyncio.gather(*calls)
                    took.append((time.perf_counter() - one) * 1000)
                rate = ENTRIES / (time.perf_counter() - begun)
                print(f"{together} exchanges at a time: {statistics.median(took):.2f} ms more for each, at most "
                      f"{rate:,.0f} a second in one process ({store.durability})", flush=True)  # fmt: skip
            await store.close()
        finally:
            server.stop()


def grant(principal: str) -> TokenGrant:
    """Return the decision about a token."""
    now = int(time.time())
    return TokenGrant(
        principal=principal, audience="https://orders.example", client_id="web", scopes=("read",), token_type=ACCESS_TOKEN,
        algorithm="ES256", format=jwt.FORMAT.traits, claims={}, issued_at=now, expires_at=now + 600,
        max_token_bytes=8192, status_list=3600,
    )  # fmt: skip


if __name__ == "__main__":
    main()
