"""The keys of the ring that this process has opened: those that sign, and those that can't be opened."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog

from tokenmint.base.errors import ConfigurationError, SignerUnavailable, TokenmintError
from tokenmint.keys.signers.types import KeySource, Signer
from tokenmint.keys.types import KeyRing, KeyState, SigningKey

log = structlog.get_logger(__name__)

_OPENED = (KeyState.PREPARED, KeyState.ACTIVE)


@dataclass(frozen=True, slots=True)
class Opening:
    """The outcome of opening the keys of a ring."""

    signers: Mapping[str, Signer] = field(default_factory=dict)
    """By key id."""
    failures: Mapping[str, TokenmintError] = field(default_factory=dict)
    """By the id of the key that can't be opened."""


class OpenedKeys:
    """Opens prepared and active keys, and signs with the active ones.

    Args:
        sources: the sources of signing keys by name.
    """

    def __init__(self, sources: Mapping[str, KeySource]) -> None:
        self._sources = sources
        self._held = Opening()
        self._signing: dict[str, Signer] = {}

    @property
    def failures(self) -> Mapping[str, TokenmintError]:
        """The reason for each key of the ring that can't be opened, by key id."""
        return self._held.failures

    def signer(self, ring: KeyRing, algorithm: str) -> Signer:
        """Return the active signer of ``algorithm``. Raises ``SignerUnavailable``."""
        signer = self._signing.get(algorithm)
        if signer is None:
            active = ring.only(algorithm, KeyState.ACTIVE)
            failure = self.failures.get(active.key_id) if active is not None else None
            reason = f": {failure.detail or failure.message}" if failure is not None else ""
            raise SignerUnavailable(detail=f"no active key for {algorithm}{reason}")
        return signer

    def sign_with_opened(self, ring: KeyRing) -> None:
        """Stop signing with keys that ``ring`` has revoked, before other keys are opened, which may take seconds."""
        revoked = {key.key_id for key in ring.keys if key.state is KeyState.REVOKED}
        kept = {algorithm: signer for algorithm, signer in self._signing.items() if signer.key_id not in revoked}
        self._signing = kept | self._active(ring, self._held)

    async def open(self, ring: KeyRing) -> Opening:
        """Open the keys of ``ring`` that are not open yet. A key that can't be opened is left out, and logged."""
        opened, failures = dict(self._held.signers), {}
        for key in ring.keys:
            if key.state in _OPENED and key.key_id not in opened:
                try:
                    opened[key.key_id] = await self._open(key)
                except TokenmintError as error:
                    log.error("a signing key can't be opened", key_id=key.key_id, error=error.detail or error.message)  # noqa: TRY400
                    failures[key.key_id] = error
        return Opening(opened, failures)

    def take(self, ring: KeyRing, opening: Opening) -> None:
        """Sign with the active keys of ``ring`` alone, and forget those that sign no longer."""
        usable = {key.key_id for key in ring.keys if key.state in _OPENED}
        kept = {key_id: signer for key_id, signer in opening.signers.items() if key_id in usable}
        self._held = Opening(kept, opening.failures)
        self._signing = self._active(ring, self._held)

    @staticmethod
    def _active(ring: KeyRing, opening: Opening) -> dict[str, Signer]:
        return {
            key.algorithm: opening.signers[key.key_id]
            for key in ring.keys
            if key.state is KeyState.ACTIVE and key.key_id in opening.signers
        }

    async def _open(self, key: SigningKey) -> Signer:
        source = self._sources.get(key.signer)
        if source is None:
            raise ConfigurationError(
                f"keys: key {key.key_id} is kept by the signer {key.signer!r}, which is not configured: configure it "
                "until the key has retired"
            )
        return await source.open(key)
