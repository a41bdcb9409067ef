"""Values that must not be shown: tokens, client secrets, private keys."""

import hashlib
import hmac
import os
from pathlib import Path
from typing import Final, NoReturn

LENGTH: Final = 32
"""Characters from which on a word may be a secret or a token: those that tokenmint makes are longer."""


def shown(path: Path) -> str:
    """Return what to call a path that can't be read, without what may be a secret that was given for its file."""
    parts: list[str] = []
    for number, part in enumerate(path.parts, start=1):
        there = os.path.exists(Path(*path.parts[:number]))  # noqa: PTH110  # unlike pathlib's it never raises
        parts.append(part if there or len(part) < LENGTH else f"({len(part)} characters)")
    return str(Path(*parts))


class Secret:
    """A value that no log, traceback, ``repr`` or format string shows.

    Compared in constant time. Read with :meth:`reveal`, so that every place that lets a secret out can be
    found by that name.
    """

    __slots__ = ("_fingerprint", "_value")
    _value: bytes
    _fingerprint: str | None

    def __init__(self, value: str | bytes) -> None:
        object.__setattr__(self, "_value", value.encode() if isinstance(value, str) else bytes(value))
        object.__setattr__(self, "_fingerprint", None)

    def reveal(self) -> str:
        """Return the value as text. Raises ``UnicodeDecodeError`` where it is not UTF-8."""
        return self._value.decode()

    def reveal_bytes(self) -> bytes:
        """Return the value as bytes."""
        return self._value

    def fingerprint(self) -> str:
        """Return the SHA-256 of the value in hex: names a token in logs without being one."""
        known = self._fingerprint
        if known is None:
            known = hashlib.sha256(self._value).hexdigest()
            object.__setattr__(self, "_fingerprint", known)
        return known

    def __bool__(self) -> bool:
        return bool(self._value)

    def __len__(self) -> int:
        return len(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value, other._value)

    __hash__: Final = None  # type: ignore[assignment]  # a hash table of secrets compares in variable time

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a Secret does not change")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled")

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)
