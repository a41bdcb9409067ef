"""Readiness: conditions that keep this process from serving, and warnings for operators.

A part registers a check, which returns "" while all is well. A failed required check makes `/readyz` answer 503 and the
gRPC health service NOT_SERVING; other failed checks appear among the details.
"""

from collections.abc import Callable
from typing import TypeAlias

from tokenmint.base.tasks import ENDING

Look: TypeAlias = Callable[[], str]
"""Returns the fault, for operators and without secrets, or ""."""


class Readiness:
    """Collects the checks of all parts."""

    def __init__(self) -> None:
        self._blocking: dict[str, Look] = {}
        self._telling: dict[str, Look] = {}

    def require(self, subject: str, look: Look) -> None:
        """Serve only while ``look`` returns ""."""
        self._blocking[subject] = look

    def tell(self, subject: str, look: Look) -> None:
        """Show the result of ``look`` without effect on serving."""
        self._telling[subject] = look

    def problems(self) -> dict[str, str]:
        """Return the faults that keep this process from serving, by subject; empty when it is ready."""
        return _faults(self._blocking)

    def details(self) -> dict[str, str]:
        """Return the other faults, by subject."""
        return _faults(self._telling)


def _faults(looks: dict[str, Look]) -> dict[str, str]:
    return {subject: text for subject, look in looks.items() if (text := _result(look))}


def _result(look: Look) -> str:
    """Return the result of a check. A check that fails counts as a fault."""
    try:
        return look()
    except ENDING:
        raise
    except BaseException as error:  # noqa: BLE001  # a fault of one check must not hide the others
        return f"the check failed: {type(error).__name__}"
