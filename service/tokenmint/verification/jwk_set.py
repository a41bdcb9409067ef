"""Documents with public keys of providers: JWK sets (RFC 7517 section 5) and maps of X.509 certificates.

A bad key is skipped with its reason, and the others stay: one mistake of a provider must not stop sign-ins with its
other keys. A key that can't be used takes no place of one that can.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from tokenmint.base.files import without_mark
from tokenmint.base.foreign_text import quoted
from tokenmint.base.token_errors import MalformedToken
from tokenmint.model.tokens import JsonValue
from tokenmint.verification.jwk import BadKey, VerificationKey, read_certificate, read_jwk, weakness
from tokenmint.verification.jws import parse_object

MAX_KEYS: Final = 100  # of a set that are used, unless the configuration says otherwise
MAX_MEMBERS: Final = 2000  # of a document that are looked at
MAX_WEAK: Final = 300  # weak keys of a document after which no other is looked at: a check may take a second
KEY_ID_SHOWN: Final = 48  # characters of a `kid` in the reason why a key is not used


@dataclass(frozen=True, slots=True)
class ParsedKeySet:
    """The content of a document: the usable keys, and the reasons for skipped ones."""

    keys: tuple[VerificationKey, ...]
    skipped: tuple[str, ...] = ()
    refresh_hint: float | None = None
    """Seconds after which a SPIFFE bundle asks to be fetched again."""


def parse_jwks(body: bytes, most: int = MAX_KEYS) -> ParsedKeySet:
    """Read a JWK set, and check its keys. Raises as :func:`read_jwks`."""
    return read_jwks(body, most).checked()


def parse_x509_map(body: bytes, most: int = MAX_KEYS) -> ParsedKeySet:
    """Read a map of certificates, and check its keys. Raises as :func:`read_x509_map`."""
    return read_x509_map(body, most).checked()


class KeyReading:
    """Reads and checks the keys of a document one by one, until ``most`` of them can be used.

    Args:
        members: the name of each key in reasons, and the function that reads it.
        count: the number of keys in the document.
        most: the largest number of keys that are used.
        refresh_hint: as in :class:`ParsedKeySet`.
    """

    def __init__(
        self,
        members: Sequence[tuple[str, Callable[[], VerificationKey]]],
        count: int,
        most: int,
        refresh_hint: float | None = None,
    ) -> None:
        self._members, self._count, self._most = members, count, most
        self._refresh_hint = refresh_hint
        self._keys: list[VerificationKey] = []
        self._skipped: list[str] = []
        self._beyond: list[str] = []

    def __iter__(self) -> Iterator[VerificationKey]:
        """Return each readable key before it is checked, so that a slow check can run elsewhere: its result is kept."""
        looked_at = weak = 0
        for name, read in self._members:
            if len(self._keys) == self._most or weak == MAX_WEAK:
                break
            looked_at += 1
            try:
                key = read()
            except BadKey as reason:
                self._skipped.append(f"{name}: {reason}")
                continue
            yield key
            if flaw := weakness(key):
                weak += 1
                self._skipped.append(f"{name}: {flaw}")
            else:
                self._keys.append(key)
        if looked_at < self._count:
            rest = f"{self._count - looked_at} more of its {self._count} keys"
            self._beyond = [f"{rest}: {self._end(looked_at, weak)}"]

    def _end(self, looked_at: int, weak: int) -> str:
        """Return the reason for which the last keys of the document are not looked at."""
        if len(self._keys) == self._most:
            return f"the first {self._most} that can be used are (max_keys)"
        return f"{weak} keys before them are weak" if weak == MAX_WEAK else f"only {looked_at} are looked at"

    def checked(self) -> ParsedKeySet:
        """Read and check all keys, and return the result."""
        for _ in self:
            pass
        return self.result()

    def result(self) -> ParsedKeySet:
        """Return the usable keys, after an iteration over all keys."""
        return ParsedKeySet(tuple(self._keys), (*self._beyond, *self._skipped), self._refresh_hint)


def read_jwks(body: bytes, most: int = MAX_KEYS) -> KeyReading:
    """Return the keys of a JWK set. Raises :class:`BadKey` if the document is not one."""
    document = _document(body)
    members = document.get("keys")
    if not isinstance(members, list):
        raise BadKey('the document has no list "keys"')
    hint = document.get("spiffe_refresh_hint")
    return KeyReading(
        [(_name(index, member), partial(read_jwk, member)) for index, member in enumerate(members[:MAX_MEMBERS])],
        len(members),
        most,
        float(hint) if isinstance(hint, int) and not isinstance(hint, bool) and hint > 0 else None,
    )


def _name(index: int, member: JsonValue) -> str:
    """Return the name of a member in reasons: its place, and its `kid` if it has one."""
    key_id = member.get("kid") if isinstance(member, dict) else None
    return f"key {index} ({quoted(key_id, KEY_ID_SHOWN)})" if isinstance(key_id, str) else f"key {index}"


def read_x509_map(body: bytes, most: int = MAX_KEYS) -> KeyReading:
    """Return the keys of a JSON object of key id → PEM certificate, as Google publishes them.

    Raises as :func:`read_jwks`.
    """
    document = _document(body)
    members = list(document.items())[:MAX_MEMBERS]
    return KeyReading(
        [
            (f"certificate {index} ({quoted(member[0], KEY_ID_SHOWN)})", partial(read_certificate, *member))
            for index, member in enumerate(members)
        ],
        len(document),
        most,
    )


def _document(body: bytes) -> dict[str, JsonValue]:
    try:
        return parse_object(without_mark(body), "document")
    except MalformedToken as error:
        raise BadKey(error.detail) from None
