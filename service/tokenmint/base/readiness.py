"""Readiness: what keeps this process from serving, and what an operator should know though it serves.

A part registers a look, which returns "" while all is well. A subject that blocks makes `/readyz` answer 503 and the
gRPC health service NOT_SERVING; one that does not is shown among the details.
"""

from collections.abc import Callable
from typing import TypeAlias

Look: TypeAlias = Callable[[], str]
"""Returns what is wrong, for operators and without secrets, or "" while nothing is."""


class Readiness:
    """Collects the looks of all parts."""

    def __init__(self) -> None:
        self._blocking: dict[str, Look] = {}
        self._telling: dict[str, Look] = {}

    def require(self, subject: str, look: Look) -> None:
        """Serve only while ``look`` returns ""."""
        self._blocking[subject] = look

    def tell(self, subject: str, look: Look) -> None:
        """Show what ``look`` returns, and serve all the same."""
        self._telling[subject] = look

    def problems(self) -> dict[str, str]:
        """Return what keeps this process from serving, by subject; nothing when it is ready."""
        return _found(self._blocking)

    def details(self) -> dict[str, str]:
        """Return what is wrong and does not keep this process from serving, by subject."""
        return _found(self._telling)


def _found(looks: dict[str, Look]) -> dict[str, str]:
    return {subject: text for subject, look in looks.items() if (text := _looked(look))}


def _looked(look: Look) -> str:
    """Return what a look says. One that fails is a problem: nobody knows that all is well."""
    try:
        return look()
    except Exception as error:  # noqa: BLE001  # a fault of one part must not hide what the others say
        return f"it can't be told: {type(error).__name__}"
