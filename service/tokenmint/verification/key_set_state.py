"""The keys of one provider as they are at hand, and how the fetches for them went."""

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
    """Whether the last failure is one that only the provider, or the configuration, can mend."""
    retry_at: float = 0.0
    unknown_key_fetch_at: float = float("-inf")
    looking: bool = False
    """Whether the next good answer counts as a look for a key that is not known."""
    last_error: str = ""
    last_error_at: float | None = None
    skipped: tuple[str, ...] = ()
    """Why some of its keys are not used, as it was logged."""
    refresh_hint: float | None = None
    """Seconds after which the document asks to be fetched again, where it does."""
    fetching: "asyncio.Task[None] | None" = None
    unit: Unit | None = None
    """Is told how each fetch ended."""
    judging: Threads = field(default_factory=partial(Threads, "keys", 1))
    """Judges keys. What it found stays known also where the fetch had ended before."""

    def known(self) -> tuple[VerificationKey, ...]:
        """Return the keys at hand: of a file, those that are in it now."""
        return self.keys if self.source.file is None else self.source.file.value.keys
