"""The records of the tokens in status lists: a stream for each list, with the names by which each token can be revoked.

A record has digests only, those of the log of revocations (``revocation/entries.py``). It is confirmed as durable
before the token is answered. So there is no token that a revocation of its principal, of its client or of an ancestor
does not find.
"""

import struct
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Final

from tokenmint.base.errors import OutcomeUnknown
from tokenmint.model.issued import MAX_ACTORS, MAX_DEPTH
from tokenmint.model.policy import TokenGrant
from tokenmint.revocation.entries import DIGEST, Kind, digest
from tokenmint.storage import scripts, streams
from tokenmint.storage.listening import Notice
from tokenmint.storage.redis import Store

CHANNEL: Final = "status-lists"
"""Nothing is published there: a subscription only tells when its connection is a new one."""
PAGE: Final = 2000  # records that are read together
PAGE_BYTES: Final = 1 << 20
MOST_OWN: Final = 2 + MAX_DEPTH + MAX_ACTORS
"""The most names of a token that it shares with few others: ids (its own and its ancestors'), principal, actors."""
SHARED: Final = 3
"""The names that many tokens share: the key, the client, the audience."""
_VERSION: Final = 1
_HEAD: Final = struct.Struct(">BII")


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """The names of one token."""

    index: int
    issued_at: int
    shared: tuple[bytes, ...]
    """The digests of its key, its client and its audience."""
    own: tuple[bytes, ...]
    """The digests of its id and its ancestors', of its principal and its actors'."""


def record_of(grant: TokenGrant, index: int, key_id: str, token_id: str) -> TokenRecord:
    """Return the record of a token: the names that verifiers compare with revocations."""
    shared = (Kind.KEY, key_id), (Kind.CLIENT, grant.client_id), (Kind.AUDIENCE, grant.audience)
    own = [(Kind.TOKEN, name) for name in (token_id, *grant.ancestors)]
    own += [(Kind.PRINCIPAL, name) for name in dict.fromkeys((grant.principal, *_principals_in(grant.act)))]
    return TokenRecord(
        index, grant.issued_at, tuple(digest(*name) for name in shared), tuple(digest(*name) for name in own)
    )


def _principals_in(act: object) -> list[str]:
    """Return the actors that are principals of this service: those without an issuer (RFC 8693 section 4.1)."""
    found: list[str] = []
    while isinstance(act, dict) and len(found) < MAX_ACTORS:
        name = act.get("sub")
        if "iss" not in act and isinstance(name, str):
            found.append(name)
        act = act.get("act")
    return found


def dump(record: TokenRecord) -> bytes:
    """Return the stored form of a record."""
    return _HEAD.pack(_VERSION, record.index, record.issued_at) + b"".join((*record.shared, *record.own))


def parse(raw: bytes) -> TokenRecord | None:
    """Read a record. None for one in another form."""
    names = len(raw) - _HEAD.size
    if names % DIGEST or not SHARED < names // DIGEST <= SHARED + MOST_OWN or raw[0] != _VERSION:
        return None
    _, index, issued_at = _HEAD.unpack_from(raw)
    digests = tuple(raw[start : start + DIGEST] for start in range(_HEAD.size, len(raw), DIGEST))
    return TokenRecord(index, issued_at, digests[:SHARED], digests[SHARED:])


class TokenRecords:
    """Appends and reads records.

    Args:
        store: the store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def append(self, list_id: str, record: TokenRecord, *, life: float) -> None:
        """Append a record, confirmed as durable; the list's records stay for at least ``life`` seconds.

        Raises ``StoreUnavailable``, ``OutcomeUnknown``, ``CorruptRecord``.
        """
        milliseconds = str(max(1, round(life * 1000)))
        added = await self._store.run(scripts.APPEND_FOR, (_key(list_id),), milliseconds, dump(record), durable=True)
        if added != 1:
            raise OutcomeUnknown(detail=f"{_key(list_id)}: not an answer about a record")

    async def after(self, list_id: str, position: str) -> streams.Page:
        """Return the records after a position, some at a time. Raises ``StoreUnavailable``, ``CorruptRecord``."""
        return await streams.after(self._store, _key(list_id), position, most_entries=PAGE, most_bytes=PAGE_BYTES)

    def notices(self) -> AsyncGenerator[Notice, None]:
        """Yield whenever there is a new connection to the store. Close the generator when done."""
        return self._store.listen(CHANNEL)


def parsed(page: streams.Page) -> Sequence[TokenRecord]:
    """Return the records of a page."""
    return [record for _, raw in page.entries if (record := parse(raw)) is not None]


def _key(list_id: str) -> str:
    return f"status-list:{list_id}"
