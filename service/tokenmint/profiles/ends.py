"""Tells verifiers of principals that get no tokens from now on."""

from tokenmint.revocation.log import RevocationLog


class Ends:
    """Appends the ends of principals to the log of revocations; None: nobody is told.

    The change that follows confirms what was appended.
    """

    def __init__(self, log: RevocationLog | None) -> None:
        self._log = log

    def second(self, now: float) -> int:
        """Return the second up to which the tokens of a principal are refused that ends now."""
        return self._log.end() if self._log is not None else int(now)

    async def tell(self, principal: str, after: int | None = None) -> bool:
        """Tell that tokens up to a second are revoked, or up to now; return whether verifiers can be told."""
        return self._log is None or await self._log.append(self._log.ended(principal, after))

    async def tell_again(self, principal: str, since: float, after: int | None = None) -> bool:
        """Tell of a principal that ended at ``since``, as :meth:`tell`: there may have been no room for it. Much later
        nobody needs to be told any more, so a repetition adds nothing.
        """
        return self._log is None or not self._log.counts_still(since) or await self.tell(principal, after)
