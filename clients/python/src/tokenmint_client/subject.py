"""On whose behalf a call is made: a fixed subject token, or that of the request that is being served."""

from collections.abc import Callable

SubjectToken = str | Callable[[], str]
"""A subject token, or a function that returns the one of the current request (e.g. from a context variable)."""


def current(subject_token: SubjectToken) -> str:
    """Return the subject token that counts now."""
    return subject_token if isinstance(subject_token, str) else subject_token()
