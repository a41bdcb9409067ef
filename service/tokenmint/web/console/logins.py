"""Refused logins: each one is recorded, as long as they are few."""

from collections.abc import Callable
from typing import Final

from tokenmint.admission.refusal_budget import RefusalBudget
from tokenmint.base.errors import CallerUnauthenticated, RateLimited

AT_ONCE: Final = 20
PER_SECOND: Final = 1.0
_EVERYBODY: Final = ""


class RefusedLogins:
    """Bounds the records of refused logins of all callers together, so that a flood of them does not fill the log.

    The right secret is always accepted: a flood locks no operator out. A secret has 256 random bits, so nobody finds
    it by trying.

    Args:
        monotonic: a clock that never goes back, seconds.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._budget = RefusalBudget(PER_SECOND, AT_ONCE, monotonic)

    def answer(self, error: CallerUnauthenticated) -> CallerUnauthenticated | RateLimited:
        """Return the answer to a refused login: the error itself, or that they are too many."""
        if self._budget.take(_EVERYBODY, error.reason):
            return error
        self._budget.counted()  # forgets the number: the metrics have it
        return RateLimited("too many refused logins: slow down", retry_after=1 / PER_SECOND)
