"""Many keys in few round trips, with the server that answered each."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import redis.asyncio as driver

from tokenmint.base.errors import CorruptRecord, StoreUnavailable
from tokenmint.storage.replies import value_of
from tokenmint.storage.server import Server, packed

Answer: TypeAlias = bytes | StoreUnavailable | CorruptRecord | None
"""The value of one of several keys: bytes, None, or the error of a key that can't be read."""
UNKNOWN: Final = ""
"""The name of a server that is not known: the value took another way."""


class Reading(NamedTuple):
    """Values, and for each the server that it was read from: "host:port", or :data:`UNKNOWN`."""

    values: list[Answer]
    nodes: list[str]


async def read_nodes(
    server: Server, keys: Sequence[str], one: Callable[[int], Awaitable[Answer]], limit: float
) -> Reading:
    """Read keys of a Cluster: one round trip to each node that has some of them.

    Args:
        server: the Cluster.
        keys: full names.
        one: reads the key with this index the driver's way, which follows redirections.
        limit: seconds.
    """
    values: list[Answer] = [None] * len(keys)
    nodes = [UNKNOWN] * len(keys)

    async def alone(index: int) -> None:
        values[index] = await one(index)

    async def group(node: Any, indices: list[int]) -> None:
        commands = b"".join(packed(("GET", keys[index])) for index in indices)
        try:
            with server.translated(writes=False):
                async with asyncio.timeout(limit):
                    try:
                        replies = await server.ask_node(node, commands, len(indices))
                    except driver.ConnectionError:  # it may have been replaced; the driver finds its successor
                        server.look_for_nodes()
                        replies = [driver.ConnectionError()] * len(indices)
                    redirected = []
                    for index, reply in zip(indices, replies, strict=True):
                        if isinstance(reply, Exception):  # of this key alone: MOVED, ASK, WRONGTYPE
                            redirected.append(index)
                        else:
                            values[index], nodes[index] = value_of(reply), str(node.name)
                    await asyncio.gather(*map(alone, redirected))
        except StoreUnavailable as error:
            for index in indices:
                if nodes[index] == UNKNOWN:
                    values[index] = error

    groups: dict[str, tuple[Any, list[int]]] = {}
    unassigned: list[int] = []
    try:
        with server.translated(writes=False, counted=False):
            async with asyncio.timeout(limit):
                node_of = await server.nodes_of_keys()
    except StoreUnavailable as error:
        server.errors[error.reason] += 1
        return Reading([error] * len(keys), nodes)
    for index, key in enumerate(keys):
        node = node_of(key)
        if node is None:
            unassigned.append(index)
        else:
            groups.setdefault(str(node.name), (node, []))[1].append(index)
    await asyncio.gather(*(group(node, indices) for node, indices in groups.values()), *map(alone, unassigned))
    return Reading(values, nodes)
