"""The minting side: an index for each token of an audience with a status list, from blocks that this process took."""

import asyncio
from dataclasses import dataclass
from typing import Final

from tokenmint.base.errors import StoreUnavailable
from tokenmint.model.policy import TokenGrant
from tokenmint.model.tokens import JsonValue
from tokenmint.revocation.entries import MARGIN
from tokenmint.status_list.directory import Block, Directory, Need
from tokenmint.status_list.encoding import place_of
from tokenmint.status_list.records import TokenRecords, record_of

PATH: Final = "/status-lists/"
ATTEMPTS: Final = 16


def uri_of(issuer: str, list_id: str) -> str:
    """Return the URI of a list: the `uri` of its tokens, and its own `sub`."""
    return f"{issuer}{PATH}{list_id}"


@dataclass(slots=True)
class _Held:
    """The block that is in use, and the number of its next index."""

    block: Block
    next: int


class StatusIndices:
    """Gives an index to each token.

    Args:
        issuer: the `iss` of tokens.
        directory: gives out blocks.
        records: keeps the tokens' names.
    """

    def __init__(self, issuer: str, directory: Directory, records: TokenRecords) -> None:
        self._issuer = issuer
        self._directory = directory
        self._records = records
        self._held: dict[Need, _Held] = {}
        self._taking = asyncio.Lock()

    async def enter(self, grant: TokenGrant, key_id: str, token_id: str) -> dict[str, JsonValue]:
        """Give the token of ``grant`` an index; return its `status` (Token Status List section 6.2).

        The token's names are durable then. An index whose token is not minted after all is not used again.

        Raises:
            StoreUnavailable, OutcomeUnknown, CorruptRecord
        """
        need = Need(grant.audience, grant.algorithm, grant.status_list)
        block, number = await self._next(need, grant.expires_at)
        index = place_of(number, block.of.size, block.of.key)
        record = record_of(grant, index, key_id, token_id)
        await self._records.append(block.of.list_id, record, life=block.until - self._directory.now + MARGIN)
        return {"status_list": {"idx": index, "uri": uri_of(self._issuer, block.of.list_id)}}

    async def _next(self, need: Need, expires_at: int) -> tuple[Block, int]:
        if (found := self._take(need, expires_at)) is not None:
            return found
        async with self._taking:
            for _ in range(ATTEMPTS):  # those that waited here may find a new block, or have used it up
                if (found := self._take(need, expires_at)) is not None:
                    return found
                block = await self._directory.take(need)
                self._held = {one: held for one, held in self._held.items() if held.block.lease > self._directory.now}
                self._held[need] = _Held(block, block.first)
        raise StoreUnavailable(detail="no index of a status list was free in several attempts")

    def _take(self, need: Need, expires_at: int) -> tuple[Block, int] | None:
        held = self._held.get(need)
        if held is None or held.next >= held.block.end:
            return None
        block = held.block
        lasts = self._directory.now < block.lease and expires_at + MARGIN <= block.until
        if not lasts or block.of.epoch != self._directory.epoch():
            return None
        held.next += 1
        return block, held.next - 1
