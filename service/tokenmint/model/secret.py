"""Values that must not be shown: tokens, client secrets, private keys."""

import hashlib
import hmac
from typing import Final, NoReturn

from tokenmint.base.files import shown as shown


class Secret:
    """A value that logs, tracebacks, ``repr`` and format strings never show.

    Comparison takes constant time. Only :meth:`reveal` returns the value, so that a search for its name finds every
    place that lets a secret out.
    """

    __slots__ = ("_fingerprint", "_value")
    _value: bytes
    _fingerprint: str | None

    def __init__(self, value: str | bytes) -> None:
        object.__setattr__(self, "_value", value.encode() if isinstance(value, str) else bytes(value))
        object.__setattr__(self, "_fingerprint", None)

    def reveal(self) -> str:
        """Return the value as text. Raises ``UnicodeDecodeError`` if it is not UTF-8."""
        return self._value.decode()

    def reveal_bytes(self) -> bytes:
        """Return the value as bytes."""
        return self._value

    def fingerprint(self) -> str:
        """Return the SHA-256 of the value in hex, which identifies a token in logs without revealing it."""
        fingerprint = self._fingerprint
        if fingerprint is None:
            fingerprint = hashlib.sha256(self._value).hexdigest()
            object.__setattr__(self, "_fingerprint", fingerprint)
        return fingerprint

    def __bool__(self) -> bool:
        return bool(self._value)

    def __len__(self) -> int:
        return len(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value, other._value)

    __hash__: Final = None  # type: ignore[assignment]  # a hash table of secrets compares in variable time

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a Secret is immutable")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret can't be pickled")

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)
