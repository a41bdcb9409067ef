"""The revocations by client, audience and provider that this process knows of, for checks without the store."""

from tokenmint.revocation.entries import BULK, Kind, Revocation


class BulkRevocations:
    """Looks revocations up by name. There are few, and usually none: then it is false."""

    def __init__(self) -> None:
        self._after: dict[tuple[Kind, str], int] = {}

    def __len__(self) -> int:
        return len(self._after)

    def note(self, revocation: Revocation) -> None:
        """Add a revocation, if it is of these kinds."""
        if revocation.kind in BULK:
            key = revocation.kind, revocation.name
            self._after[key] = max(revocation.valid_after, self._after.get(key, 0))

    def forget(self, revocation: Revocation) -> None:
        """Drop a revocation that has expired."""
        self._after.pop((revocation.kind, revocation.name), None)

    def covers(self, kind: Kind, name: str, issued_at: float | None) -> bool:
        """Return whether something of that name was revoked that was issued at this time; None: long ago."""
        after = self._after.get((kind, name))
        return after is not None and (issued_at is None or int(issued_at) <= after)

    def wait(self, client_id: str, audience: str, now: float) -> float:
        """Return the seconds after which a token that is minted for this client and audience is not revoked already."""
        if not self._after:
            return 0.0
        names = (Kind.CLIENT, client_id), (Kind.AUDIENCE, audience)
        after = max(self._after.get(name, -1) for name in names)
        return max(0.0, after + 1 - now)
