"""The tokens that a token source keeps, and the time at which it gets a new one."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Protocol

from tokenmint_client.txn_token import TXN_TOKEN
from tokenmint_client.types import ExchangeOptions, Token

REFRESH_FROM, REFRESH_TO = 0.70, 0.85  # the share of a token's life after which it is refreshed, drawn at random
MARGIN: Final = 10.0  # seconds before its expiry from which on a token is not handed out
RETRY_REFRESH: Final = 5.0  # seconds between attempts to refresh


@dataclass(frozen=True, slots=True)
class Entry:
    """A token and when to refresh it."""

    token: Token
    refresh_at: float
    """Unix seconds from which on a use begins a refresh."""

    def fresh(self, now: float) -> bool:
        """Whether the token may be used without further ado."""
        return now < self.refresh_at

    def usable(self, now: float) -> bool:
        """Whether the token may be used at all."""
        return now < self.token.expires_at - MARGIN

    def later(self, now: float) -> "Entry":
        """Return the same, to be refreshed a while later."""
        return replace(self, refresh_at=now + RETRY_REFRESH)


def entry(token: Token, now: float, jitter: float) -> Entry:
    """Return the entry for a token that came just now; ``jitter`` is between 0 and 1."""
    share = REFRESH_FROM + (REFRESH_TO - REFRESH_FROM) * jitter
    return Entry(token, now + max(0.0, token.expires_at - now) * share)


def key_of(subject_token: str, audience: str, scopes: Sequence[str], options: ExchangeOptions) -> str:
    """Return the key of a token in the cache: SHA-256 of the subject token, and of all else that is asked for.

    It is the same in every language (tests/clients/cache_keys.json). It holds no token and names no session.
    """
    parts = (
        audience,
        " ".join(sorted(set(options.get("resources", ())))),  # a URI has no space in it
        " ".join(sorted(set(scopes))),
        options.get("subject_token_type", ""),
        options.get("requested_token_type", ""),
        str(round((options.get("lifetime") or 0) * 1000)),
        _hashed(options.get("actor_token", "")),
        options.get("actor_token_type", ""),
        options.get("nonce", ""),
        options.get("dpop_jkt", ""),
    )
    # Each with its length, so that no two requests look alike.
    return f"{subject_of(subject_token)}.{_hashed(''.join(f'{len(part.encode())}:{part}' for part in parts))}"


def is_kept(options: ExchangeOptions) -> bool:
    """Whether a token may be handed out again. A transaction token belongs to one request, with its context."""
    of_a_transaction = options.keys() & {"request_context", "request_details"}
    return not of_a_transaction and options.get("requested_token_type") != TXN_TOKEN


def subject_of(subject_token: str) -> str:
    """Return what the keys of a subject token's tokens begin with."""
    return _hashed(subject_token)


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class TokenStore(Protocol):
    """Keeps entries. Called from any thread; what it returns is believed, so nobody else may write to it."""

    def get(self, key: str) -> Entry | None:
        """Return an entry."""
        ...

    def put(self, key: str, entry: Entry, now: float) -> None:
        """Keep an entry; ``now`` is the time, in Unix seconds, that it was made."""
        ...

    def forget(self, prefix: str) -> None:
        """Drop the entries whose keys begin with ``prefix``."""
        ...


class MemoryStore:
    """Keeps entries in this process: at most ``max_entries``, the least recently used goes first.

    Args:
        max_entries: at least 1.
    """

    def __init__(self, max_entries: int = 10_000) -> None:
        if max_entries < 1:
            raise ValueError("max_entries: expected 1 or more")
        self._max_entries = max_entries
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> Entry | None:
        """Return an entry, which is now the most recently used."""
        with self._lock:
            found = self._entries.get(key)
            if found is not None:
                self._entries.move_to_end(key)
            return found

    def put(self, key: str, entry: Entry, now: float) -> None:
        """Keep an entry. What has expired makes room before what has not."""
        with self._lock:
            self._entries[key] = entry
            self._entries.move_to_end(key)
            if len(self._entries) > self._max_entries:
                for other in [name for name, kept in self._entries.items() if not kept.usable(now)]:
                    del self._entries[other]
            while len(self._entries) > self._max_entries:
                self._entries.popitem(last=False)

    def forget(self, prefix: str) -> None:
        """Drop entries."""
        with self._lock:
            for key in [key for key in self._entries if key.startswith(prefix)]:
                del self._entries[key]

    def __len__(self) -> int:
        return len(self._entries)


class SessionStore:
    """Keeps entries in the session of a web application, so that they end with it.

    Args:
        session: the session's mapping. Kept on the server: a session that travels in a cookie, even a signed one, would
            show the tokens to the browser.
        max_entries: at least 1.
    """

    def __init__(self, session: MutableMapping[str, Any], max_entries: int = 16) -> None:
        self._session = session
        self._max_entries = max_entries

    def get(self, key: str) -> Entry | None:
        """Return an entry."""
        kept = self._kept().get(key)
        if kept is None:
            return None
        token = {**kept["token"], "scopes": tuple(kept["token"]["scopes"])}
        return Entry(Token(**token), kept["refresh_at"])

    def put(self, key: str, entry: Entry, now: float) -> None:
        """Keep an entry, as data that every session can hold. The oldest makes room."""
        kept = {name: value for name, value in self._kept().items() if name != key}
        kept = {name: value for name, value in kept.items() if now < value["token"]["expires_at"] - MARGIN}
        kept[key] = {"token": asdict(entry.token), "refresh_at": entry.refresh_at}
        self._session[_SESSION_KEY] = dict(list(kept.items())[-self._max_entries :])

    def forget(self, prefix: str) -> None:
        """Drop entries."""
        self._session[_SESSION_KEY] = {
            name: value for name, value in self._kept().items() if not name.startswith(prefix)
        }

    def _kept(self) -> dict[str, Any]:
        return dict(self._session.get(_SESSION_KEY, {}))


_SESSION_KEY: Final = "tokenmint"
Clock = Callable[[], float]
