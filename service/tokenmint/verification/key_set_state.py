"""The keys of one provider that are present now, and the results of the fetches for them."""

import asyncio
from dataclasses import dataclass, field
from functools import partial

from tokenmint.base.background import Unit
from tokenmint.base.threads import Threads
from tokenmint.verification.jwk import VerificationKey
from tokenmint.verification.key_source import KeySource


@dataclass(slots=True)
class KeySetState:
    """One provider's keys. Instants are of the monotonic clock."""

    source: KeySource
    keys: tuple[VerificationKey, ...] = ()
    etag: str | None = None
    jwks_url: str = ""
    fetched: float | None = None
    fresh_until: float = 0.0
    trusted_until: float = 0.0
    failures: int = 0
    invalid: bool = False
    """Whether only the provider or a change of the configuration can remedy the last failure."""
    retry_at: float = 0.0
    unknown_key_fetch_at: float = float("-inf")
    looking: bool = False
    """Whether the next good answer counts as a search for an unknown key."""
    last_error: str = ""
    last_error_at: float | None = None
    skipped: tuple[str, ...] = ()
    """The logged reasons for which some of its keys are not used."""
    refresh_hint: float | None = None
    """Seconds after which the document wants to be fetched again; None if it does not say."""
    fetching: "asyncio.Task[None] | None" = None
    unit: Unit | None = None
    """Receives the result of each fetch."""
    judging: Threads = field(default_factory=partial(Threads, "keys", 1))
    """Checks keys. A result is kept even if the fetch ended before the check did."""

    def known(self) -> tuple[VerificationKey, ...]:
        """Return the present keys; for a file, its current content."""
        return self.keys if self.source.file is None else self.source.file.value.keys
